"""BisectingKMeans."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from shoal.core.callbacks import begin_fit
from shoal.core.checks import all_or_nothing, check_rows, check_weights, fit_context
from shoal.core.parameters import check_random_state
from shoal.core.rows import Rows
from shoal.core.sources import is_stored
from shoal.kmeans.base import BaseKMeans
from shoal.kmeans.centers import Centers, assign_labels, compute_inertia
from shoal.kmeans.kmeans import add_origin, iterate
from shoal.kmeans.lloyd import Lloyd


@dataclass
class _Node:
    """A cluster: a leaf while it has no children, whose center is less the rows' origin."""

    center: np.ndarray
    score: float
    indices: np.ndarray | None  # of its rows, ascending; None: all, or no longer a leaf
    children: list["_Node"] | None = None


class BisectingKMeans(BaseKMeans):
    """Clusters by repeated bisection, with the answers of scikit-learn's BisectingKMeans.

    One cluster after the other is split in two by k-means, until there are enough [1]_.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, and of centers.
    init : {'k-means++', 'random'} or callable, default='random'
        How the two first centers of each bisection are found: see :class:`KMeans`. A callable
        is called as ``init(rows, 2, random_state=...)`` with the rows of the cluster, less the
        mean of X.
    n_init : int, default=1
        Number of runs of each bisection, of which the one with the least inertia is kept.
    random_state : int, RandomState instance or None, default=None
        Draws the first centers.
    max_iter : int, default=300
        Largest number of iterations of a run.
    verbose : int, default=0
        Whether to print the inertia of each iteration.
    tol : float, default=1e-4
        A run ends when the squared shifts of both centers sum to at most `tol`.
    copy_x : bool, default=True
        Accepted for scikit-learn's sake: X is never changed.
    algorithm : {'lloyd', 'elkan'}, default='lloyd'
        The rule for rows at equal distance from two centers: see :class:`KMeans`.
    bisecting_strategy : {'biggest_inertia', 'largest_cluster'}, default='biggest_inertia'
        Which cluster is split next: that of most inertia, or of most rows.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centers, in the dtype of X.
    labels_ : ndarray of shape (n_samples,), int32
        Cluster of each row.
    inertia_ : float
        Sum of squared distances to the centers of the labels, times the weights.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.

    See Also
    --------
    KMeans : All clusters at once.

    Notes
    -----
    Each bisection copies the rows of its cluster, but for the first one. The sums and decisions
    are those of :class:`KMeans`, the same for any number of threads.

    References
    ----------
    .. [1] Steinbach, M., Karypis, G. and Kumar, V. (2000). "A comparison of document clustering
       techniques". KDD Workshop on Text Mining.

    Examples
    --------
    >>> from shoal import BisectingKMeans
    >>> import numpy as np
    >>> X = np.array([[1, 1], [10, 1], [3, 1],
    ...               [10, 0], [2, 1], [10, 2],
    ...               [10, 8], [10, 9], [10, 10]])
    >>> bisecting = BisectingKMeans(n_clusters=3, random_state=0).fit(X)
    >>> bisecting.labels_
    array([0, 2, 0, 2, 0, 2, 1, 1, 1], dtype=int32)
    >>> bisecting.predict([[0, 0], [12, 3]])
    array([0, 2], dtype=int32)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseKMeans._parameter_constraints,
        "init": [StrOptions({"k-means++", "random"}), callable],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "copy_x": ["boolean"],
        "algorithm": [StrOptions({"lloyd", "elkan"})],
        "bisecting_strategy": [StrOptions({"biggest_inertia", "largest_cluster"})],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | Callable = "random",
        n_init: int = 1,
        random_state: int | np.random.RandomState | None = None,
        max_iter: int = 300,
        verbose: int = 0,
        tol: float = 1e-4,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        bisecting_strategy: str = "biggest_inertia",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.verbose = verbose
        self.random_state = random_state
        self.tol = tol
        self.n_init = n_init
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.bisecting_strategy = bisecting_strategy

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the clusters of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to cluster. float32 and float64 in C order, and CSR, are read in place; anything
            else is converted once.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.

        Returns
        -------
        self : BisectingKMeans
            The fitted estimator. One whose fit fails stays as it was.
        """
        X = check_rows(self, X, reset=True, finite=False)
        self._count_runs(X, 1)
        mean, _ = self._mean_and_tolerance(X)
        random_state = check_random_state(self.random_state)
        rows = Rows(X, check_weights(sample_weight, X), mean)
        center = np.asarray(X.mean(axis=0)).ravel() if rows.sparse else np.zeros(rows.d)
        root = _Node(center, 0.0, None)
        leaves = [root]
        room = None  # for the rows of a cluster: none is larger than those of the first bisection
        n_splits = int(self.n_clusters) - 1
        task = begin_fit(self, X, y, sample_weight, n_splits)
        for _ in range(n_splits):
            step = task.subtask("bisection")
            i = max(range(len(leaves)), key=lambda i: leaves[i].score)  # the first of the largest
            if leaves[i] is not root and room is None and not rows.sparse:
                room = np.empty((max(len(leaf.indices) for leaf in leaves), rows.d), rows.dtype)
            part = rows if leaves[i] is root else rows.gather(leaves[i].indices, room)
            leaves[i : i + 1] = self._bisect(part, leaves[i], random_state)
            if step.end(lambda: _fitted_state(root, leaves, rows)):
                break

        self.labels_ = np.zeros(rows.n, np.int32)
        for label, leaf in enumerate(leaves):
            if leaf.indices is not None:
                self.labels_[leaf.indices] = label
        values = np.array([leaf.center for leaf in leaves])
        self.inertia_ = compute_inertia(rows, Centers(values, rows), self.labels_)
        vars(self).update(_fitted_state(root, leaves, rows))
        self._n_features_out = len(leaves)
        task.end(dict)
        return self

    def _bisect(self, part: Rows, leaf: _Node, random_state: Any) -> list[_Node]:
        """Split a leaf, whose rows are given, by k-means with two centers; its children."""
        init = self._check_init(part)
        best = None
        for _ in range(self.n_init):
            centers = self._first_centers(part, init, random_state, 2)
            run = Lloyd(part, centers, self.algorithm)
            iterate(run, self.max_iter, float(self.tol), verbose=self.verbose)
            inertia = run.inertia() if self.n_init > 1 else 0.0
            if best is None or inertia < best[0] * (1 - 1e-6):
                best = inertia, run
        run = best[1]
        if self.verbose:
            print(f"New centroids from bisection: {run.centers.values}")
        if self.bisecting_strategy == "biggest_inertia":
            scores = _inertia_of_each(part, run)
        else:
            scores = np.bincount(run.labels, minlength=2)
        indices = [np.flatnonzero(run.labels == j) for j in (0, 1)]
        if leaf.indices is not None:
            indices = [leaf.indices[i] for i in indices]
        leaf.indices = None
        leaf.children = [
            _Node(center.copy(), score, of_part)
            for center, score, of_part in zip(run.centers.values, scores, indices, strict=True)
        ]
        return leaf.children

    def predict(self, X: Any) -> np.ndarray:
        """Cluster of each row: from the root of the tree on, the nearer of two centers.

        Parameters
        ----------
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows to assign; those of a .npy file are read into memory.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
            Index of the cluster.
        """
        check_is_fitted(self)
        X = check_rows(self, X, reset=False, files=True)
        rows = Rows(X[:] if is_stored(X) else X)
        labels = np.zeros(rows.n, np.int32)
        waiting: list = [(0, None)] if len(self._splits.centers) else []
        while waiting:
            split, indices = waiting.pop()
            part = rows if indices is None else rows.gather(indices)
            centers = Centers(self._splits.centers[split], part)
            is_right = assign_labels(part, centers)[0] == 1
            for child, is_chosen in zip(
                self._splits.children[split], (~is_right, is_right), strict=True
            ):
                chosen = np.flatnonzero(is_chosen)
                if indices is not None:
                    chosen = indices[chosen]
                if child < 0:
                    labels[chosen] = ~child
                elif len(chosen):
                    waiting.append((child, chosen))
        return labels

    # it descends a tree of another form
    _needs_own_state = frozenset({"predict"})

    def _to_sklearn_state(self) -> dict:
        state = super()._to_sklearn_state()
        if "_splits" in vars(self):
            state["_bisecting_tree"] = _sklearn_tree(self._splits)
        return state

    @classmethod
    def _from_sklearn(cls, theirs: Any) -> Self:
        made = super()._from_sklearn(theirs)
        state = vars(made)
        mean = state.pop("_X_mean", 0.0)
        if (tree := state.pop("_bisecting_tree", None)) is not None:
            made._splits = _splits_of_tree(tree, mean, made.cluster_centers_)
        for name in ("_kmeans_single", "_random_state"):
            state.pop(name, None)
        return made


def _inertia_of_each(rows: Rows, run: Lloyd) -> np.ndarray:
    """Sum of squared distances to the center within each cluster."""
    squares = np.empty(rows.n, rows.dtype)
    compute_inertia(rows, run.centers, run.labels, out=squares)
    if rows.sample_weight is not None:
        squares *= rows.sample_weight
    return np.bincount(run.labels, weights=squares, minlength=2)


@dataclass(frozen=True)
class _Splits:
    """The tree that `predict` descends.

    Attributes
    ----------
    children : ndarray of shape (n_splits, 2)
        Of each split, the first being the root: another split, or ~label.
    centers : ndarray of shape (n_splits, 2, n_features), in the dtype of the rows
        Of its two clusters.
    """

    children: np.ndarray
    centers: np.ndarray


def _sklearn_tree(splits: _Splits) -> Any:
    """The tree that scikit-learn's `predict` descends; its centers are those of the rows."""
    from sklearn.cluster._bisect_k_means import _BisectingTree

    if not len(splits.centers):
        root = _BisectingTree(None, None, 0)
        root.label = 0
        return root
    nodes = [_BisectingTree(None, None, 0) for _ in splits.centers]
    for node, children, centers in zip(nodes, splits.children, splits.centers, strict=True):
        for side, child, center in zip(("left", "right"), children, centers, strict=True):
            below = nodes[child] if child >= 0 else _BisectingTree(None, None, 0)
            below.center = center
            if child < 0:
                below.label = int(~child)
            setattr(node, side, below)
    return nodes[0]


def _splits_of_tree(tree: Any, mean: Any, like: np.ndarray) -> _Splits:
    """What `_sklearn_tree` makes, from scikit-learn's tree of rows less their mean."""
    nodes, children, centers = [tree] if tree.left is not None else [], [], []
    for node in nodes:  # grows
        pair = []
        for child in (node.left, node.right):
            pair.append(len(nodes) if child.left is not None else ~child.label)
            if child.left is not None:
                nodes.append(child)
        children.append(pair)
        centers.append([node.left.center + mean, node.right.center + mean])
    return _Splits(
        np.array(children, np.int64).reshape(-1, 2),
        np.array(centers, like.dtype).reshape(-1, 2, like.shape[1]),
    )


def _fitted_state(root: _Node, leaves: list[_Node], rows: Rows) -> dict:
    """The fitted attributes that predictions need."""
    labels = {id(leaf): label for label, leaf in enumerate(leaves)}
    splits, stack = [], [root] if root.children else []
    numbers = {}
    while stack:
        node = stack.pop()
        numbers[id(node)] = len(splits)
        splits.append(node.children)
        stack.extend(child for child in node.children if child.children)
    numbers.update((i, ~label) for i, label in labels.items())
    children = np.array([[numbers[id(child)] for child in pair] for pair in splits], np.int64)
    centers = np.array([[child.center for child in pair] for pair in splits], np.float64)
    return {
        "cluster_centers_": add_origin(np.array([leaf.center for leaf in leaves]), rows),
        "_splits": _Splits(
            children.reshape(-1, 2), add_origin(centers.reshape(-1, 2, rows.d), rows)
        ),
    }
