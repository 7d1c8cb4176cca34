"""MiniBatchKMeans."""

import math
import sys
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import sklearn.utils
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _is_arraylike_not_scalar

from shoal.core import parallel
from shoal.core.callbacks import begin_fit
from shoal.core.checks import all_or_nothing, check_finite, check_rows, check_weights, fit_context
from shoal.core.collections import Collection, publish
from shoal.core.parameters import check_random_state
from shoal.core.releases import BATCHES_ARE_DRAWN_BY_WEIGHTS
from shoal.core.rows import Rows, make_rows
from shoal.core.sources import hold_rows, is_stored, iterate_blocks
from shoal.core.stored import StoredRows
from shoal.kmeans.base import BaseKMeans
from shoal.kmeans.batches import MiniBatchUpdater, assign_rows
from shoal.kmeans.centers import Centers
from shoal.kmeans.filters import choose_filter
from shoal.kmeans.sampling import StoredBatches, choose_sampler
from shoal.kmeans.sparse_batches import SparseUpdater, centers_outweigh_batch

# Attributes by which one call of partial_fit goes on from the last.
PARTIAL_FIT_STATE = {"cluster_centers_", "n_steps_", "_random_state"}


class MiniBatchKMeans(BaseKMeans):
    """Mini-batch k-means with the answers of scikit-learn's MiniBatchKMeans, sooner.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, and of centers.
    init : {'k-means++', 'random'}, callable or array-like of shape \
(n_clusters, n_features), default='k-means++'
        How the first centers are found, among `init_size` rows drawn at random: greedy
        k-means++; rows at random; the given array; or
        ``init(X, n_clusters, random_state=...)``, which receives those rows.
    max_iter : int, default=100
        Largest number of passes: `fit` takes at most ``max_iter * n_samples //
        batch_size`` steps.
    batch_size : int, default=1024
        Rows of a batch.
    verbose : int, default=0
        Whether to print the inertia of each batch.
    compute_labels : bool, default=True
        Whether to label all rows and to sum their inertia at the end of a fit.
    random_state : int, RandomState instance or None, default=None
        Draws first centers, batches, and the rows that replace weak centers.
    tol : float, default=0.0
        A fit ends when the squared changes of all centers in one step sum to at most
        ``tol`` times the mean variance of the features; 0 leaves this out.
    max_no_improvement : int, default=10
        A fit ends after so many steps without a new least smoothed inertia; None
        leaves this out.
    init_size : int, default=None
        Rows drawn to find and to compare first centers; by default three batches, or
        ``3 * n_clusters`` if that is more than a batch times three.
    n_init : 'auto' or int, default='auto'
        Number of first centers tried, of which those with the least inertia are kept.
        'auto' is 1 for 'k-means++' and arrays, 3 otherwise.
    reassignment_ratio : float, default=0.01
        Centers whose rows so far weigh less than this share of the largest weight are
        replaced by rows of the batch now and then.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centers, in the dtype of X.
    labels_ : ndarray of shape (n_samples,), int32
        Index of the nearest center of each row, if `compute_labels`.
    inertia_ : float
        Sum of squared distances to the nearest centers, times the weights; without
        `compute_labels` an estimate from the smoothed inertia of the batches.
    n_iter_ : int
        Passes over the data: rows drawn / n_samples, rounded up.
    n_steps_ : int
        Batches processed.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.

    Notes
    -----
    Each step draws `batch_size` rows with replacement, with probabilities proportional
    to their weights, and moves each center to the mean of all rows assigned to it so
    far [1]_. The draws are those of scikit-learn, found without a pass over
    the data for each batch. A fit adds 4 bytes a row for `labels_` to the memory that X
    takes, and 8 more with weights.

    Running sums of k-means++ over float32 rows are float32, as scikit-learn's are, because
    their rounding decides which rows are drawn. (Among more than 100,000 rows it is large
    enough that moving the data by one rounding may draw others; :class:`KMeans` takes the
    draws of float64 there.)

    References
    ----------
    .. [1] Sculley, D. (2010). "Web-scale k-means clustering". WWW, 1177-1178.

    Examples
    --------
    >>> from shoal import MiniBatchKMeans
    >>> import numpy as np
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [4, 2], [4, 0], [4, 4],
    ...               [4, 5], [0, 1], [2, 2], [3, 2], [5, 5], [1, -1]])
    >>> kmeans = MiniBatchKMeans(n_clusters=2, random_state=0, batch_size=6)
    >>> kmeans = kmeans.partial_fit(X[:6]).partial_fit(X[6:])
    >>> kmeans.cluster_centers_
    array([[3.375, 3.   ],
           [0.75 , 0.5  ]])
    >>> kmeans.predict([[0, 0], [4, 4]])
    array([1, 0], dtype=int32)
    """

    n_steps_: int

    _parameter_constraints: ClassVar[dict] = {
        **BaseKMeans._parameter_constraints,
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "compute_labels": ["boolean"],
        "max_no_improvement": [Interval(Integral, 0, None, closed="left"), None],
        "init_size": [Interval(Integral, 1, None, closed="left"), None],
        "reassignment_ratio": [Interval(Real, 0, None, closed="left")],
    }

    _max_rows_in_float32: ClassVar[int] = sys.maxsize  # draws are scikit-learn's in either type

    _changed_in_place = frozenset({"cluster_centers_", "_counts", "_random_state"})

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | ArrayLike | Callable = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: str | int = "auto",
        reassignment_ratio: float = 0.01,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the clusters of X by batches drawn from it.

        Parameters
        ----------
        X : {array-like, sparse matrix, path, dask collection} of shape (n_samples, n_features)
            Rows to cluster. float32 and float64 in C order, and CSR, are read in place;
            anything else is converted once. Of a .npy file (its path, or an array mapped
            from it) only the rows drawn are read, and all of them once for the labels;
            a value that is not finite is found when it is read. Of what is stored in
            chunks (see :func:`open_rows`) those with rows drawn are decoded, for up to
            64 MiB of batches at once: `fit_sequential` reads such data once.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.

        Returns
        -------
        self : MiniBatchKMeans
            The fitted estimator. One whose fit fails stays as it was.
        """
        X = check_rows(self, X, reset=True, finite=False, files=True)
        if isinstance(X, StoredRows):  # rows at random cost much more than of a file
            hold_rows(X)
        self._tol = self._tolerance(X)
        n_init = self._count_runs(X, 3)
        self._set_batch_and_init_size(X.shape[0])
        random_state = check_random_state(self.random_state)
        weights = check_weights(sample_weight, X)
        rows = make_rows(X, weights)
        n = rows.n

        valid = random_state.randint(0, n, self._init_size)
        is_compared = n_init > 1 or self.verbose
        valid = rows.gather(valid) if is_compared else None
        best = None
        for i in range(n_init):
            if self.verbose:
                print(f"Init {i + 1}/{n_init} with method {self.init}")
            centers = self._draw_first_centers(rows, random_state)
            total = assign_rows(valid, Centers(centers, valid))[1] if is_compared else 0.0
            if self.verbose:
                print(f"Inertia for init {i + 1}/{n_init}: {total}")
            if best is None or total < best[0]:
                best = total, centers

        sampler = choose_sampler(rows, random_state)
        self._reset_counts(X.dtype)
        n_steps = (int(self.max_iter) * n) // self._batch_size
        task = begin_fit(self, X, y, sample_weight, n_steps)
        unweighted = make_rows(X)  # weights act through the draws, or else in sums
        in_sums = weights is not None and not BATCHES_ARE_DRAWN_BY_WEIGHTS
        lazy = centers_outweigh_batch(unweighted, int(self.n_clusters), self._batch_size)
        if lazy and not in_sums:
            updater = SparseUpdater(best[1], self._counts, unweighted)
        else:
            filter = choose_filter(unweighted, best[1], self._batch_size)
            updater = MiniBatchUpdater(best[1], self._counts, unweighted, filter)
        ahead = StoredBatches(X, sampler, self._batch_size) if isinstance(X, StoredRows) else None
        for i in range(n_steps):
            part = task.subtask("step")
            batch_indices = sampler.draw(self._batch_size, random_state)
            before = updater.centers if self._tol > 0 else None
            batch = unweighted
            if in_sums:
                batch, batch_indices = rows.gather(batch_indices), None
            elif ahead is not None:
                batch, batch_indices = Rows(ahead.read(batch_indices, random_state)), None
            batch_inertia = self._batch_step(updater, batch, batch_indices, random_state)
            change = np.sum((updater.centers - before) ** 2) if self._tol > 0 else 0
            if not (rows.in_memory or np.isfinite(batch_inertia)):
                check_finite(self, X)
            stopped = part.end(lambda: {"cluster_centers_": updater.centers.copy()})
            if self._has_converged(i, n_steps, n, change, batch_inertia) or stopped:
                break

        self._set_centers(updater)
        self.n_steps_ = i + 1
        self.n_iter_ = math.ceil(((i + 1) * self._batch_size) / n)
        if self.compute_labels:
            filter = choose_filter(rows, self.cluster_centers_)
            centers = Centers(self.cluster_centers_, rows, filter=filter, copied=False)
            self._set_labels(rows, centers)
            self.labels_ = publish(X, self.labels_)
        else:
            smoothed = self._ewa_inertia
            if smoothed is None:  # after a single step, where scikit-learn fails
                smoothed = batch_inertia / self._batch_size
            self.inertia_ = smoothed * sampler.total_weight
        task.end(dict)
        return self

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Move the centers by one batch; the first call also finds first centers in it.

        Parameters
        ----------
        X : {array-like, sparse matrix, path, dask collection} of shape (n_samples, n_features)
            The batch, in the type of the first. Rows of a file are copied for the call.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.

        Returns
        -------
        self : MiniBatchKMeans
            The estimator. One whose call fails stays as it was.
        """
        X = check_rows(self, X, reset=not hasattr(self, "cluster_centers_"), files=True)
        if is_stored(X) or isinstance(X, Collection):
            file, X = X, X.load() if isinstance(X, Collection) else X[:]
            if not np.isfinite(X).all():
                check_finite(self, file)
        rows = Rows(X := self._in_type_of_centers(X), check_weights(sample_weight, X))
        updater, _ = self._partial_step(rows)
        if self.compute_labels:
            self._set_labels(rows, updater.pack())
        return self

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit_sequential(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        n_passes: int = 1,
    ) -> Self:
        """Find the clusters of X by its rows in their order, in place of rows drawn at random.

        Exactly the same as, for a new estimator, ::

            for _ in range(n_passes):
                for start in range(0, len(X), batch_size):
                    estimator.partial_fit(X[start : start + batch_size])

        so `labels_` and `inertia_` are those of the last batch. A disk reads rows in their order
        many times faster than rows at random; but it should not depend on the clusters.

        Parameters
        ----------
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows to cluster; of a file a batch is read while the one before it is used.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.
        n_passes : int, default=1
            Number of passes over all rows.

        Returns
        -------
        self : MiniBatchKMeans
            The fitted estimator. One whose fit fails stays as it was.
        """
        X = check_rows(self, X, reset=True, files=True)
        if isinstance(X, Collection):
            raise TypeError(
                "fit_sequential reads arrays and files: give the chunks of a dask collection to "
                "partial_fit, one after the other"
            )
        weights = check_weights(sample_weight, X)
        for name in PARTIAL_FIT_STATE & vars(self).keys():
            delattr(self, name)
        task = begin_fit(self, X, y, sample_weight, n_passes)
        batch_size = int(self.batch_size)
        for _ in range(n_passes):
            part = task.subtask("pass", -(-X.shape[0] // batch_size))
            for start, block, waited in iterate_blocks(X, batch_size):
                batch = part.subtask("step")
                stop = start + block.shape[0]
                rows = Rows(block, None if weights is None else weights[start:stop])
                if start == 0 and not np.isfinite(block.sum()):  # before first centers are drawn
                    check_finite(self, X)
                with parallel.leave_cores(waited):  # a core for the thread that reads
                    updater, finite = self._partial_step(rows)
                if not finite:
                    check_finite(self, X)
                if batch.end(dict):
                    break
            if part.end(dict):
                break
        if self.compute_labels:
            self._set_labels(rows, updater.pack())
        task.end(dict)
        return self

    def _partial_step(self, rows: Rows) -> tuple[MiniBatchUpdater, bool]:
        """One step of partial_fit; the first also draws first centers among its rows.

        Returns the updater after the step, and whether the rows are finite (CSR rows are
        checked before).
        """
        random_state = getattr(self, "_random_state", None)
        if random_state is None:
            random_state = sklearn.utils.check_random_state(self.random_state)
            self._random_state = random_state
        if not hasattr(self, "cluster_centers_"):
            self._tol = self._tolerance(rows.X)
            self._count_runs(rows.X, 3)
            self._set_batch_and_init_size(rows.n)
            self.cluster_centers_ = self._draw_first_centers(rows, random_state)
            self._reset_counts(rows.dtype)
        filter = choose_filter(rows, self.cluster_centers_, probes=False)
        updater = MiniBatchUpdater(self.cluster_centers_, self._counts, rows, filter)
        total = self._batch_step(updater, rows, None, random_state, needs_inertia=False)
        self._set_centers(updater)
        self.n_steps_ = getattr(self, "n_steps_", 0) + 1
        return updater, bool(np.isfinite(total))

    def _tolerance(self, X: Any) -> float:
        """The squared change of the centers that ends a fit; checks dense X for NaN."""
        if (is_stored(X) or isinstance(X, Collection)) and not self.tol:
            return 0.0  # saves a pass: values that are not finite are found when they are read
        return self._mean_and_tolerance(X)[1]

    def _set_batch_and_init_size(self, n: int) -> None:
        """Batch size and number of rows to find first centers among, for n rows."""
        k, self._batch_size = int(self.n_clusters), min(int(self.batch_size), n)
        size = self.init_size
        if size is None:
            size = 3 * self._batch_size
            if size < k:
                size = 3 * k
        elif size < k:
            warnings.warn(
                f"init_size={size} should be larger than n_clusters={k}. "
                "Setting it to min(3*n_clusters, n_samples)",
                RuntimeWarning,
                stacklevel=5,
            )
            size = 3 * k
        self._init_size = min(int(size), n)

    def _draw_first_centers(self, rows: Rows, random_state: np.random.RandomState) -> np.ndarray:
        """First centers, drawn among `init_size` rows."""
        if not _is_arraylike_not_scalar(self.init) and self._init_size < rows.n:
            rows = rows.gather(random_state.randint(0, rows.n, self._init_size))
        elif self._init_size < rows.n:
            random_state.randint(0, rows.n, self._init_size)
        elif not rows.is_whole:
            rows = rows.gather(np.arange(rows.n))
        centers = self._first_centers(rows, self._check_init(rows), random_state)
        is_drawn = isinstance(self.init, str)  # else the array may be the caller's
        return (np.asarray if is_drawn else np.array)(centers, dtype=rows.dtype, order="C")

    def _reset_counts(self, dtype: Any) -> None:
        """Set the state of the steps to that of a fit that begins."""
        self._counts = np.zeros(self.n_clusters, dtype)
        self._n_since_last_reassign = 0
        self._ewa_inertia = None
        self._ewa_inertia_min = None
        self._no_improvement = 0

    def _batch_step(
        self,
        updater: MiniBatchUpdater | SparseUpdater,
        rows: Rows,
        batch_indices: np.ndarray | None,
        random_state: np.random.RandomState,
        *,
        needs_inertia: bool = True,
    ) -> float:
        """One step, then centers of low weight reassigned if due; what `updater.step` returns."""
        self._n_since_last_reassign += self._batch_size
        is_due = (
            self._n_since_last_reassign >= 10 * int(self.n_clusters)
            or (updater.weight_sums == 0).any()
        )
        if is_due:
            self._n_since_last_reassign = 0
        X = rows.X
        lazy = isinstance(updater, SparseUpdater)
        if batch_indices is not None and (rows.sparse or not rows.in_memory) and not lazy:
            X, batch_indices = X[batch_indices], None
            rows = Rows(X)
        total = updater.step(rows, batch_indices, needs_inertia=needs_inertia)
        if is_due and self.reassignment_ratio > 0:
            n_reassigned = updater.reassign_centers(
                self.reassignment_ratio, X, batch_indices, random_state
            )
            if n_reassigned and self.verbose:
                print(f"[MiniBatchKMeans] Reassigning {n_reassigned} cluster centers.")
        return total

    def _has_converged(
        self, step: int, n_steps: int, n: int, change: float, batch_inertia: float
    ) -> bool:
        """Whether the centers, or the smoothed (ewa) inertia of the batches, stopped changing."""
        batch_inertia /= self._batch_size
        message = f"Minibatch step {step + 1}/{n_steps}: mean batch inertia: {batch_inertia}"
        if step == 0:  # the inertia of the first centers
            if self.verbose:
                print(message)
            return False
        if self._ewa_inertia is None:
            self._ewa_inertia = batch_inertia
        else:
            alpha = min(self._batch_size * 2.0 / (n + 1), 1)
            self._ewa_inertia = self._ewa_inertia * (1 - alpha) + batch_inertia * alpha
        if self.verbose:
            print(f"{message}, ewa inertia: {self._ewa_inertia}")
        if self._tol > 0.0 and change <= self._tol:
            reason = "small centers change"
        else:
            if self._ewa_inertia_min is None or self._ewa_inertia < self._ewa_inertia_min:
                self._no_improvement = 0
                self._ewa_inertia_min = self._ewa_inertia
            else:
                self._no_improvement += 1
            if self.max_no_improvement is None or self._no_improvement < self.max_no_improvement:
                return False
            reason = "lack of improvement in inertia"
        if self.verbose:
            print(f"Converged ({reason}) at step {step + 1}/{n_steps}")
        return True

    def _set_centers(self, updater: MiniBatchUpdater | SparseUpdater) -> None:
        self.cluster_centers_, self._counts = updater.centers, updater.weight_sums
        self._n_features_out = self.n_clusters

    def _set_labels(self, rows: Rows, centers: Centers) -> None:
        self.labels_, self.inertia_ = assign_rows(rows, centers)
        if not np.isfinite(self.inertia_):
            check_finite(self, rows.X)
