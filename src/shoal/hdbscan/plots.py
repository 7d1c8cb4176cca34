"""Pictures of the trees of a fit, by matplotlib."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from shoal.core.extras import import_pyplot
from shoal.hdbscan.condense import Condensed
from shoal.hdbscan.linkage import SingleLinkage
from shoal.space.dendrogram import layout_branches


@dataclass(frozen=True)
class Icicles:
    """Bars of a condensed tree, and the lines from parents to children."""

    center: np.ndarray  # of each bar
    bottom: np.ndarray
    height: np.ndarray
    width: np.ndarray
    lines: np.ndarray  # of shape (n_lines, 2, 2): ends of each as (x, lambda)
    bounds: np.ndarray  # of shape (n_clusters, 4): left, right, bottom, top of each cluster


def compute_icicles(
    tree: Condensed, leaf_separation: float, log_size: bool, max_rectangles: int
) -> Icicles:
    """Where bars and lines lie; infinite lambdas a little above the largest finite one."""
    finite = tree.row_lambda[np.isfinite(tree.row_lambda)]
    limit = 1.1 * max(finite.max(initial=0.0), tree.birth[np.isfinite(tree.birth)].max()) or 1.0
    birth, row_lambda = np.minimum(tree.birth, limit), np.minimum(tree.row_lambda, limit)
    scale = (lambda size: np.log(np.maximum(size, 1))) if log_size else (lambda size: size)
    x = _place_clusters(tree.parent) * leaf_separation * float(scale(tree.size[0]))
    weights = np.ones(tree.n_rows) if tree.weights is None else tree.weights
    # what leaves each cluster, by lambda: rows, and in the end its children
    leaving = np.concatenate([tree.row_cluster, tree.parent[1:]])
    at = np.concatenate([row_lambda, birth[1:]])
    size = np.concatenate([weights, tree.size[1:]])
    order = np.lexsort((at, leaving))
    ends = np.searchsorted(leaving[order], np.arange(1, tree.n_clusters))
    bars, bounds = [], np.zeros((tree.n_clusters, 4))
    for c, part in enumerate(np.split(order, ends)):
        left = np.concatenate([[0.0], np.cumsum(size[part])[:-1]])
        step = np.minimum(left / tree.size[c] * max_rectangles, max_rectangles - 1).astype(int)
        first = np.flatnonzero(np.diff(step, prepend=-1))
        tops = at[part][np.append(first[1:], len(part)) - 1]
        bottoms = np.concatenate([[birth[c]], tops[:-1]])
        widths = scale(tree.size[c] - left[first])
        bars.append(np.stack([np.full(len(first), x[c]), bottoms, tops - bottoms, widths]))
        half = float(scale(tree.size[c])) / 2
        bounds[c] = x[c] - half, x[c] + half, birth[c], tops[-1]
    lines = np.zeros((tree.n_clusters - 1, 2, 2))
    lines[:, 0, 0], lines[:, 1, 0] = x[tree.parent[1:]], x[1:]
    lines[:, :, 1] = birth[1:, None]
    return Icicles(*np.concatenate(bars, axis=1), lines, bounds)


def _place_clusters(parent: np.ndarray) -> np.ndarray:
    """Leaves in a row at 0, 1, ...; parents in the middle of their children."""
    n = len(parent)
    n_leaves = np.ones(n, np.int64)
    is_leaf = np.ones(n, bool)
    is_leaf[parent[1:]] = False
    n_leaves[~is_leaf] = 0
    for c in range(n - 1, 0, -1):
        n_leaves[parent[c]] += n_leaves[c]
    first, free = np.zeros(n), np.zeros(n)
    for c in range(1, n):
        first[c] = free[c] = free[parent[c]]
        free[parent[c]] += n_leaves[c]
    x, low, high = first.copy(), np.full(n, np.inf), np.full(n, -np.inf)
    for c in range(n - 1, -1, -1):
        if not is_leaf[c]:
            x[c] = (low[c] + high[c]) / 2
        if c:
            low[parent[c]] = min(low[parent[c]], x[c])
            high[parent[c]] = max(high[parent[c]], x[c])
    return x


def plot_icicles(
    bars: Icicles,
    selected: np.ndarray,
    *,
    axis: Any,
    cmap: Any,
    palette: Any,
    writes_labels: bool,
    colorbar: bool,
    line_color: Any,
    size_name: str,
) -> Any:
    """Draw a condensed tree, from the root at the top down."""
    pyplot = import_pyplot()
    axis = pyplot.gca() if axis is None else axis
    colors, scale = line_color, None
    if not (isinstance(cmap, str) and cmap == "none"):
        limits = pyplot.Normalize(0, bars.width.max())
        scale = pyplot.cm.ScalarMappable(norm=limits, cmap=cmap)
        colors = scale.to_rgba(bars.width)
    axis.bar(bars.center, bars.height, bars.width, bars.bottom, color=colors, linewidth=0)
    _draw_lines(axis, bars.lines, colors=line_color, linewidths=1)
    if len(selected):
        _draw_selection(axis, bars, selected, palette, writes_labels)
    if colorbar and scale is not None:
        pyplot.colorbar(scale, ax=axis).ax.set_ylabel(size_name)
    _strip(axis)
    axis.invert_yaxis()
    axis.set_ylabel("$\\lambda$ value")
    return axis


def _draw_lines(axis: Any, lines: np.ndarray, **style: Any) -> Any:
    from matplotlib.collections import LineCollection

    drawn = axis.add_collection(LineCollection(lines, **style))
    axis.autoscale_view()
    return drawn


def _draw_selection(
    axis: Any, bars: Icicles, selected: np.ndarray, palette: Any, writes_labels: bool
) -> None:
    from matplotlib.patches import Ellipse

    least = 0.02 * bars.bounds[:, 3].max()
    line_width = 2 if len(selected) <= 40 else 0.7
    for label, cluster in enumerate(selected):
        left, right, bottom, top = bars.bounds[cluster]
        center = ((left + right) / 2, (bottom + top) / 2)
        width, height = 2.0 * (right - left), 1.2 * max(top - bottom, least)
        color = palette[label % len(palette)] if palette is not None and len(palette) else "r"
        axis.add_artist(
            Ellipse(center, width, height, facecolor="none", edgecolor=color, linewidth=line_width)
        )
        if writes_labels:
            place = (center[0] - width / 2, center[1] + height / 2)
            axis.annotate(str(label), place, horizontalalignment="right", verticalalignment="top")


def _strip(axis: Any) -> None:
    axis.set_xticks([])
    for side in ("right", "top", "bottom"):
        axis.spines[side].set_visible(False)


def plot_dendrogram(
    linkage: SingleLinkage,
    n_leaves: int,
    *,
    axis: Any,
    vary_line_width: bool,
    cmap: Any,
    colorbar: bool,
) -> Any:
    """Draw the merges of the topmost `n_leaves` nodes."""
    pyplot = import_pyplot()
    axis = pyplot.gca() if axis is None else axis
    lines, branches = layout_branches(linkage.children, linkage.heights, n_leaves)
    sizes = np.concatenate([np.ones(linkage.n_rows), linkage.sizes])[branches]
    logs = np.log2(np.maximum(sizes, 1))
    style = {"linewidths": np.maximum(1, logs) if vary_line_width else 1.0}
    if isinstance(cmap, str) and cmap == "none":
        _draw_lines(axis, lines, colors="black", **style)
    else:
        drawn = _draw_lines(axis, lines, cmap=cmap, **style)
        drawn.set_array(logs)
        if colorbar:
            pyplot.colorbar(drawn, ax=axis).ax.set_ylabel("log(Number of points)")
    axis.set_ylim(bottom=0)
    _strip(axis)
    axis.set_ylabel("distance")
    return axis


def plot_edges(
    tree: np.ndarray,
    data: np.ndarray,
    *,
    axis: Any,
    nodes: dict[str, Any],
    edges: dict[str, Any],
    width: float,
    vary_width: bool,
    colorbar: bool,
) -> Any:
    """Draw rows and the edges of a spanning tree."""
    pyplot = import_pyplot()
    axis = pyplot.gca() if axis is None else axis
    points = _project(np.asarray(data, np.float64))
    length = tree[:, 2]
    if vary_width and len(length):
        least = length[length > 0].min(initial=np.inf)
        width = width * (np.log(length.max() / np.maximum(length, least)) + 1.0)
    drawn = _draw_lines(axis, points[tree[:, :2].astype(np.intp)], linewidths=width, **edges)
    drawn.set_array(length)
    axis.scatter(*points.T, **nodes)
    axis.set_xticks([])
    axis.set_yticks([])
    if colorbar:
        pyplot.colorbar(drawn, ax=axis).ax.set_ylabel("Mutual reachability distance")
    return axis


def _project(data: np.ndarray) -> np.ndarray:
    """Rows in two dimensions."""
    if data.shape[1] == 2:
        return data
    if data.shape[1] == 1:
        return np.column_stack([data, np.zeros(len(data))])
    from sklearn.decomposition import PCA

    finite = np.isfinite(data).all(axis=1)
    points = np.full((len(data), 2), np.nan)
    points[finite] = PCA(2, random_state=0).fit_transform(data[finite])
    return points
