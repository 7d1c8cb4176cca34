"""`select_n_clusters`: one call that fits many numbers of clusters and scores them."""

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from shoal.core.checks import check_function_rows, check_sample_weight
from shoal.core.parameters import check_random_state
from shoal.core.sources import as_file, is_stored, takes_files
from shoal.hierarchy import AgglomerativeClustering, FeatureAgglomeration, SharedTree
from shoal.kmeans import KMeans, MiniBatchKMeans, SharedKMeans
from shoal.selection.mixtures import Mixture, SharedMixture
from shoal.selection.table import SCORES, ClusterSelection
from shoal.silhouette import measure_dispersions, silhouettes_of_labelings

DISPERSIONS = ("davies_bouldin", "calinski_harabasz")


PARAMETERS = {
    "X": ["array-like", "sparse matrix"],
    "covariance_types": ["array-like", None],
    "scores": ["array-like", None],
    "criterion": [str, None],
    "sample_size": [Interval(Integral, 2, None, closed="left"), None],
    "patience": [Interval(Integral, 1, None, closed="left"), None],
    "sample_weight": ["array-like", None],
    "random_state": ["random_state"],
}


@takes_files
def select_n_clusters(
    X: Any,
    n_clusters: Iterable[int] = range(2, 11),
    *,
    estimator: Any = None,
    covariance_types: Sequence[str] | None = None,
    scores: Sequence[str] | None = None,
    criterion: str | None = None,
    sample_size: int | None = 20_000,
    patience: int | None = None,
    sample_weight: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> ClusterSelection:
    """Fit several numbers of clusters, score each fit, and choose one.

    Parameters
    ----------
    X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
        Rows, as the estimator takes them.
    n_clusters : iterable of int, default=range(2, 11)
        Numbers of clusters, or of components of a mixture.
    estimator : estimator, default=None
        What is fitted, with the parameters of all fits: :class:`KMeans` by default, a mixture,
        or any other with a parameter `n_clusters` and `labels_`. It is cloned, not changed.
    covariance_types : list of str, default=None
        For a mixture, the types of covariances that are tried; that of `estimator` by default.
    scores : list of str, default=None
        Which are computed: of 'inertia', 'silhouette', 'davies_bouldin' and
        'calinski_harabasz', and for mixtures 'bic' and 'aic' (of
        :class:`BayesianGaussianMixture`, which has neither, by silhouettes). By default all
        that the estimator has; of a mixture 'bic' and 'aic' alone, of sparse rows no scores of
        dispersion.
    criterion : str, default=None
        The score that decides, computed if it is not among `scores`; 'silhouette' by
        default, 'bic' for a mixture that has it. 'inertia' decides by its knee: the point
        farthest below the line between the curve's ends.
    sample_size : int, default=20000
        Silhouettes are those of so many rows drawn at random, the same for all fits, among
        themselves; None: of all rows.
    patience : int, default=None
        Stop after so many numbers of clusters in a row without a better score by the criterion;
        None: fit them all. It has no meaning for 'inertia', which always gets better.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row in the fits and silhouettes; scores of dispersion have no weights.
    random_state : int, RandomState instance or None, default=None
        The state that every fit begins with, and the draw of the sample; by default, that of
        `estimator`. What is not an int gives one int for all fits.

    Returns
    -------
    selection : ClusterSelection
        With `table` (a pandas data frame where pandas is installed), `scores`, `estimators`,
        `best_n_clusters`, `best_estimator` and `best_covariance_type`.

    Raises
    ------
    ValueError
        As the estimator's fit; and where no score by the criterion is defined.

    Notes
    -----
    Each fit is the one that the estimator with this number of clusters and `random_state` gives
    alone. For k-means the rows are checked and their moments computed once, and the seeds for
    several numbers are drawn together where scikit-learn's draws are the same; where the rows are
    so few that one fit cannot use all threads, several fits run at a time. The mixtures of
    several types of covariances share the k-means that they begin with, and
    :class:`AgglomerativeClustering` builds one tree, which is cut at each number. The distances
    that silhouettes need are computed once for all fits [1]_.

    Scores that need from 2 to n_samples - 1 clusters are NaN for others.

    References
    ----------
    .. [1] Rousseeuw, P. J. (1987). "Silhouettes: a graphical aid to the interpretation
       and validation of cluster analysis". Journal of Computational and Applied
       Mathematics 20, 53-65.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from shoal import select_n_clusters
    >>> X, _ = make_blobs(300, centers=[[0, 0], [5, 5], [0, 9]], random_state=0)
    >>> selection = select_n_clusters(X, range(2, 6), random_state=0)
    >>> selection.best_n_clusters
    3
    >>> selection.best_estimator.labels_.shape
    (300,)
    """
    given = locals()
    # not by a decorator, which would name this function in errors of the estimator's parameters
    validate_parameter_constraints(
        PARAMETERS, {name: given[name] for name in PARAMETERS}, "select_n_clusters"
    )
    estimator = KMeans() if estimator is None else estimator
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise ValueError(f"estimator must be an estimator such as KMeans(), got {estimator!r}")
    is_mixture = isinstance(estimator, Mixture)
    numbers = _check_numbers(n_clusters)
    types = _check_types(estimator, covariance_types)
    criterion, wanted = _check_scores(estimator, X, scores, criterion)
    if random_state is None:
        random_state = getattr(estimator, "random_state", None)
    if not isinstance(random_state, Integral):
        random_state = int(check_random_state(random_state).randint(2**31 - 1))
    if "random_state" in estimator.get_params(deep=False):
        estimator = clone(estimator).set_params(random_state=random_state)
    scoring = _Scoring(X, sample_weight, wanted, sample_size, random_state)
    fits = _Fits(estimator, X, numbers, types, sample_weight, scoring, all_at_once=patience is None)
    is_sampled_now = patience is not None and criterion == "silhouette"
    watch = _Watch(criterion, patience)
    for k in numbers:
        fitted = fits.fit(k, is_sampled_now)
        if watch.is_over([scores[criterion] for scores in fitted if criterion in scores]):
            break
    order, table = fits.finish(not is_sampled_now)
    return ClusterSelection(
        [fits.estimators[i] for i in order],
        [fits.numbers[i] for i in order],
        [fits.types[i] for i in order] if is_mixture and covariance_types is not None else None,
        table,
        criterion,
    )


def _check_numbers(n_clusters: Iterable[int]) -> list[int]:
    numbers = list(n_clusters) if isinstance(n_clusters, Iterable) else []
    if not numbers or not all(isinstance(k, Integral) and k >= 1 for k in numbers):
        raise ValueError(f"n_clusters must be one or more integers from 1 on, got {n_clusters!r}")
    return sorted({int(k) for k in numbers})


def _check_types(estimator: Any, covariance_types: Sequence[str] | None) -> list:
    if covariance_types is None:
        return [getattr(estimator, "covariance_type", None)]
    if not isinstance(estimator, Mixture):
        raise ValueError(
            f"covariance_types are of mixtures: {type(estimator).__name__} has none, give "
            "estimator=GaussianMixture()"
        )
    types = list(covariance_types)
    if not types:
        raise ValueError("covariance_types is empty: give at least one, or None")
    return types


def _check_scores(
    estimator: Any, X: Any, scores: Sequence[str] | None, criterion: str | None
) -> tuple[str, list[str]]:
    """The criterion, and the scores to compute in the order of the table."""
    own = ["bic", "aic"] if hasattr(estimator, "bic") else []
    has_inertia = isinstance(estimator, KMeans | MiniBatchKMeans)
    usable = (["inertia"] if has_inertia else []) + ["silhouette", *DISPERSIONS, *own]
    if criterion is None:
        criterion = own[0] if own else "silhouette"
    if scores is None:
        scores = own or [name for name in usable if not (sp.issparse(X) and name in DISPERSIONS)]
    for name in (*scores, criterion):
        if sp.issparse(X) and name in DISPERSIONS:
            raise ValueError(f"{name} is a score of dense rows, and X is sparse")
        if name not in usable:
            raise ValueError(
                f"{type(estimator).__name__} has no score {name!r}; it has {', '.join(usable)}"
            )
    return criterion, [name for name in SCORES if name in {*scores, criterion}]


class _Watch:
    """Whether a criterion has stopped getting better."""

    def __init__(self, criterion: str, patience: int | None) -> None:
        self._patience, self._sign = patience, 1 if SCORES[criterion] else -1
        self._best, self._since = -np.inf, 0

    def is_over(self, values: list[float]) -> bool:
        """Whether the fits should end, after those of one more number of clusters."""
        if self._patience is None:
            return False
        found = max((self._sign * v for v in values if not np.isnan(v)), default=-np.inf)
        self._since = 0 if found > self._best else self._since + 1
        self._best = max(self._best, found)
        return self._since >= self._patience


class _Scoring:
    """Scores of labels, and the sample of rows that silhouettes are computed of."""

    def __init__(
        self, X: Any, weights: Any, wanted: list[str], size: int | None, random_state: int
    ) -> None:
        self.wanted, self._size, self._random_state = wanted, size, random_state
        self._weights, self._sample = weights, None

    def score(self, model: Any, X: Any, labels: np.ndarray | None) -> dict[str, float]:
        """All scores of a fit but its silhouette."""
        found: dict[str, float] = {}
        for name in self.wanted:
            if name == "inertia":
                found[name] = float(model.inertia_)
            elif name in ("bic", "aic"):
                found[name] = float(getattr(model, name)(X))
        if labels is not None and set(self.wanted) & set(DISPERSIONS):
            encoded, k = _encode(labels)
            found |= dict.fromkeys(DISPERSIONS, np.nan)
            if 1 < k < len(encoded):
                measured = measure_dispersions(X, encoded, k)
                found["davies_bouldin"] = measured.davies_bouldin()
                found["calinski_harabasz"] = measured.calinski_harabasz()
        return found

    def take(self, X: Any, labels: np.ndarray) -> np.ndarray:
        """The labels of the rows of the sample."""
        if self._sample is None:
            n = X.shape[0]
            self._sample = slice(None)
            if self._size is not None and self._size < n:
                drawn = check_random_state(self._random_state).permutation(n)[: self._size]
                self._sample = np.array(drawn)
        return labels[self._sample]

    def silhouettes(self, X: Any, labelings: list[np.ndarray]) -> np.ndarray:
        """Mean silhouette of each labeling of the sample; NaN where it is not defined."""
        found = np.full(len(labelings), np.nan)
        rows, weights = X[self._sample], None
        if self._weights is not None:
            weights = check_sample_weight(self._weights, X)[self._sample]
        defined = [i for i, labels in enumerate(labelings) if _is_scored(labels, weights)]
        values = silhouettes_of_labelings(
            rows, [labelings[i] for i in defined], sample_weight=weights
        )
        for i, silhouettes in zip(defined, values, strict=True):
            found[i] = np.average(silhouettes, weights=weights)
        return found


def _is_scored(labels: np.ndarray, weights: np.ndarray | None) -> bool:
    """Whether there are from 2 labels to one less than rows; rows of weight 0 do not count."""
    some = labels if weights is None else labels[weights > 0]
    return 1 < len(np.unique(some)) < len(some)


def _encode(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels without gaps, and their number."""
    counts = np.bincount(labels - labels.min())
    if counts.all():
        return labels - labels.min(), len(counts)
    found, encoded = np.unique(labels, return_inverse=True)
    return encoded, len(found)


class _Fits:
    """The fits so far, and their scores."""

    def __init__(
        self,
        estimator: Any,
        X: Any,
        numbers: list[int],
        types: list,
        weights: Any,
        scoring: _Scoring,
        *,
        all_at_once: bool,
    ) -> None:
        self._all_types, self._scoring = types, scoring
        self._shared: Any = None
        if isinstance(estimator, KMeans):
            self._shared = SharedKMeans(estimator, X, numbers[-1], weights)
            self._fit = lambda k, _: self._shared.fit(k)
            if all_at_once:
                fitted = dict(zip(numbers, self._shared.fit_all(numbers), strict=True))
                self._fit = lambda k, _: fitted[k]
        elif isinstance(estimator, Mixture):
            self._shared = SharedMixture(estimator, X, weights)
            self._fit = self._shared.fit
        elif _has_shared_tree(estimator) and weights is None:
            tree = SharedTree(estimator, X)
            self._fit = lambda k, _: tree.fit(k)
        else:
            self._fit = lambda k, _: _fit_alone(estimator, X, k, weights)
        self.X = X if self._shared is None else self._shared.X
        if self._shared is None and not is_stored(X):
            self.X = check_function_rows(X)
        self.estimators: list = []
        self.numbers: list[int] = []
        self.types: list = []
        self._scores: list[dict] = []
        self._labelings: list[np.ndarray] = []

    def fit(self, k: int, is_sampled_now: bool) -> list[dict]:
        """Fit all types of k clusters; their scores, of silhouettes only where asked for."""
        scoring, wanted = self._scoring, self._scoring.wanted
        for kind in self._all_types:
            model = self._fit(k, kind)
            self.estimators.append(model)
            self.numbers.append(k)
            self.types.append(kind)
            labels = None
            if {"silhouette", *DISPERSIONS} & set(wanted):
                labels = model.labels_ if hasattr(model, "labels_") else model.predict(self.X)
            self._scores.append(scoring.score(model, self.X, labels))
            if "silhouette" in wanted:
                self._labelings.append(scoring.take(self.X, labels))
            if is_sampled_now:
                value = scoring.silhouettes(self.X, self._labelings[-1:])[0]
                self._scores[-1]["silhouette"] = value
        return self._scores[-len(self._all_types) :]

    def finish(self, with_silhouettes: bool) -> tuple[list[int], dict[str, np.ndarray]]:
        """The order of the table, by type and then by number, and its columns of scores."""
        if with_silhouettes and "silhouette" in self._scoring.wanted:
            found = self._scoring.silhouettes(self.X, self._labelings)
            for scores, value in zip(self._scores, found, strict=True):
                scores["silhouette"] = value
        n_types = len(self._all_types)
        order = [i for t in range(n_types) for i in range(t, len(self.numbers), n_types)]
        wanted = self._scoring.wanted
        return order, {
            name: np.array([self._scores[i].get(name, np.nan) for i in order], float)
            for name in wanted
        }


def _has_shared_tree(estimator: Any) -> bool:
    return isinstance(estimator, AgglomerativeClustering) and not isinstance(
        estimator, FeatureAgglomeration
    )


def _fit_alone(estimator: Any, X: Any, k: int, weights: Any) -> Any:
    """A fit of any estimator."""
    model = clone(estimator)
    params = model.get_params(deep=False)
    name = next((name for name in ("n_clusters", "n_components") if name in params), None)
    if name is None:
        raise ValueError(
            f"{type(estimator).__name__} has no parameter n_clusters: give one that has, such as "
            "KMeans()"
        )
    model.set_params(**{name: k})
    X = as_file(X)
    return model.fit(X) if weights is None else model.fit(X, sample_weight=weights)
