"""MixtureDisplay: the density of a mixture of normals."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from shoal.mixture import GaussianMixture
from shoal.plot.base import (
    MAX_POINTS,
    Drawn,
    Plane,
    begin,
    colors_of,
    foreground,
    mark_centers,
    name_axes,
    palette,
    scatter,
    write_note,
)
from shoal.plot.boundary import draw_boundaries

RADII = (1.0, 2.0)  # of ellipses, in standard deviations
MIN_WEIGHT = 1e-3  # of components whose ellipses are drawn
LEVELS = np.array([0.02, 0.1, 0.25, 0.5, 0.75, 0.95])  # shares of the rows below a contour


class MixtureDisplay:
    """Density contours, ellipses and boundaries of a mixture, and rows where it is thin.

    Ellipses are one and two standard deviations of each component; dashed lines are where the
    likeliest component changes; a share `quantile` of the rows, those of the least density, are
    marked as anomalies. Of more than two features, the first two principal axes are drawn,
    with the marginal density along them, while anomalies are those of the whole density. It is
    recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    points : ndarray of shape (n_drawn, 2)
        Rows.
    log_density : ndarray of shape (n_drawn,)
        Log-density at each.
    marginal : GaussianMixture
        The mixture in the plane.
    extent : tuple of four floats
        Left, right, bottom and top of the density.
    grid : ndarray of shape (resolution ** 2, 2)
        Places where it is computed, by rows from the lower left.
    threshold : float or None
        Log-density below which rows are anomalies.
    labels : ndarray of shape (n_drawn,)
        Component of each row.
    axis_labels : list of two str
        What the axes are.
    note : str, default=""
        What is left out of the picture.

    Attributes
    ----------
    points, log_density, threshold, labels
        As above.
    anomalies : ndarray of shape (n_drawn,), bool
        Rows below the threshold.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    contours_ : matplotlib Artist
        Lines of equal density, which leave 2, 10, 25, 50, 75 and 95 % of the rows outside.
    ellipses_ : list of matplotlib Artists
    boundaries_ : list of matplotlib Artists
    scatter_ : matplotlib Artist
    anomalies_ : matplotlib Artist or None

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from shoal import GaussianMixture
    >>> from shoal.plot import MixtureDisplay
    >>> X, _ = make_blobs(300, random_state=0)
    >>> mixture = GaussianMixture(3, random_state=0).fit(X)
    >>> display = MixtureDisplay.from_estimator(mixture, X, quantile=0.02)
    >>> int(display.anomalies.sum())
    6
    """

    def __init__(
        self,
        points: np.ndarray,
        log_density: np.ndarray,
        *,
        marginal: GaussianMixture,
        extent: tuple,
        grid: np.ndarray,
        threshold: float | None,
        labels: np.ndarray,
        axis_labels: list[str],
        note: str = "",
    ) -> None:
        self.points, self.log_density, self.labels = points, log_density, labels
        self.marginal, self.extent, self.grid = marginal, extent, grid
        self.threshold, self.axis_labels, self.note = threshold, axis_labels, note
        self.anomalies = np.zeros(len(points), bool)
        if threshold is not None:
            self.anomalies = log_density < threshold

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        quantile: float | None = None,
        resolution: int = 200,
        max_points: int = MAX_POINTS,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw a fitted mixture.

        Parameters
        ----------
        estimator : GaussianMixture or BayesianGaussianMixture
            Fitted.
        X : {array-like, path} of shape (n_samples, n_features)
            Rows.
        quantile : float, default=None
            Share of the rows, those of the least density, that are marked as anomalies.
        resolution : int, default=200
            Places along either axis where the density is computed.
        max_points : int, default=20000
            Rows that are drawn at most, a random sample of all.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `scatter`.

        Returns
        -------
        display : MixtureDisplay
        """
        check_is_fitted(estimator)
        if quantile is not None and not 0 <= quantile <= 1:
            raise ValueError(f"quantile must be from 0 to 1, got {quantile!r}")
        drawn = Drawn(X, max_points)
        rows = drawn.with_names(drawn.rows, estimator)
        labels, density = estimator.predict(rows), estimator.score_samples(rows)
        plane = Plane(drawn.rows, drawn.names)
        points = plane.project(drawn.rows)
        extent, grid = plane.grid(points, resolution)
        return cls(
            points,
            density,
            marginal=_marginal(estimator, plane),
            extent=extent,
            grid=grid,
            threshold=None if quantile is None else float(np.quantile(density, quantile)),
            labels=labels,
            axis_labels=plane.labels,
            note=drawn.note,
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
        self : MixtureDisplay
        """
        self.figure_, self.ax_ = _, ax = begin(ax)
        if self.marginal.means_.shape[1] == 1:
            self._draw_curve(ax, kwargs)
            return self
        side = int(len(self.grid) ** 0.5)
        density = self.marginal.score_samples(self.grid)
        regions = self.marginal.predict(self.grid).reshape(side, side)
        x, y = self.grid[:side, 0], self.grid[::side, 1]
        levels = np.quantile(self.marginal.score_samples(self.points), LEVELS)  # of these rows
        levels = np.unique(levels[np.diff(levels, prepend=-np.inf) > 0])
        color = foreground(ax)
        fills = np.linspace(0.04, 0.22, len(levels))
        limits = [*levels, max(density.max(), levels[-1]) + 1]
        surface = density.reshape(side, side)
        for low, alpha in zip(limits, fills, strict=False):
            ax.contourf(x, y, surface, levels=[low, limits[-1]], colors=color, alpha=alpha / 3)
        self.contours_ = ax.contour(
            x,
            y,
            surface,
            levels=levels,
            colors=color,
            linewidths=0.6,
            alpha=0.6,
            linestyles="solid",
        )
        self.boundaries_ = draw_boundaries(
            ax, regions, self.extent, linestyles="dashed", linewidths=1.2
        )
        self._draw_points(ax, kwargs)
        self.ellipses_ = self._draw_ellipses(ax)
        ax.set_xlim(self.extent[:2])
        ax.set_ylim(self.extent[2:])
        name_axes(ax, self.axis_labels)
        write_note(ax, self.note)
        return self

    def _draw_curve(self, ax: Any, style: dict) -> None:
        """The density over one feature, that of each component, and rows below."""
        x = np.unique(self.grid[:, 0])
        color, shades = foreground(ax), palette(len(self.marginal.weights_), ax)
        density = np.exp(self.marginal.score_samples(x[:, None]))
        shares = self.marginal.predict_proba(x[:, None]) * density[:, None]
        self.contours_ = ax.plot(x, density, color=color, linewidth=2)[0]
        self.ellipses_ = [ax.plot(x, y, color=c)[0] for y, c in zip(shares.T, shades, strict=True)]
        changes = np.flatnonzero(np.diff(self.marginal.predict(x[:, None])))
        self.boundaries_ = [ax.axvline(x[i : i + 2].mean(), color=color, ls="--") for i in changes]
        self.points = np.column_stack([self.points[:, 0], np.full(len(self.points), 0.0)])
        self._draw_points(ax, {"marker": "|", "linewidths": 0.8, "s": 60} | style)
        ax.set_xlim(self.extent[:2])
        ax.set_xlabel(self.axis_labels[0])
        ax.set_ylabel("density")
        write_note(ax, self.note)

    def _draw_points(self, ax: Any, style: dict) -> None:
        usual, odd = self.points[~self.anomalies], self.points[self.anomalies]
        shades = colors_of(self.labels, ax)
        self.scatter_ = scatter(ax, usual, **({"c": shades[~self.anomalies], "alpha": 0.7} | style))
        self.anomalies_ = None
        if len(odd):
            color = foreground(ax)
            self.anomalies_ = ax.scatter(
                *odd.T, marker="*", s=70, c="#D55E00", edgecolors=color, linewidths=0.6, zorder=5,
                label=f"{len(odd):,} anomalies",
            )  # fmt: skip
            ax.legend(handles=[self.anomalies_], fontsize="small", framealpha=0.6)

    def _draw_ellipses(self, ax: Any) -> list:
        from matplotlib.patches import Ellipse

        mixture = self.marginal
        shown = np.flatnonzero(mixture.weights_ >= MIN_WEIGHT)
        shades, drawn = palette(len(mixture.weights_), ax), []
        for j in shown:
            variances, axes = np.linalg.eigh(mixture.covariances_[j])
            angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
            minor, major = np.sqrt(np.maximum(variances, 0))
            for radius in RADII:
                drawn.append(
                    ax.add_patch(
                        Ellipse(
                            mixture.means_[j], 2 * radius * major, 2 * radius * minor, angle=angle,
                            fill=False, edgecolor=shades[j], linewidth=2.2 - 0.6 * radius, zorder=3,
                        )
                    )
                )  # fmt: skip
        mark_centers(ax, mixture.means_[shown])
        return drawn


def _marginal(estimator: Any, plane: Plane) -> GaussianMixture:
    """The mixture of a mixture's components, along the axes of a plane."""
    axes, means = plane.axes, np.asarray(estimator.means_, np.float64)
    k, d = means.shape
    covariances = np.asarray(estimator.covariances_, np.float64)
    full = {
        "full": lambda: covariances,
        "tied": lambda: np.broadcast_to(covariances, (k, d, d)),
        "diag": lambda: covariances[:, :, None] * np.eye(d),
        "spherical": lambda: covariances[:, None, None] * np.eye(d),
    }[estimator.covariance_type]()
    flat = axes @ full @ axes.T
    model = GaussianMixture(k)
    model.weights_ = np.asarray(estimator.weights_, np.float64)
    model.means_ = np.ascontiguousarray(plane.project(means)[:, : len(axes)])
    model.covariances_, model.n_features_in_ = flat, len(axes)
    model.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(flat)).transpose(0, 2, 1).copy()
    model.precisions_ = np.linalg.inv(flat)
    return model
