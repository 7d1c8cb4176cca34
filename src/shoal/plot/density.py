"""DBSCANDisplay and KDistanceDisplay: clusters of density, and the radius that finds them."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from shoal.core.checks import check_function_rows
from shoal.core.sources import as_file, is_stored
from shoal.plot.base import (
    MAX_LABELS,
    MAX_POINTS,
    NOISE,
    Drawn,
    Plane,
    begin,
    colors_of,
    foreground,
    name_axes,
    number_labels,
    outline,
    palette,
    scatter,
    write_note,
)
from shoal.selection import find_knee
from shoal.space.nearest import KNearest, has_finite_squares

EUCLIDEAN = ("euclidean", "l2")
MAX_STEPS = 2000  # points of the curve


class DBSCANDisplay:
    """Core samples, border samples and noise.

    Core samples are filled, border samples hollow, noise is grey crosses. Of more than two
    features, the first two principal axes are drawn. It is recommended to use
    :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    points : ndarray of shape (n_drawn, 2)
        Rows.
    labels : ndarray of shape (n_drawn,)
        Their clusters; negative for noise.
    is_core : ndarray of shape (n_drawn,), bool
        Which are core samples.
    axis_labels : list of two str
        What the axes are.
    note : str, default=""
        What is left out of the picture.

    Attributes
    ----------
    points, labels, is_core
        As above.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    cores_, borders_, noise_ : matplotlib Artist or None
        Rows of each kind; None where there are none.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from shoal import DBSCAN
    >>> from shoal.plot import DBSCANDisplay
    >>> X, _ = make_moons(300, noise=0.05, random_state=0)
    >>> display = DBSCANDisplay.from_estimator(DBSCAN(eps=0.2).fit(X), X)
    >>> int(display.labels.max()) + 1
    2
    """

    def __init__(
        self,
        points: np.ndarray,
        labels: np.ndarray,
        is_core: np.ndarray,
        *,
        axis_labels: list[str],
        note: str = "",
    ) -> None:
        self.points, self.labels, self.is_core = points, labels, is_core
        self.axis_labels, self.note = axis_labels, note

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        max_points: int = MAX_POINTS,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw a fitted DBSCAN or HDBSCAN.

        Parameters
        ----------
        estimator : DBSCAN or HDBSCAN
            Fitted. HDBSCAN has no core samples: all rows in clusters are filled.
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            The rows of the fit.
        max_points : int, default=20000
            Rows that are drawn at most, a random sample of all.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `scatter`.

        Returns
        -------
        display : DBSCANDisplay
        """
        check_is_fitted(estimator)
        cores = getattr(estimator, "core_sample_indices_", None)
        return cls.from_predictions(
            X, estimator.labels_, cores, max_points=max_points, ax=ax, **kwargs
        )

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        labels: ArrayLike,
        core_sample_indices: ArrayLike | None = None,
        *,
        max_points: int = MAX_POINTS,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw rows with given labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows.
        labels : array-like of shape (n_samples,)
            Their clusters; negative numbers are noise.
        core_sample_indices : array-like of int, default=None
            Rows that are core samples; None: all that are in clusters.
        max_points, ax, **kwargs
            As for :meth:`from_estimator`.

        Returns
        -------
        display : DBSCANDisplay
        """
        drawn = Drawn(X, max_points)
        labels = number_labels(labels)
        is_core = labels >= 0
        if core_sample_indices is not None:
            is_core = np.zeros(len(labels), bool)
            cores = np.asarray(core_sample_indices)
            if len(cores) and not (cores.min() >= 0 and cores.max() < len(labels)):
                raise ValueError(f"core_sample_indices must be from 0 to {len(labels) - 1}")
            is_core[cores.astype(np.intp)] = True
        labels, is_core = drawn.take(labels), drawn.take(is_core)
        plane = Plane(drawn.rows, drawn.names)
        return cls(
            plane.project(drawn.rows), labels, is_core, axis_labels=plane.labels, note=drawn.note
        ).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `scatter`.

        Returns
        -------
        self : DBSCANDisplay
        """
        self.figure_, self.ax_ = _, ax = begin(ax)
        shades = colors_of(self.labels, ax)
        is_noise = self.labels < 0
        size = float(np.clip(6000 / max(len(self.points), 1), 3, 22))

        def draw(chosen: np.ndarray, name: str, **style: Any) -> Any:
            if not chosen.any():
                return None
            label = f"{chosen.sum():,} {name}"
            return scatter(ax, self.points[chosen], **({"label": label} | style | kwargs))

        self.noise_ = draw(
            is_noise, "noise", marker="x", c=[NOISE], s=size * 1.2, linewidths=0.9, zorder=1
        )
        border = ~is_noise & ~self.is_core
        self.borders_ = draw(
            border, "border", facecolors="none", edgecolors=shades[border], s=size, linewidths=0.9
        )
        inside = ~is_noise & self.is_core
        name = "core" if self.borders_ is not None else "in clusters"
        self.cores_ = draw(inside, name, c=shades[inside], s=size)
        self._number_clusters(ax)
        name_axes(ax, self.axis_labels)
        n_clusters = len(np.unique(self.labels[~is_noise]))
        title = f"{n_clusters:,} cluster{'' if n_clusters == 1 else 's'}"
        handles = [h for h in (self.cores_, self.borders_, self.noise_) if h is not None]
        ax.legend(
            handles=handles, title=title, fontsize="small", title_fontsize="small", framealpha=0.7,
            markerscale=1.5 if size > 10 else 3,
        )  # fmt: skip
        write_note(ax, self.note)
        return self

    def _number_clusters(self, ax: Any) -> None:
        """The number of each cluster at its row nearest to its middle, where these are few."""
        found = np.unique(self.labels[self.labels >= 0])
        color = foreground(ax)
        for label in found if len(found) <= MAX_LABELS else ():
            points = self.points[self.labels == label]
            middle = np.square(points - np.median(points, axis=0)).sum(axis=1).argmin()
            text = ax.annotate(
                str(label), points[middle], color=color, ha="center", va="center", zorder=5
            )
            outline(text, "white" if color == "black" else "black")


class KDistanceDisplay:
    """Distances of rows to their k-th nearest, ascending: where the curve bends, eps may lie.

    A radius eps makes those rows core samples of ``DBSCAN(eps=eps, min_samples=k)`` whose
    distance is not above it [1]_. The suggestion is the knee: the point farthest below the line
    between the curve's ends, each axis scaled to [0, 1]. It is recommended to use
    :meth:`from_estimator` or :meth:`from_data`.

    Parameters
    ----------
    distances : ndarray of shape (n_samples,)
        Distances, ascending.
    k : int
        Which neighbour; the row itself is the first.
    eps : float, default=None
        Radius of an estimator, to be marked.

    Attributes
    ----------
    distances, k, eps
        As above.
    suggested_eps : float or None
        Distance at the knee; None where there is none.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Artist
    suggestion_, eps_ : matplotlib Artist or None
        Lines at the knee and at `eps`.

    References
    ----------
    .. [1] Ester, M., Kriegel, H.-P., Sander, J. and Xu, X. (1996). "A density-based algorithm
       for discovering clusters in large spatial databases with noise". KDD, 226-231.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from shoal.plot import KDistanceDisplay
    >>> X, _ = make_moons(300, noise=0.05, random_state=0)
    >>> display = KDistanceDisplay.from_data(X, k=5)
    >>> 0.05 < display.suggested_eps < 0.2
    True
    """

    def __init__(self, distances: np.ndarray, k: int, *, eps: float | None = None) -> None:
        self.distances, self.k, self.eps = distances, k, eps
        ranks = _ranks(len(distances))
        knee = find_knee(ranks, distances[ranks])
        self.suggested_eps = None if knee is None else float(distances[ranks[knee]])

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the curve for a DBSCAN's metric and min_samples, with its eps marked.

        Parameters
        ----------
        estimator : DBSCAN
            Fitted or not.
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `plot` of the axes.

        Returns
        -------
        display : KDistanceDisplay
        """
        params = estimator.get_params(deep=False)
        if not {"min_samples", "metric"} <= set(params):
            raise ValueError(
                f"{type(estimator).__name__} has no min_samples and metric, from which the curve "
                "follows: use KDistanceDisplay.from_data(X, k)"
            )
        metric, metric_params = params["metric"], dict(params.get("metric_params") or {})
        if metric == "minkowski":
            metric_params.setdefault("p", params.get("p") or 2)
        distances = _find_distances(X, params["min_samples"] or 5, metric, metric_params)
        return cls(distances, params["min_samples"] or 5, eps=params.get("eps")).plot(
            ax=ax, **kwargs
        )

    @classmethod
    def from_data(
        cls, X: Any, k: int = 5, *, metric: Any = "euclidean", ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw the curve of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows, or their distances where ``metric="precomputed"``.
        k : int, default=5
            Which neighbour, as `min_samples` of DBSCAN: the row itself is the first.
        metric : str or callable, default='euclidean'
            Euclidean distances of dense rows are searched by the tree of this package, all
            others by :class:`sklearn.neighbors.NearestNeighbors`.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `plot` of the axes.

        Returns
        -------
        display : KDistanceDisplay
        """
        return cls(_find_distances(X, k, metric, {}), k).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `plot` of the axes.

        Returns
        -------
        self : KDistanceDisplay
        """
        self.figure_, self.ax_ = _, ax = begin(ax)
        colors, n = palette(6, ax), len(self.distances)
        ranks = _ranks(n)
        style = {"color": colors[0], "linewidth": 2} | kwargs
        (self.line_,) = ax.plot(ranks + 1, self.distances[ranks], **style)
        self.suggestion_ = self.eps_ = None
        if self.suggested_eps is not None:
            share = np.searchsorted(self.distances, self.suggested_eps, side="right") / n
            self.suggestion_ = ax.axhline(
                self.suggested_eps, color=colors[5], linestyle="--",
                label=f"knee: eps = {self.suggested_eps:.3g}, {100 * share:.0f} % core",
            )  # fmt: skip
        if self.eps is not None:
            share = np.searchsorted(self.distances, self.eps, side="right") / n
            self.eps_ = ax.axhline(
                self.eps, color=colors[2], linestyle=":", linewidth=2,
                label=f"eps = {self.eps:.3g}, {100 * share:.0f} % core",
            )  # fmt: skip
        if self.suggestion_ or self.eps_:
            ax.legend(fontsize="small", loc="upper left", framealpha=0.7)
        ax.set_ylim(bottom=0)
        ax.margins(x=0.01)
        ax.set_xlabel("rows, by distance")
        ax.set_ylabel(f"k-distance, k = {self.k}")
        return self


def _ranks(n: int) -> np.ndarray:
    """Ranks of rows that are drawn: evenly, and the farthest hundredth more closely."""
    if n <= MAX_STEPS:
        return np.arange(n)
    half = MAX_STEPS // 2
    tail = n - 1 - np.geomspace(1, n, half).astype(int) + 1
    even = np.linspace(0, n - 1, half).astype(int)
    return np.unique(np.concatenate([even, np.maximum(tail, 0), [n - 1]]))


def _find_distances(X: Any, k: int, metric: Any, params: dict) -> np.ndarray:
    """Distances to the k-th nearest, ascending."""
    X = as_file(X)
    rows = check_function_rows(X[:] if is_stored(X) else X)
    if not (isinstance(k, Integral) and 1 <= k <= rows.shape[0]):
        raise ValueError(
            f"k must be an integer from 1 to the number of rows, {rows.shape[0]}, got {k!r}"
        )
    is_euclidean = metric in EUCLIDEAN or (metric == "minkowski" and params == {"p": 2})
    if is_euclidean and isinstance(rows, np.ndarray) and has_finite_squares(rows):
        found = np.sqrt(KNearest(rows).find(k)[1][:, -1])
    else:
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=k, metric=metric, metric_params=params or None)
        found = search.fit(rows).kneighbors(rows)[0][:, -1]
    found.sort()
    return found
