"""What displays share: axes, colours, samples of rows, and the plane that rows are drawn in."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from shoal.core.checks import FLOATS, check_structure
from shoal.core.extras import import_pandas, import_pyplot
from shoal.core.parameters import check_random_state
from shoal.core.sources import as_file, is_stored

# Okabe & Ito's colours, which the colour-blind tell apart, without black and without yellow,
# so that all show on white and on black
HUES = np.array(
    [
        [0, 114, 178],
        [230, 159, 0],
        [0, 158, 115],
        [204, 121, 167],
        [86, 180, 233],
        [213, 94, 0],
    ]
) / np.float64(255)
N_COLORS = 3 * len(HUES)  # hues in three shades, then from the start
NOISE = (0.55, 0.55, 0.55)
MARKERS = "osD^vP"
RASTERIZED = 2000  # points from which on they are pixels in vector formats too
MAX_POINTS = 20_000  # drawn
MAX_LABELS = 40  # numbers of clusters written among points


def begin(ax: Any, figsize: tuple[float, float] | None = None) -> tuple[Any, Any]:
    """The figure and axes to draw in; new ones where ax is None."""
    pyplot = import_pyplot()
    if ax is None:
        _, ax = pyplot.subplots(figsize=figsize, layout="constrained")
    return ax.figure, ax


def foreground(ax: Any) -> str:
    """Black, or white where the background is dark."""
    from matplotlib.colors import to_rgba

    faces = (ax.get_facecolor(), ax.figure.get_facecolor(), "white")
    red, green, blue, _ = next(c for c in map(to_rgba, faces) if c[3] > 0.5)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def palette(k: int, ax: Any) -> np.ndarray:
    """Colours of k clusters, of shape (k, 3)."""
    lighter, darker = 0.45 + 0.55 * HUES, 0.6 * HUES
    is_light = foreground(ax) == "black"
    shades = np.concatenate([HUES, *((darker, lighter) if is_light else (lighter, darker))])
    return shades[np.arange(k) % len(shades)]


def colors_of(labels: np.ndarray, ax: Any) -> np.ndarray:
    """Colours of rows by label; noise, which is negative, is grey."""
    shades = palette(N_COLORS, ax)
    return np.where((labels < 0)[:, None], NOISE, shades[labels % N_COLORS])


def scatter(ax: Any, points: np.ndarray, **style: Any) -> Any:
    """Points in two dimensions, the smaller the more there are."""
    size = float(np.clip(6000 / max(len(points), 1), 2, 22))
    style = {"s": size, "linewidths": 0, "rasterized": len(points) > RASTERIZED} | style
    return ax.scatter(points[:, 0], points[:, 1], **style)


def mark_centers(ax: Any, points: np.ndarray) -> Any:
    """Crosses at centers, and their numbers where these are few."""
    if not len(points):
        return None
    color = foreground(ax)
    other = "white" if color == "black" else "black"
    size = 80 if len(points) <= MAX_LABELS else 25
    drawn = ax.scatter(
        *points.T, marker="X", s=size, c=color, edgecolors=other, linewidths=0.8, zorder=4
    )
    if len(points) <= MAX_LABELS:
        for number, point in enumerate(points):
            text = ax.annotate(
                str(number), point, (4, 4), textcoords="offset points", color=color, zorder=5
            )
            outline(text, other)
            text.set_clip_on(True)
    return drawn


def outline(text: Any, color: str) -> None:
    """Let a text be read on points."""
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=2, foreground=color)])


def name_axes(ax: Any, labels: list[str]) -> None:
    """Write what the axes are; one without a name, across a single feature, has no numbers."""
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    if not labels[1]:
        ax.set_yticks([])


def write_note(ax: Any, text: str) -> Any:
    """What is left out of a picture, in small print above it on the right."""
    if not text:
        return None
    return ax.annotate(
        text,
        (1, 1),
        (0, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize="small",
        alpha=0.8,
    )


def spread_labels(ax: Any, places: np.ndarray, texts: list[str], axis: str) -> None:
    """Ticks at places along an axis that ascend, without those that would overlap."""
    box = ax.get_window_extent()
    length = box.height if axis == "y" else box.width
    low, high = sorted(getattr(ax, f"get_{axis}lim")())
    size = _text_size(ax, axis) * ax.figure.dpi / 72
    needed = 1.25 * size if axis == "y" else 0.75 * size * max(map(len, texts), default=1)
    least = needed * (high - low) / max(length, 1)
    kept: list[int] = []
    for i, place in enumerate(places):
        if not kept or abs(place - places[kept[-1]]) >= least:
            kept.append(i)
    getattr(ax, f"set_{axis}ticks")(places[kept], [texts[i] for i in kept])


def _text_size(ax: Any, axis: str) -> float:
    labels = getattr(ax, f"get_{axis}ticklabels")()
    return labels[0].get_size() if labels else 10.0


class Drawn:
    """Rows that are drawn: all of them, or a sample.

    Parameters
    ----------
    X : {array-like, sparse matrix, path} of shape (n, d)
    most : int or None
        Rows that are drawn at most.
    random_state : int, RandomState instance or None
        Draws the sample.

    Attributes
    ----------
    n : int
        Number of rows.
    indices : ndarray or None
        Of the sample, ascending; None where it is all rows.
    rows : ndarray of shape (n_drawn, d)
        Dense, float32 or float64, finite.
    names : list of str or None
        Of the features.
    note : str
        What is left out, or nothing.
    """

    def __init__(self, X: Any, most: int | None, random_state: Any = 0) -> None:
        X = as_file(X)
        columns = getattr(X, "columns", None)
        self.names = None
        if columns is not None and all(isinstance(name, str) for name in columns):
            self.names = list(columns)
        if not is_stored(X):
            check_structure(X)
            X = check_array(X, accept_sparse="csr", dtype=FLOATS)
        self.n = X.shape[0]
        self.indices, self.note = None, ""
        if most is not None and most < self.n:
            drawn = check_random_state(random_state).permutation(self.n)[:most]
            self.indices = np.sort(drawn)
            self.note = f"{most:,} of {self.n:,} rows"
        rows = X[slice(None) if self.indices is None else self.indices]
        rows = rows.toarray() if sp.issparse(rows) else rows
        self.rows = check_array(rows, dtype=FLOATS, order="C")

    def take(self, values: Any) -> np.ndarray:
        """Of values of all rows, those of the rows that are drawn."""
        values = column_or_1d(values)
        if len(values) != self.n:
            check_consistent_length(np.empty(self.n, bool), values)
        return values if self.indices is None else values[self.indices]

    def labels(self, estimator: Any) -> np.ndarray:
        """Clusters that a fitted estimator has put the rows into, or puts them into now."""
        check_is_fitted(estimator)
        found = getattr(estimator, "labels_", None)
        if found is not None and len(found) == self.n:
            return self.take(found)
        if not hasattr(estimator, "predict"):
            raise ValueError(
                f"X has {self.n} rows, and {type(estimator).__name__} was fitted to "
                f"{'others' if found is None else len(found)}: it can't predict, so give the "
                "rows of the fit"
            )
        return np.asarray(estimator.predict(self.with_names(self.rows, estimator)))

    def with_names(self, rows: np.ndarray, estimator: Any) -> Any:
        """Rows as a data frame with the names of X, if the estimator was fitted to names."""
        if self.names is None or not hasattr(estimator, "feature_names_in_"):
            return rows
        return import_pandas().DataFrame(rows, columns=self.names)


def number_labels(labels: Any) -> np.ndarray:
    """Labels as whole numbers; others, such as words, by their order."""
    labels = column_or_1d(labels)
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="labels")
        if (labels == np.floor(labels)).all():
            return labels.astype(np.int64)
    return np.unique(labels, return_inverse=True)[1]


def check_clusters(labels: np.ndarray) -> None:
    """Raise ValueError where there is no cluster."""
    if labels.dtype.kind in "if" and (labels < 0).all():
        raise ValueError(
            "All rows are noise (negative labels): there is no cluster to draw. For DBSCAN, "
            "KDistanceDisplay suggests a larger eps"
        )


class Plane:
    """The plane that rows are drawn in: two features, or the first two principal axes.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    names : list of str or None
        Of the features.
    """

    def __init__(self, rows: np.ndarray, names: list[str] | None = None) -> None:
        d = rows.shape[1]
        self.mean, self.axes = np.zeros(d), np.eye(d)[:2]
        texts = names or [f"feature {i}" for i in range(d)]
        self.labels = [*texts, ""][:2]
        self.is_exact = d <= 2
        if d > 2:
            from sklearn.decomposition import PCA

            if len(rows) < 2:
                raise ValueError("Rows of more than 2 features are drawn along principal axes, "
                                 "which need 2 rows or more")  # fmt: skip
            with np.errstate(invalid="ignore"):  # the share of no variance at all
                pca = PCA(2, random_state=0).fit(rows.astype(np.float64))
            self.mean, self.axes = pca.mean_, pca.components_
            shares = np.nan_to_num(pca.explained_variance_ratio_)
            self.labels = [
                f"principal axis {i + 1} ({100 * share:.0f} %)"  # of the variance
                for i, share in enumerate(shares)
            ]

    def project(self, rows: np.ndarray) -> np.ndarray:
        """Rows in the plane, of shape (n, 2)."""
        points = (np.asarray(rows, np.float64) - self.mean) @ self.axes.T
        if points.shape[1] == 1:
            points = np.column_stack([points, np.zeros(len(points))])
        return points

    def lift(self, points: np.ndarray) -> np.ndarray:
        """Rows at points of the plane."""
        return points[:, : len(self.axes)] @ self.axes + self.mean

    def grid(self, points: np.ndarray, resolution: int) -> tuple[tuple, np.ndarray]:
        """(left, right, bottom, top) around points, and the middles of squares in it, by rows."""
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.06 * np.where(high > low, high - low, 1.0)
        low, high = low - margin, high + margin
        steps = (np.arange(resolution) + 0.5) / resolution
        x, y = np.meshgrid(*(a + (b - a) * steps for a, b in zip(low, high, strict=True)))
        return (low[0], high[0], low[1], high[1]), np.column_stack([x.ravel(), y.ravel()])

    def note(self, before: str) -> str:
        """What else is to be said of regions, after another note."""
        text = "" if self.is_exact else "regions: in the plane through the mean"
        return f"; {text}" if before and text else text
