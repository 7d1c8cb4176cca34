"""The trees of a fit as arrays, data frames and plots, in the forms of the hdbscan package."""

from typing import Any

import numpy as np

from shoal.core.extras import import_pandas
from shoal.hdbscan import plots
from shoal.hdbscan.condense import Condensed
from shoal.hdbscan.linkage import SingleLinkage, label_cut, linkage_to_structured
from shoal.hdbscan.rows import TakenRows
from shoal.hdbscan.selection import Selection


class CondensedTree:
    """Clusters of all densities, and where rows fall out of them.

    Parameters
    ----------
    tree : Condensed
    selection : Selection
    taken : TakenRows
        The rows that are in the tree.
    """

    def __init__(self, tree: Condensed, selection: Selection, taken: TakenRows) -> None:
        self._tree, self._selection, self._taken = tree, selection, taken

    @property
    def n_selected(self) -> int:
        """Number of the clusters that were selected."""
        return len(self._selection.clusters)

    def to_numpy(self) -> np.ndarray:
        """The tree as a structured array, an edge a row, ordered by parent and lambda.

        Returns
        -------
        edges : ndarray of shape (n_rows + n_clusters - 1,)
            Fields `parent`, `child`, `lambda_val` (1 / distance at which the child leaves the
            parent) and `child_size` (its rows; floating where rows have weights). Rows keep
            their numbers, clusters have numbers from n_rows on, of which the first is the root.
            Rows that took no part leave the root at lambda 0.
        """
        tree, n = self._tree, self._taken.n
        rows = np.arange(n) if self._taken.indices is None else self._taken.indices
        others = np.setdiff1d(np.arange(n), rows, assume_unique=True)
        edges = np.empty(
            n + tree.n_clusters - 1,
            [
                ("parent", np.intp),
                ("child", np.intp),
                ("lambda_val", np.float64),
                ("child_size", np.intp if tree.weights is None else np.float64),
            ],
        )
        weights = np.ones(tree.n_rows) if tree.weights is None else tree.weights
        clusters = np.arange(1, tree.n_clusters)
        parts = {
            "parent": (tree.row_cluster, tree.parent[1:], np.zeros(len(others))),
            "child": (rows - n, clusters, others - n),
            "lambda_val": (tree.row_lambda, tree.birth[1:], np.zeros(len(others))),
            "child_size": (weights, tree.size[1:], np.ones(len(others))),
        }
        for name, arrays in parts.items():
            edges[name] = np.concatenate(arrays)
        edges["parent"] += n
        edges["child"] += n
        return edges[np.lexsort((edges["child"], edges["lambda_val"], edges["parent"]))]

    def to_pandas(self) -> Any:
        """`to_numpy` as a pandas data frame."""
        return import_pandas().DataFrame(self.to_numpy())

    def plot(
        self,
        leaf_separation: float = 1,
        cmap: Any = "viridis",
        select_clusters: bool = False,
        label_clusters: bool = False,
        selection_palette: Any = None,
        axis: Any = None,
        colorbar: bool = True,
        log_size: bool = False,
        max_rectangles_per_icicle: int = 20,
        line_color: Any = "black",
    ) -> Any:
        """Plot the tree as icicles: as wide as the clusters, from birth to death.

        Parameters
        ----------
        leaf_separation : float, default=1
            Distance between leaves, in units of the size of the root.
        cmap : str or matplotlib.colors.Colormap, default="viridis"
            Colours for sizes.
        select_clusters : bool, default=False
            Draw an ellipse around each selected cluster.
        label_clusters : bool, default=False
            Write the labels beside the ellipses.
        selection_palette : list of colours, default=None
            Of the ellipses, by label; None: red.
        axis : matplotlib.axes.Axes, default=None
            Where to plot; None: the current axes.
        colorbar : bool, default=True
            Draw a scale of sizes.
        log_size : bool, default=False
            Widths are logarithms of sizes.
        max_rectangles_per_icicle : int, default=20
            Steps that a cluster's bar is drawn with at most.
        line_color : colour, default="black"
            Of the lines between clusters.

        Returns
        -------
        axis : matplotlib.axes.Axes
        """
        bars = plots.compute_icicles(
            self._tree, leaf_separation, log_size, max_rectangles_per_icicle
        )
        selected = self._selection.clusters if select_clusters else np.zeros(0, np.int64)
        return plots.plot_icicles(
            bars,
            selected,
            axis=axis,
            cmap=cmap,
            palette=selection_palette,
            writes_labels=label_clusters,
            colorbar=colorbar,
            line_color=line_color,
            size_name="log(Number of points)" if log_size else "Number of points",
        )


class SingleLinkageTree:
    """The dendrogram of single linkage under mutual reachability.

    Parameters
    ----------
    linkage : SingleLinkage
    taken : TakenRows
        The rows that are in the dendrogram.
    weights, row_heights : ndarray of shape (n,), optional
        As `label_cut` takes them.
    """

    def __init__(
        self,
        linkage: SingleLinkage,
        taken: TakenRows,
        weights: np.ndarray | None = None,
        row_heights: np.ndarray | None = None,
    ) -> None:
        self._linkage, self._taken = linkage, taken
        self._weights, self._row_heights = weights, row_heights

    def to_numpy(self) -> np.ndarray:
        """The tree in SciPy's form; rows that took no part join last, at an infinite distance.

        Returns
        -------
        linkage : ndarray of shape (n_rows - 1, 4)
            Two children, their distance, and the number of rows of each merge.
        """
        tree = self._to_structured()
        return np.column_stack([tree[name].astype(np.float64) for name in tree.dtype.names])

    def to_pandas(self) -> Any:
        """A data frame with columns parent, left_child, right_child, distance and size."""
        tree = self._to_structured()
        parent = np.arange(self._taken.n, self._taken.n + len(tree))
        names = ("left_child", "right_child", "distance", "size")
        columns = {name: tree[theirs] for name, theirs in zip(names, tree.dtype.names, strict=True)}
        return import_pandas().DataFrame({"parent": parent, **columns})

    def _to_structured(self) -> np.ndarray:
        return self._taken.spread_linkage(linkage_to_structured(self._linkage))

    def get_clusters(self, cut_distance: float, min_cluster_size: int = 5) -> np.ndarray:
        """Labels of the components of edges shorter than a distance.

        Parameters
        ----------
        cut_distance : float
        min_cluster_size : int, default=5
            Smaller components are noise.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            -1 for noise, -2 for infinite and -3 for missing rows.
        """
        labels = label_cut(
            self._linkage, cut_distance, min_cluster_size, self._weights, self._row_heights
        )
        return self._taken.spread_labels(labels)

    def plot(
        self,
        axis: Any = None,
        truncate_mode: str | None = None,
        p: int = 0,
        vary_line_width: bool = True,
        cmap: Any = "viridis",
        colorbar: bool = True,
    ) -> Any:
        """Plot the dendrogram of the rows that took part.

        Parameters
        ----------
        axis : matplotlib.axes.Axes, default=None
            Where to plot; None: the current axes.
        truncate_mode : {None, "lastp"}, default=None
            With "lastp", only the last merges are shown, of p nodes.
        p : int, default=0
        vary_line_width : bool, default=True
            Lines are as wide as the logarithm of the number of rows below them.
        cmap : str or matplotlib.colors.Colormap, default="viridis"
            Colours for numbers of rows; "none": black.
        colorbar : bool, default=True
            Draw a scale of them.

        Returns
        -------
        axis : matplotlib.axes.Axes
        """
        if truncate_mode not in (None, "none", "lastp"):
            raise ValueError(f"truncate_mode must be None or 'lastp', got {truncate_mode!r}")
        n_leaves = self._linkage.n_rows
        if truncate_mode == "lastp":
            n_leaves = max(1, min(p, n_leaves))
        return plots.plot_dendrogram(
            self._linkage,
            n_leaves,
            axis=axis,
            vary_line_width=vary_line_width,
            cmap=cmap,
            colorbar=colorbar,
        )


class MinimumSpanningTree:
    """The edges of a minimum spanning tree under mutual reachability.

    Parameters
    ----------
    left, right : ndarray of shape (n - 1,)
    heights : ndarray of shape (n - 1,)
    data : ndarray of shape (n_rows, d) or None
        The rows, for plots.
    """

    def __init__(
        self, left: np.ndarray, right: np.ndarray, heights: np.ndarray, data: Any = None
    ) -> None:
        self._left, self._right, self._heights, self._data = left, right, heights, data

    def to_numpy(self) -> np.ndarray:
        """The edges.

        Returns
        -------
        edges : ndarray of shape (n - 1, 3)
            Two rows and their distance.
        """
        return np.column_stack([self._left, self._right, self._heights])

    def to_pandas(self) -> Any:
        """A data frame with columns from, to and distance."""
        columns = {"from": self._left, "to": self._right, "distance": self._heights}
        return import_pandas().DataFrame(columns)

    def plot(
        self,
        axis: Any = None,
        node_size: float = 40,
        node_color: Any = "k",
        node_alpha: float = 0.8,
        edge_alpha: float = 0.5,
        edge_cmap: Any = "viridis_r",
        edge_linewidth: float = 2,
        vary_line_width: bool = True,
        colorbar: bool = True,
    ) -> Any:
        """Plot rows and edges; rows of more than two features by their principal components.

        Parameters
        ----------
        axis : matplotlib.axes.Axes, default=None
            Where to plot; None: the current axes.
        node_size : float, default=40
        node_color : colour, default="k"
        node_alpha : float, default=0.8
        edge_alpha : float, default=0.5
        edge_cmap : str or matplotlib.colors.Colormap, default="viridis_r"
        edge_linewidth : float, default=2
        vary_line_width : bool, default=True
            Shorter edges are wider.
        colorbar : bool, default=True
            Draw a scale of distances.

        Returns
        -------
        axis : matplotlib.axes.Axes
        """
        if self._data is None:
            raise ValueError("The tree can be plotted only if it was fitted to rows of features.")
        return plots.plot_edges(
            self.to_numpy(),
            self._data,
            axis=axis,
            nodes={"s": node_size, "c": node_color, "alpha": node_alpha},
            edges={"cmap": edge_cmap, "alpha": edge_alpha},
            width=edge_linewidth,
            vary_width=vary_line_width,
            colorbar=colorbar,
        )
