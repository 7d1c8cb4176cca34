"""ElbowDisplay and SelectionDisplay: scores over the number of clusters."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from shoal.core.extras import import_pyplot
from shoal.plot.base import MARKERS, begin, foreground, outline, palette
from shoal.selection import ClusterSelection, find_knee, select_n_clusters

TITLES = {
    "inertia": "inertia",
    "silhouette": "silhouette (high)",
    "davies_bouldin": "Davies-Bouldin (low)",
    "calinski_harabasz": "Calinski-Harabasz (high)",
    "bic": "BIC (low)",
    "aic": "AIC (low)",
}
SHORT = {
    "inertia": "inertia",
    "silhouette": "silh. (high)",
    "davies_bouldin": "DB (low)",
    "calinski_harabasz": "CH (high)",
}
MIN_WIDTH = 5.5  # inches, from which on there are two panels side by side
MIN_TITLE = 3.0  # inches, from which on a panel has a long title


class ElbowDisplay:
    """Inertia over the number of clusters, with its knee marked.

    The knee is the point farthest below the line between the curve's ends, each axis scaled to
    [0, 1]: ``shoal.selection.find_knee``. It is a hint, which depends on the range of numbers;
    silhouettes choose better (:func:`shoal.select_n_clusters`). It is recommended to use
    :meth:`from_estimator` or :meth:`from_selection`.

    Parameters
    ----------
    n_clusters : ndarray of shape (n_fits,)
        Numbers of clusters, ascending.
    inertia : ndarray of shape (n_fits,)
        Inertia of each fit.

    Attributes
    ----------
    n_clusters, inertia : ndarray of shape (n_fits,)
        Those drawn.
    knee : int or None
        Number of clusters at the knee; None where the curve has none.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Artist
    knee_ : matplotlib Artist or None

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from shoal import KMeans
    >>> from shoal.plot import ElbowDisplay
    >>> X, _ = make_blobs(300, centers=[(0, 0), (0, 9), (9, 0), (9, 9)], random_state=0)
    >>> ElbowDisplay.from_estimator(KMeans(random_state=0), X, range(1, 9)).knee
    4
    """

    def __init__(self, n_clusters: np.ndarray, inertia: np.ndarray) -> None:
        self.n_clusters, self.inertia = np.asarray(n_clusters), np.asarray(inertia)
        index = find_knee(self.n_clusters, self.inertia)
        self.knee = None if index is None else int(self.n_clusters[index])

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        n_clusters: Iterable[int] = range(1, 11),
        *,
        sample_weight: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Fit several numbers of clusters and draw their inertia.

        Parameters
        ----------
        estimator : KMeans or MiniBatchKMeans
            With the parameters of all fits; it is not changed.
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows.
        n_clusters : iterable of int, default=range(1, 11)
            Numbers of clusters.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : ElbowDisplay
        """
        selection = select_n_clusters(
            X,
            n_clusters,
            estimator=estimator,
            scores=["inertia"],
            criterion="inertia",
            sample_weight=sample_weight,
        )
        return cls.from_selection(selection, ax=ax, **kwargs)

    @classmethod
    def from_selection(cls, selection: ClusterSelection, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the inertia of what :func:`shoal.select_n_clusters` returned.

        Parameters
        ----------
        selection : ClusterSelection
            With scores of inertia.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : ElbowDisplay
        """
        if "inertia" not in selection.scores:
            raise ValueError("the selection has no inertia: add it to `scores`")
        return cls(selection.n_clusters, selection.scores["inertia"]).plot(ax=ax, **kwargs)

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
        self : ElbowDisplay
        """
        self.figure_, self.ax_ = _, ax = begin(ax)
        colors = palette(2, ax)
        style = {"color": colors[0], "marker": "o", "markersize": _marker_size(len(self.inertia))}
        (self.line_,) = ax.plot(self.n_clusters, self.inertia, **(style | kwargs))
        self.knee_ = None
        if self.knee is not None:
            value = self.inertia[self.n_clusters == self.knee][0]
            (self.knee_,) = ax.plot(
                self.knee, value, "o", markersize=13, fillstyle="none", color=colors[1],
                markeredgewidth=2.5,
            )  # fmt: skip
            text = ax.annotate(
                f"knee: k = {self.knee}", (self.knee, value), (10, 12),
                textcoords="offset points", color=foreground(ax),
            )  # fmt: skip
            outline(text, "white" if foreground(ax) == "black" else "black")
        _number_clusters(ax)
        ax.set_ylabel("inertia")
        return self


def _number_clusters(ax: Any) -> None:
    """Whole numbers below the axis."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("number of clusters k")


def _marker_size(n: int) -> float:
    return 6.0 if n <= 25 else 3.0


class SelectionDisplay:
    """All scores of a selection over the number of clusters, a panel each.

    A ring marks the best fit by each score, and the dashed line the one that is chosen. It is
    recommended to use :meth:`from_estimator` or :meth:`from_selection`.

    Parameters
    ----------
    selection : ClusterSelection
        What :func:`shoal.select_n_clusters` returned.

    Attributes
    ----------
    selection : ClusterSelection
        What is drawn.
    axes_ : ndarray of matplotlib Axes
        One for each score.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure
    lines_ : list of list of matplotlib Artists
        For each score, one a covariance type, or one.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from shoal import GaussianMixture
    >>> from shoal.plot import SelectionDisplay
    >>> X, _ = make_blobs(300, random_state=0)
    >>> display = SelectionDisplay.from_estimator(
    ...     GaussianMixture(random_state=0), X, range(1, 6), covariance_types=["full", "tied"]
    ... )
    >>> [ax.get_title() for ax in display.axes_]
    ['BIC (low)', 'AIC (low)']
    """

    def __init__(self, selection: ClusterSelection) -> None:
        self.selection = selection

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        n_clusters: Iterable[int] = range(2, 11),
        *,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Fit several numbers of clusters and draw their scores.

        Parameters
        ----------
        estimator : estimator
            With the parameters of all fits; it is not changed.
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows.
        n_clusters : iterable of int, default=range(2, 11)
            Numbers of clusters.
        ax : matplotlib Axes, default=None
            Whose place the panels take; None: a new figure.
        **kwargs : dict
            Passed to :func:`shoal.select_n_clusters`.

        Returns
        -------
        display : SelectionDisplay
        """
        selection = select_n_clusters(X, n_clusters, estimator=estimator, **kwargs)
        return cls.from_selection(selection, ax=ax)

    @classmethod
    def from_selection(cls, selection: ClusterSelection, *, ax: Any = None) -> Self:
        """Draw the scores of what :func:`shoal.select_n_clusters` returned.

        Parameters
        ----------
        selection : ClusterSelection
            What is drawn.
        ax : matplotlib Axes, default=None
            Whose place the panels take; None: a new figure.

        Returns
        -------
        display : SelectionDisplay
        """
        return cls(selection).plot(ax=ax)

    def plot(self, ax: Any = None, *, scores: Sequence[str] | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Whose place the panels take; None: a new figure.
        scores : list of str, default=None
            Which are drawn; all by default.

        Returns
        -------
        self : SelectionDisplay
        """
        names = list(self.selection.scores if scores is None else scores)
        self.figure_, self.axes_, self._is_narrow = _divide(ax, len(names))
        self.ax_ = self.axes_[0]
        self.lines_ = [
            self._plot_score(panel, name) for panel, name in zip(self.axes_, names, strict=True)
        ]
        for panel in self.axes_:
            if not panel.get_subplotspec().is_last_row() and len(names) > 1:
                panel.set_xlabel("")  # k below the lowest panels alone
        if self.selection.covariance_types is not None:
            self.ax_.legend(
                fontsize="x-small" if self._is_narrow else "small",
                framealpha=0.6,
                ncols=2 if self._is_narrow else 1,
            )
        return self

    def _plot_score(self, ax: Any, name: str) -> list:
        selection = self.selection
        values, numbers = selection.scores[name], selection.n_clusters
        kinds = selection.covariance_types or [""] * len(numbers)
        colors = palette(len(set(kinds)), ax)
        lines = []
        for i, kind in enumerate(dict.fromkeys(kinds)):
            mine = np.array([other == kind for other in kinds])
            lines += ax.plot(
                numbers[mine], values[mine], color=colors[i], marker=MARKERS[i % len(MARKERS)],
                label=kind, markersize=_marker_size(mine.sum()),
            )  # fmt: skip
        best = selection.find_best(name)
        if best is not None:
            ax.plot(
                numbers[best], values[best], "o", markersize=12, fillstyle="none",
                markeredgewidth=2, color=foreground(ax),
            )  # fmt: skip
        ax.axvline(
            selection.best_n_clusters, color=foreground(ax), linestyle="--", linewidth=1, zorder=0
        )
        title = SHORT.get(name, TITLES[name]) if self._is_narrow else TITLES[name]
        ax.set_title(title, fontsize="medium")
        _number_clusters(ax)
        if self._is_narrow:
            ax.set_xlabel("k")
        return lines


def _divide(ax: Any, count: int) -> tuple[Any, np.ndarray, bool]:
    """A figure, panels in it or in the place of an axes, and whether these are narrow."""
    pyplot = import_pyplot()
    if ax is not None and count == 1:
        return ax.figure, np.array([ax]), False
    if ax is None:
        figure = pyplot.figure(layout="constrained")
        box, width = figure.add_gridspec(), figure.get_figwidth()
    else:
        figure = ax.figure
        width = ax.get_position().width * figure.get_figwidth()
        box = ax.get_subplotspec()
        ax.set_axis_off()
    n_columns = 2 if count > 1 and (width >= MIN_WIDTH or (count > 2 and ax is not None)) else 1
    n_rows = -(-count // n_columns)
    if ax is None:
        if n_rows > 2:
            figure.set_figheight(max(figure.get_figheight(), 1.6 * n_rows))
        places = figure.add_gridspec(n_rows, n_columns)
    elif box is None:
        raise ValueError("ax must be one of a grid of subplots, in whose place panels can be drawn")
    else:
        places = box.subgridspec(n_rows, n_columns)
    panels = [figure.add_subplot(places[i // n_columns, i % n_columns]) for i in range(count)]
    return figure, np.array(panels), width / n_columns < MIN_TITLE
