"""DendrogramDisplay and CondensedTreeDisplay: hierarchies of clusters."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from shoal.plot.base import begin, foreground, palette, spread_labels, write_note
from shoal.space.dendrogram import layout_branches

MAX_LEAVES = 30


class DendrogramDisplay:
    """The topmost merges of a tree, with the height at which it was cut.

    Branches below the threshold have the colour of their cluster. It is recommended to use
    :meth:`from_estimator`.

    Parameters
    ----------
    children : ndarray of shape (n_samples - 1, 2)
        Nodes that each merge joins: rows, then merges from n_samples on.
    heights : ndarray of shape (n_samples - 1,)
        Height of each merge.
    max_leaves : int, default=30
        Nodes that are shown as leaves at most; below them the tree is left out.
    threshold : float, default=None
        Where the tree is cut.

    Attributes
    ----------
    children, heights, threshold
        As above, the merges sorted by height.
    leaf_sizes : ndarray of shape (n_leaves,)
        Rows below each leaf, from the left.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    branches_ : matplotlib LineCollection
        Two lines a merge.
    threshold_ : matplotlib Artist or None

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from shoal import AgglomerativeClustering
    >>> from shoal.plot import DendrogramDisplay
    >>> X, _ = make_blobs(300, random_state=0)
    >>> model = AgglomerativeClustering(3, compute_distances=True).fit(X)
    >>> display = DendrogramDisplay.from_estimator(model, max_leaves=12)
    >>> int(display.leaf_sizes.sum())
    300
    """

    def __init__(
        self,
        children: np.ndarray,
        heights: np.ndarray,
        *,
        max_leaves: int = MAX_LEAVES,
        threshold: float | None = None,
    ) -> None:
        if max_leaves < 2:
            raise ValueError(f"max_leaves must be 2 or more, got {max_leaves}")
        self.children, self.heights = _sort_merges(np.asarray(children), np.asarray(heights))
        self.threshold = threshold
        n = len(self.children) + 1
        self.lines, self._branches = layout_branches(
            self.children, self.heights, min(max_leaves, n)
        )
        sizes = _count_rows(self.children)
        lowest = len(self.children) - len(self._branches) // 2
        is_leaf = self._branches < n + lowest
        places = self.lines[is_leaf, 0, 0]
        self.leaf_sizes = sizes[self._branches[is_leaf]][np.argsort(places)]
        self._is_cut = min(max_leaves, n) < n

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        max_leaves: int = MAX_LEAVES,
        threshold: float | str | None = "auto",
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the tree of a fitted AgglomerativeClustering, or the dendrogram of HDBSCAN.

        Parameters
        ----------
        estimator : AgglomerativeClustering, FeatureAgglomeration or HDBSCAN
            Fitted; the first two with ``compute_distances=True`` or a distance threshold, and a
            whole tree.
        X : Ignored
            Present for the sake of a common signature.
        max_leaves : int, default=30
            Nodes that are shown as leaves at most.
        threshold : float, None or 'auto', default='auto'
            Where the tree is cut: by default, between the merges that the estimator's clusters
            lie between.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to the LineCollection.

        Returns
        -------
        display : DendrogramDisplay
        """
        check_is_fitted(estimator)
        if hasattr(estimator, "single_linkage_tree_"):
            tree = estimator.single_linkage_tree_.to_numpy()
            children, heights = tree[:, :2].astype(np.intp), tree[:, 2]
            threshold = None if threshold == "auto" else threshold
        else:
            if not hasattr(estimator, "children_"):
                raise ValueError(f"{type(estimator).__name__} has no tree that could be drawn")
            if not hasattr(estimator, "distances_"):
                raise ValueError(
                    "The heights of merges are not there: fit with compute_distances=True"
                )
            children, heights = estimator.children_, estimator.distances_
            if len(children) != estimator.n_leaves_ - 1:
                raise ValueError("The tree is not whole: fit with compute_full_tree=True")
        if threshold == "auto":
            threshold = _cut_height(np.sort(heights), estimator)
        display = cls(children, heights, max_leaves=max_leaves, threshold=threshold)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to the LineCollection.

        Returns
        -------
        self : DendrogramDisplay
        """
        from matplotlib.collections import LineCollection

        self.figure_, self.ax_ = _, ax = begin(ax)
        finite = self.lines[np.isfinite(self.lines).all(axis=(1, 2))]
        style = {"colors": self._colors(ax)[np.isfinite(self.lines).all(axis=(1, 2))]}
        self.branches_ = ax.add_collection(LineCollection(finite, **(style | kwargs)))
        self.threshold_ = None
        if self.threshold is not None:
            self.threshold_ = ax.axhline(
                self.threshold, color=foreground(ax), linestyle="--", linewidth=1
            )
        ax.set_xlim(-0.7, len(self.leaf_sizes) - 0.3)
        top = finite[:, :, 1].max(initial=0) or 1.0
        ax.set_ylim(0, 1.04 * top)
        texts = [f"{size:,}" for size in self.leaf_sizes]
        if any(size > 1 for size in self.leaf_sizes):
            spread_labels(ax, np.arange(len(texts)), texts, "x")
            ax.set_xlabel("rows below each leaf")
        else:
            ax.set_xticks([])
            ax.set_xlabel("rows")
        ax.set_ylabel("height of merge")
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        if self._is_cut:
            n = len(self.children) + 1
            write_note(ax, f"top {len(self.leaf_sizes) - 1:,} of {n - 1:,} merges")
        return self

    def _colors(self, ax: Any) -> np.ndarray:
        """Of each branch: that of its cluster below the threshold."""
        above = np.array([0.0, 0, 0] if foreground(ax) == "black" else [1.0, 1, 1])
        if self.threshold is None:
            return np.repeat(above[None], len(self.lines), axis=0)
        merged = self.lines[:, 1, 1]  # height of the merge above each branch
        is_below = merged <= self.threshold
        # clusters from the left: a branch that crosses the threshold begins another one
        crossing = np.sort(self.lines[~is_below & (self.lines[:, 0, 1] <= self.threshold), 0, 0])
        if not len(crossing):
            crossing = np.array([self.lines[:, 0, 0].min(initial=0)])
        borders = self._borders(crossing)
        cluster = np.searchsorted(borders, self.lines[:, 0, 0], side="right")
        shades = palette(len(borders) + 1, ax)[cluster]
        return np.where(is_below[:, None], shades, above)

    def _borders(self, crossing: np.ndarray) -> np.ndarray:
        """Places between the leaves of neighbouring clusters."""
        n = len(self.children) + 1
        below = {}  # leaves below each branch
        lowest = len(self.children) - len(self._branches) // 2
        place = dict(zip(self._branches.tolist(), self.lines[:, 0, 0], strict=True))
        last = {}
        for node in sorted(self._branches.tolist()):
            if node < n + lowest:
                last[node] = place[node]
            else:
                last[node] = max(last[int(c)] for c in self.children[node - n])
        for node in self._branches.tolist():
            below[place[node], node] = last[node]
        ends = {p: end for (p, _), end in below.items() if p in crossing}
        return np.array(sorted(ends.values()))[:-1] + 0.5


def _sort_merges(children: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merges in ascending order of height, as average linkage may not give them."""
    if (np.diff(heights) >= 0).all():
        return children, heights
    n = len(children) + 1
    # no merge before those below it
    reached = heights.copy()
    for k, pair in enumerate(children):
        for child in pair:
            if child >= n:
                reached[k] = max(reached[k], reached[child - n])
    order = np.argsort(reached, kind="stable")
    number = np.empty(2 * n - 1, np.intp)
    number[:n] = np.arange(n)
    number[n + order] = n + np.arange(n - 1)
    return number[children[order]], heights[order]


def _count_rows(children: np.ndarray) -> np.ndarray:
    """Rows below each node."""
    n = len(children) + 1
    sizes = [1] * (2 * n - 1)
    for k, (a, b) in enumerate(children.tolist(), n):
        sizes[k] = sizes[a] + sizes[b]
    return np.array(sizes)


def _cut_height(heights: np.ndarray, estimator: Any) -> float | None:
    """A height between the merges below the clusters and those above."""
    if getattr(estimator, "distance_threshold", None) is not None:
        return float(estimator.distance_threshold)
    k, n = estimator.n_clusters_, len(heights) + 1
    if k <= 1 or k >= n:
        return None
    return float(heights[n - k - 1] + heights[n - k]) / 2


class CondensedTreeDisplay:
    """The condensed tree of HDBSCAN, with the selected clusters.

    Each bar is a cluster, as wide as it has rows, from the density at which it appears down to
    that at which it ends; ellipses mark the clusters that were selected [1]_. It is recommended
    to use :meth:`from_estimator`.

    Parameters
    ----------
    tree : CondensedTree
        ``condensed_tree_`` of a fitted HDBSCAN.

    Attributes
    ----------
    tree : CondensedTree
        What is drawn.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    References
    ----------
    .. [1] Campello, R., Moulavi, D. and Sander, J. (2013). "Density-based clustering based on
       hierarchical density estimates". PAKDD, 160-172.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from shoal import HDBSCAN
    >>> from shoal.plot import CondensedTreeDisplay
    >>> X, _ = make_moons(300, noise=0.05, random_state=0)
    >>> model = HDBSCAN(min_cluster_size=10, copy=True).fit(X)
    >>> display = CondensedTreeDisplay.from_estimator(model)
    >>> display.ax_.get_xlabel()
    '2 clusters selected'
    """

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, *, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw the condensed tree of a fitted HDBSCAN.

        Parameters
        ----------
        estimator : HDBSCAN
            Fitted.
        X : Ignored
            Present for the sake of a common signature.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to ``condensed_tree_.plot``.

        Returns
        -------
        display : CondensedTreeDisplay
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "condensed_tree_"):
            raise ValueError(f"{type(estimator).__name__} has no condensed tree: fit shoal.HDBSCAN")
        return cls(estimator.condensed_tree_).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to ``condensed_tree_.plot``.

        Returns
        -------
        self : CondensedTreeDisplay
        """
        self.figure_, self.ax_ = _, ax = begin(ax)
        color = foreground(ax)
        n_selected = self.tree.n_selected
        style = {
            "select_clusters": True,
            "label_clusters": n_selected <= MAX_LEAVES,
            "selection_palette": list(palette(max(1, n_selected), ax)),
            "line_color": color,
        }
        self.tree.plot(axis=ax, **(style | kwargs))
        ax.set_xlabel(f"{n_selected} cluster{'' if n_selected == 1 else 's'} selected")
        return self
