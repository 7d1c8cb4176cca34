"""KMeans and k_means."""

import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import StrOptions

from shoal.core.callbacks import Task, begin_fit
from shoal.core.checks import all_or_nothing, check_rows, check_weights, fit_context
from shoal.core.collections import publish
from shoal.core.parameters import check_random_state, validate_params
from shoal.core.rows import Rows, make_rows
from shoal.core.sources import hold_rows, takes_files
from shoal.kmeans.base import BaseKMeans
from shoal.kmeans.lloyd import Lloyd, start_lloyd
from shoal.kmeans.seeding import draw_seeds


def _is_same_clustering(labels: np.ndarray, best: np.ndarray, k: int) -> bool:
    """Whether each cluster of `labels` is part of one of `best`: scikit-learn's test, one-sided."""
    if not isinstance(labels, np.ndarray):
        return labels.is_same_clustering(best)
    first = np.empty(k, best.dtype)
    first[labels[::-1]] = best[::-1]
    return np.array_equal(first[labels], best)


def _count_clusters(labels: np.ndarray, k: int) -> int:
    """How many clusters have rows; mostly the first few rows show that all have some."""
    if not isinstance(labels, np.ndarray):
        return labels.count_clusters()
    found = np.zeros(k, bool)
    start, stop = 0, 2**8
    while start < len(labels) and not found.all():
        found[labels[start:stop]] = True
        start, stop = stop, stop + min(stop, 2**16)
    return int(found.sum())


def _warn_of_few_clusters(labels: np.ndarray, k: int, stacklevel: int) -> None:
    n_found = _count_clusters(labels, k)
    if n_found < k:
        warnings.warn(
            f"Number of distinct clusters ({n_found}) found smaller than n_clusters "
            f"({k}). Possibly due to duplicate points in X.",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


def add_origin(values: np.ndarray, rows: Rows) -> np.ndarray:
    """A copy of centers less the rows' origin, with it and in the rows' dtype."""
    return (values if rows.sparse else values + rows.origin).astype(rows.dtype)


def _fitted_state(run: Lloyd, n_iter: int) -> dict:
    """The fitted attributes that a callback's estimator needs to predict."""
    return {"cluster_centers_": add_origin(run.centers.values, run.rows), "n_iter_": n_iter}


def iterate(
    run: Lloyd, max_iter: int, tol: float, *, verbose: int = 0, task: Task | None = None
) -> int:
    """Iterate until labels or centers stay the same; the number of iterations."""
    task = task or Task(None, None, {})
    stop = "." if run.algorithm == "lloyd" else ""
    for i in range(max_iter):
        part = task.subtask("iteration")
        changed = run.assign()
        if verbose:
            print(f"Iteration {i}, inertia {run.inertia()}{stop}")
        shift = run.update()
        stop_now = part.end(lambda i=i: _fitted_state(run, i + 1))
        if changed == 0:
            if verbose:
                print(f"Converged at iteration {i}: strict convergence.")
            run.finalize_centers()
            run.correct_labels()
            return i + 1
        if shift <= tol:
            if verbose:
                print(f"Converged at iteration {i}: center shift {shift} within tolerance {tol}.")
            break
        if stop_now:
            break
    run.finalize_centers()
    run.assign()  # the labels of the last centers
    return i + 1


class KMeans(BaseKMeans):
    """K-means clustering with the answers of scikit-learn's KMeans, sooner and in less memory.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, and of centers.
    init : {'k-means++', 'random'}, callable or array-like of shape \
(n_clusters, n_features), default='k-means++'
        How the first centers are found: greedy k-means++ [2]_; rows at random; the
        given array; or ``init(X, n_clusters, random_state=...)``, which receives a
        copy of X less its mean.
    n_init : 'auto' or int, default='auto'
        Number of runs from different first centers, of which the one with the least
        inertia is kept. 'auto' is 1 for 'k-means++' and arrays, 10 otherwise.
    max_iter : int, default=300
        Largest number of iterations of a run.
    tol : float, default=1e-4
        A run ends when the squared shifts of all centers sum to at most ``tol`` times
        the mean variance of the features.
    verbose : int, default=0
        Whether to print the inertia of each iteration.
    random_state : int, RandomState instance or None, default=None
        Draws the first centers.
    copy_x : bool, default=True
        Accepted for scikit-learn's sake: X is never copied and never changed.
    algorithm : {'lloyd', 'elkan'}, default='lloyd'
        The rule for rows at equal distance from two centers: the lower index, or the
        label that the row has already. How distances are computed, and which are left
        out, is chosen by the shape of the data.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centers, in the dtype of X.
    labels_ : ndarray of shape (n_samples,), int32
        Index of the nearest center of each row.
    inertia_ : float
        Sum of squared distances to the nearest centers, times the weights.
    n_iter_ : int
        Iterations of the run that was kept.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.

    Notes
    -----
    An iteration assigns every row to its nearest center and moves each center to the
    mean of its rows [1]_. Rows at nearly equal distance from two centers are decided
    in float64 whatever the dtype of X, and all sums are taken in float64 over blocks
    that depend on the shape of X alone, so any number of threads gives the same bits.

    A fit adds about 12 to 20 bytes a row to the memory that X takes.

    A fit of a file reads it once for the mean, once in each iteration, and three times
    in the end. `init` 'k-means++' reads it twice for each center besides; first centers from a
    sample of the rows cost nothing::

        X = np.load("rows.npy", mmap_mode="r")
        sample = X[np.sort(rng.choice(len(X), 100_000, replace=False))]
        init, _ = shoal.kmeans_plusplus(sample, n_clusters)

    To go on with a long fit after a crash, let a callback (`set_callbacks`, scikit-learn
    1.9) write ``fitted_estimator.cluster_centers_`` to a file at the end of each task
    named "iteration", and give these centers as `init`.

    References
    ----------
    .. [1] Lloyd, S. (1982). "Least squares quantization in PCM". IEEE Transactions
       on Information Theory 28 (2), 129-137.
    .. [2] Arthur, D. and Vassilvitskii, S. (2007). "k-means++: the advantages of
       careful seeding". SODA, 1027-1035.

    Examples
    --------
    >>> from shoal import KMeans
    >>> import numpy as np
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> kmeans = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> kmeans.labels_
    array([1, 1, 1, 0, 0, 0], dtype=int32)
    >>> kmeans.predict([[0, 0], [12, 3]])
    array([1, 0], dtype=int32)
    >>> kmeans.cluster_centers_
    array([[10.,  2.],
           [ 1.,  2.]])
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseKMeans._parameter_constraints,
        "copy_x": ["boolean"],
        "algorithm": [StrOptions({"lloyd", "elkan"})],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | ArrayLike | Callable = "k-means++",
        n_init: int | str = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the clusters of X.

        Parameters
        ----------
        X : {array-like, sparse matrix, path, dask collection} of shape (n_samples, n_features)
            Rows to cluster. float32 and float64 in C order, and CSR, are read in place;
            anything else is converted once. Rows that are not in memory (the path of a .npy
            or Parquet file, an array mapped from one, a data set of HDF5, zarr or Arrow:
            :func:`open_rows`) are read a block at a time in every pass, however many there
            are, but for the first 192 MiB, which are read once: the answer has the same
            bits as that of the array in memory.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.

        Returns
        -------
        self : KMeans
            The fitted estimator. One whose fit fails stays as it was.
        """
        X = check_rows(self, X, reset=True, finite=False, files=True)
        hold_rows(X)
        mean, tol = self._mean_and_tolerance(X)
        n_init = self._count_runs(X, 10)
        algorithm = self._choose_algorithm()
        random_state = check_random_state(self.random_state)
        rows = make_rows(X, check_weights(sample_weight, X), mean)
        init = self._check_init(rows)

        task = begin_fit(self, X, y, sample_weight, n_init)
        best = None
        for _ in range(n_init):
            centers = self._first_centers(rows, init, random_state)
            run = start_lloyd(rows, centers, algorithm, copied=callable(init))
            del centers
            if self.verbose:
                print("Initialization complete")
            part = task.subtask("run", self.max_iter)
            n_iter = iterate(run, self.max_iter, tol, verbose=self.verbose, task=part)
            stop = part.end(lambda run=run, n_iter=n_iter: _fitted_state(run, n_iter))
            result = (run.inertia(), run.labels, run.centers.values, n_iter)
            if best is None or (
                result[0] < best[0]
                and not _is_same_clustering(run.labels, best[1], self.n_clusters)
            ):
                best = result
            del run, part  # before the next one takes its memory
            if stop:
                break

        self.inertia_, labels, centers, self.n_iter_ = best
        self.cluster_centers_ = add_origin(centers, rows)
        self._n_features_out = self.n_clusters
        _warn_of_few_clusters(labels, self.n_clusters, stacklevel=5)
        self.labels_ = publish(X, labels)
        task.end(dict)
        return self

    def _choose_algorithm(self) -> str:
        if self.algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=5,
            )
            return "lloyd"
        return self.algorithm


def cluster_rows(
    rows: Rows, k: int, variance: float, random_state: np.random.RandomState, stacklevel: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and centers of ``KMeans(k, n_init=1)``, for wings whose fits begin with k-means.

    Parameters
    ----------
    rows : Rows
        With their mean as origin.
    k : int
        Number of clusters.
    variance : float
        Mean variance of the features.
    random_state : RandomState instance
        Draws the first centers.
    stacklevel : int
        Of a warning of clusters without rows, as seen from the caller.
    """
    model = KMeans(k)
    centers = rows.gather_centered(draw_seeds(rows, k, random_state))
    run = start_lloyd(rows, centers, "lloyd", copied=False)
    iterate(run, model.max_iter, model.tol * variance)
    _warn_of_few_clusters(run.labels, k, stacklevel + 2)
    return run.labels, run.centers.values + rows.origin


@takes_files
@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "sample_weight": ["array-like", None],
        "return_n_iter": [bool],
    },
    prefer_skip_nested_validation=False,
)
def k_means(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
    init: str | ArrayLike | Callable = "k-means++",
    n_init: int | str = "auto",
    max_iter: int = 300,
    verbose: bool = False,
    tol: float = 1e-4,
    random_state: int | np.random.RandomState | None = None,
    copy_x: bool = True,
    algorithm: str = "lloyd",
    return_n_iter: bool = False,
) -> tuple:
    """Perform k-means clustering; a function around :class:`KMeans`.

    Parameters
    ----------
    X : {array-like, sparse matrix, path, dask collection} of shape (n_samples, n_features)
        Rows to cluster.
    n_clusters : int
        Number of clusters.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row; 1 by default.
    init, n_init, max_iter, verbose, tol, random_state, copy_x, algorithm
        As for :class:`KMeans`.
    return_n_iter : bool, default=False
        Whether to return the number of iterations too.

    Returns
    -------
    centroid : ndarray of shape (n_clusters, n_features)
        Centers.
    label : ndarray of shape (n_samples,), int32
        Index of the nearest center of each row.
    inertia : float
        Sum of squared distances to the nearest centers, times the weights.
    best_n_iter : int
        Iterations of the run that was kept; only if `return_n_iter`.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import k_means
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> centroid, label, inertia = k_means(X, n_clusters=2, random_state=0)
    >>> centroid
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> inertia
    16.0
    """
    fitted = KMeans(
        n_clusters=n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        verbose=verbose,
        tol=tol,
        random_state=random_state,
        copy_x=copy_x,
        algorithm=algorithm,
    ).fit(X, sample_weight=sample_weight)
    result = (fitted.cluster_centers_, fitted.labels_, fitted.inertia_)
    return (*result, fitted.n_iter_) if return_n_iter else result
