"""SilhouetteDisplay."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import column_or_1d

from shoal.plot.base import (
    MAX_LABELS,
    MAX_POINTS,
    Drawn,
    begin,
    check_clusters,
    foreground,
    palette,
    spread_labels,
    write_note,
)
from shoal.silhouette import silhouette_samples

MAX_STEPS = 200  # of the outline of a cluster
GAPS = 0.25  # of the height of all clusters, between them where these are few


class SilhouetteDisplay:
    """Silhouettes of all rows, sorted within each cluster: the wider the better [1]_.

    A cluster is as high as it has rows; where its outline ends before the dashed line of the
    mean, or reaches below 0, it is poorly separated. It is recommended to use
    :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    silhouettes : ndarray of shape (n_samples,)
        Silhouette of each row.
    labels : ndarray of shape (n_samples,)
        Cluster of each row.
    note : str, default=""
        What is left out of the picture.

    Attributes
    ----------
    silhouettes, labels : ndarray of shape (n_samples,)
        Those drawn.
    classes : ndarray of shape (n_clusters,)
        Clusters, from the top down.
    silhouette_score : float
        Mean silhouette.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    polygons_ : list of matplotlib collections
        One a cluster.
    line_ : matplotlib Artist
        At the mean.

    References
    ----------
    .. [1] Rousseeuw, P. J. (1987). "Silhouettes: a graphical aid to the interpretation
       and validation of cluster analysis". Journal of Computational and Applied
       Mathematics 20, 53-65.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from shoal import KMeans
    >>> from shoal.plot import SilhouetteDisplay
    >>> X, _ = make_blobs(300, random_state=0)
    >>> display = SilhouetteDisplay.from_estimator(KMeans(3, random_state=0).fit(X), X)
    >>> len(display.polygons_)
    3
    """

    def __init__(self, silhouettes: np.ndarray, labels: np.ndarray, *, note: str = "") -> None:
        self.silhouettes, self.labels, self.note = silhouettes, labels, note
        self.classes, encoded, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self.silhouette_score = float(np.mean(silhouettes))
        order = np.lexsort((silhouettes, encoded))
        parts = np.split(np.asarray(silhouettes)[order], np.cumsum(counts)[:-1])
        self._outlines = [_outline(part) for part in parts]
        self._counts = counts

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        metric: Any = "euclidean",
        sample_size: int | None = MAX_POINTS,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the silhouettes of a fitted clusterer.

        Parameters
        ----------
        estimator : clusterer or mixture
            Fitted.
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows: those of the fit, or others that are predicted. Of a .npy file only the sample
            is read.
        metric : str or callable, default='euclidean'
            As for :func:`shoal.silhouette_samples`.
        sample_size : int, default=20000
            Silhouettes are those of so many rows, drawn at random, among themselves; None: of
            all, by n²/2 distances.
        random_state : int, RandomState instance or None, default=0
            Draws the sample.
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `fill_betweenx`.

        Returns
        -------
        display : SilhouetteDisplay
        """
        drawn = Drawn(X, sample_size, random_state)
        return cls._from_drawn(drawn, drawn.labels(estimator), metric, ax, kwargs)

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        labels: ArrayLike,
        *,
        metric: Any = "euclidean",
        sample_size: int | None = MAX_POINTS,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the silhouettes of rows with given labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
            Rows.
        labels : array-like of shape (n_samples,)
            Cluster of each row. Rows with negative numbers, noise, are left out.
        metric, sample_size, random_state, ax, **kwargs
            As for :meth:`from_estimator`.

        Returns
        -------
        display : SilhouetteDisplay
        """
        drawn = Drawn(X, sample_size, random_state)
        labels = drawn.take(column_or_1d(labels))
        return cls._from_drawn(drawn, labels, metric, ax, kwargs)

    @classmethod
    def _from_drawn(
        cls, drawn: Drawn, labels: np.ndarray, metric: Any, ax: Any, style: dict
    ) -> Self:
        rows, note = drawn.rows, drawn.note
        if labels.dtype.kind in "if" and (labels < 0).any():
            check_clusters(labels)
            rows, kept = rows[labels >= 0], labels[labels >= 0]
            left_out = f"{len(labels) - len(kept):,} rows of noise left out"
            labels, note = kept, f"{note}, {left_out}" if note else left_out
        silhouettes = silhouette_samples(rows, labels, metric=metric)
        return cls(silhouettes, labels, note=note).plot(ax=ax, **style)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None: in a new figure.
        **kwargs : dict
            Passed to `fill_betweenx`.

        Returns
        -------
        self : SilhouetteDisplay
        """
        self.figure_, self.ax_ = _, ax = begin(ax)
        k, total = len(self.classes), int(self._counts.sum())
        gap = GAPS * total / (k + 1) if k <= MAX_LABELS else 0.0
        shades = palette(k, ax)
        bottoms = gap + np.concatenate([[0], np.cumsum(self._counts + gap)[:-1]])
        self.polygons_ = []
        for outline, bottom, count, color in zip(
            self._outlines, bottoms, self._counts, shades, strict=True
        ):
            y = bottom + count * (1 - np.linspace(0, 1, len(outline)))
            style = {"color": color, "linewidth": 0} | kwargs
            self.polygons_.append(ax.fill_betweenx(y, 0, outline, **style))
        color = foreground(ax)
        ax.axvline(0, color=color, linewidth=0.8)
        self.line_ = ax.axvline(self.silhouette_score, color=color, linestyle="--", linewidth=1.5)
        lowest = min(outline[0] for outline in self._outlines)
        ax.set_xlim(min(-0.05, 1.05 * lowest), 1)
        ax.set_ylim(total + (k + 1) * gap, 0)  # the first cluster at the top
        ax.set_xlabel(f"silhouette; mean {self.silhouette_score:.3f} (dashed)")
        ax.set_ylabel("cluster")
        spread_labels(ax, bottoms + self._counts / 2, [str(c) for c in self.classes], "y")
        write_note(ax, self.note)
        return self


def _outline(ascending: np.ndarray) -> np.ndarray:
    """Values at equal distances along a cluster's sorted silhouettes, least and greatest kept."""
    places = np.linspace(0, len(ascending) - 1, min(max(2, len(ascending)), MAX_STEPS))
    return ascending[np.rint(places).astype(int)]
