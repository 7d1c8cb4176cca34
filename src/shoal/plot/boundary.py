"""DecisionBoundaryDisplay: which cluster each place belongs to."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from shoal.plot.base import (
    MAX_POINTS,
    Drawn,
    Plane,
    begin,
    check_clusters,
    colors_of,
    foreground,
    mark_centers,
    name_axes,
    number_labels,
    scatter,
    write_note,
)
from shoal.space.nearest import KNearest, has_finite_squares


class DecisionBoundaryDisplay:
    """The regions of a clustering: for k-means, the Voronoi cells of its centers.

    Rows of more than two features are drawn along their first two principal axes, and the
    regions are those in the plane of these axes through the mean; what the labels of the axes
    say. It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    regions : ndarray of shape (resolution, resolution)
        Cluster at each place, from the lower left; negative for noise.
    extent : tuple of four floats
        Left, right, bottom and top of the regions.
    points : ndarray of shape (n_drawn, 2)
        Rows.
    labels : ndarray of shape (n_drawn,)
        Their clusters.
    axis_labels : list of two str
        What the axes are.
    centers : ndarray of shape (n_clusters, 2), default=None
        Centers, if any.
    note : str, default=""
        What is left out of the picture.

    Attributes
    ----------
    regions, extent, points, labels, centers
        As above.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    surface_ : matplotlib Artist
        The regions.
    boundaries_ : list of matplotlib Artists
        Around the region of each cluster.
    scatter_ : matplotlib Artist
        The rows.
    centers_ : matplotlib Artist or None

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from shoal import KMeans
    >>> from shoal.plot import DecisionBoundaryDisplay
    >>> X, _ = make_blobs(300, random_state=0)
    >>> kmeans = KMeans(3, random_state=0).fit(X)
    >>> display = DecisionBoundaryDisplay.from_estimator(kmeans, X)
    >>> display.regions.shape
    (300, 300)
    """

    def __init__(
        self,
        regions: np.ndarray,
        extent: tuple,
        points: np.ndarray,
        labels: np.ndarray,
        *,
        axis_labels: list[str],
        centers: np.ndarray | None = None,
        note: str = "",
    ) -> None:
        self.regions, self.extent, self.points, self.labels = regions, extent, points, labels
        self.axis_labels, self.centers, self.note = axis_labels, centers, note

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        resolution: int = 300,
        max_points: int = MAX_POINTS,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the regions of a fitted clusterer.

        Parameters
        ----------
        estimator : clusterer or mixture
            Fitted. Of one that cannot predict, the regions are those nearest to a row of each
            cluster.
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows: those of the fit, or others that are predicted.
        resolution : int, default=300
            Places along either axis.
        max_points : int, default=20000
            Rows that are drawn at most, a random sample of all.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `scatter`.

        Returns
        -------
        display : DecisionBoundaryDisplay
        """
        drawn = Drawn(X, max_points)
        labels = drawn.labels(estimator)
        if not hasattr(estimator, "predict"):
            return cls._from_labels(drawn, labels, resolution, ax, kwargs)
        plane = Plane(drawn.rows, drawn.names)
        points = plane.project(drawn.rows)
        extent, grid = plane.grid(points, resolution)
        places = np.ascontiguousarray(plane.lift(grid), drawn.rows.dtype)
        regions = np.asarray(estimator.predict(drawn.with_names(places, estimator)))
        regions = regions.reshape(resolution, resolution)
        centers = getattr(estimator, "cluster_centers_", getattr(estimator, "means_", None))
        return cls(
            regions,
            extent,
            points,
            labels,
            axis_labels=plane.labels,
            centers=None if centers is None else plane.project(np.asarray(centers)),
            note=drawn.note + plane.note(drawn.note),
        ).plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        labels: ArrayLike,
        *,
        resolution: int = 300,
        max_points: int = MAX_POINTS,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the regions that are nearest to a row of each cluster.

        Parameters
        ----------
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows.
        labels : array-like of shape (n_samples,)
            Their clusters; negative numbers are noise.
        resolution, max_points, ax, **kwargs
            As for :meth:`from_estimator`.

        Returns
        -------
        display : DecisionBoundaryDisplay
        """
        drawn = Drawn(X, max_points)
        return cls._from_labels(drawn, drawn.take(number_labels(labels)), resolution, ax, kwargs)

    @classmethod
    def _from_labels(
        cls, drawn: Drawn, labels: np.ndarray, resolution: int, ax: Any, style: dict
    ) -> Self:
        check_clusters(labels)
        plane = Plane(drawn.rows, drawn.names)
        points = plane.project(drawn.rows)
        extent, grid = plane.grid(points, resolution)
        rows, places = drawn.rows, plane.lift(grid)
        if not has_finite_squares(rows):
            raise ValueError("Squared distances of rows overflow: scale X first")
        nearest = KNearest(rows)
        places = np.ascontiguousarray(places, nearest.dtype)
        found, _ = nearest.find(1, places)
        regions = labels[found[:, 0]].reshape(resolution, resolution)
        return cls(regions, extent, points, labels, axis_labels=plane.labels, note=drawn.note).plot(
            ax=ax, **style
        )

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
        self : DecisionBoundaryDisplay
        """
        self.figure_, self.ax_ = _, ax = begin(ax)
        regions = self.regions
        rgba = np.concatenate(
            [colors_of(regions.ravel(), ax), np.full((regions.size, 1), 0.35)], axis=1
        )
        self.surface_ = ax.imshow(
            rgba.reshape(*regions.shape, 4), extent=self.extent, origin="lower", aspect="auto",
            interpolation="nearest", zorder=0,
        )  # fmt: skip
        self.boundaries_ = draw_boundaries(ax, regions, self.extent)
        style = {"c": colors_of(self.labels, ax)} | kwargs
        self.scatter_ = scatter(ax, self.points, **style)
        self.centers_ = None
        if self.centers is not None:
            self.centers_ = mark_centers(ax, self.centers)
        ax.set_xlim(self.extent[:2])
        ax.set_ylim(self.extent[2:])
        name_axes(ax, self.axis_labels)
        write_note(ax, self.note)
        return self


def draw_boundaries(ax: Any, regions: np.ndarray, extent: tuple, **style: Any) -> list:
    """Lines around each region but the largest, whose boundary is that of the others."""
    n_rows, n_columns = regions.shape
    found, counts = np.unique(regions, return_counts=True)
    x = extent[0] + (np.arange(n_columns) + 0.5) / n_columns * (extent[1] - extent[0])
    y = extent[2] + (np.arange(n_rows) + 0.5) / n_rows * (extent[3] - extent[2])
    style = {"colors": foreground(ax), "linewidths": 0.8, "zorder": 1} | style
    drawn = []
    for label in found[np.argsort(counts)[:-1]]:
        inside = regions == label
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        r = slice(max(0, rows[0] - 1), rows[-1] + 2)
        c = slice(max(0, columns[0] - 1), columns[-1] + 2)
        part = inside[r, c]
        if min(part.shape) > 1 and not part.all():
            drawn.append(ax.contour(x[c], y[r], part.astype(float), levels=[0.5], **style))
    return drawn
