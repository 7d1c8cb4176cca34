"""CentersDisplay: centers as images or parallel coordinates."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from shoal.core.extras import import_pyplot
from shoal.plot.base import begin, palette, spread_labels

MAX_TITLES = 60  # images with a title
MAX_LEGEND = 12  # lines with an entry in the legend


class CentersDisplay:
    """Centers of clusters: an image each, or lines over the features.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        Centers, or means of a mixture.
    image_shape : tuple of int, default=None
        Height and width, or also 3 or 4 channels, of the image that a center is; None: lines.
    counts : ndarray of shape (n_clusters,), default=None
        Rows of each.
    feature_names : list of str, default=None
        Names of the features.

    Attributes
    ----------
    centers, image_shape, counts, feature_names
        As above.
    ax_ : matplotlib Axes
        The first, where there are several.
    axes_ : list of matplotlib Axes
    figure_ : matplotlib Figure
    images_, lines_ : list of matplotlib Artists
        One a center, in one of the lists.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from shoal import KMeans
    >>> from shoal.plot import CentersDisplay
    >>> kmeans = KMeans(10, random_state=0).fit(load_digits().data)
    >>> display = CentersDisplay.from_estimator(kmeans, image_shape=(8, 8))
    >>> len(display.images_)
    10
    """

    def __init__(
        self,
        centers: np.ndarray,
        *,
        image_shape: tuple[int, ...] | None = None,
        counts: np.ndarray | None = None,
        feature_names: list[str] | None = None,
    ) -> None:
        self.centers = check_array(centers, input_name="centers")
        self.image_shape, self.counts = image_shape, counts
        self.feature_names = feature_names
        if image_shape is not None and (
            len(image_shape) not in (2, 3) or np.prod(image_shape) != self.centers.shape[1]
        ):
            raise ValueError(
                f"image_shape {image_shape} is not that of {self.centers.shape[1]} features"
            )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the centers of a fitted estimator.

        Parameters
        ----------
        estimator : KMeans, MiniBatchKMeans, a mixture, or any with `cluster_centers_`
            Fitted.
        X : Ignored
            Present for the sake of a common signature.
        image_shape : tuple of int, default=None
            Height and width, or also 3 or 4 channels, of the image that a center is; None:
            lines over the features.
        ax : matplotlib Axes, default=None
            Where to draw, or whose place images take; None: a new figure.
        **kwargs : dict
            Passed to `imshow` or `plot` of the axes.

        Returns
        -------
        display : CentersDisplay
        """
        check_is_fitted(estimator)
        names = ("cluster_centers_", "means_", "centroids_")
        centers = next((getattr(estimator, n) for n in names if hasattr(estimator, n)), None)
        if centers is None:
            raise ValueError(f"{type(estimator).__name__} has no centers")
        counts, labels = None, getattr(estimator, "labels_", None)
        if labels is not None:
            counts = np.bincount(labels[labels >= 0], minlength=len(centers))
        names = getattr(estimator, "feature_names_in_", None)
        return cls(
            centers,
            image_shape=image_shape,
            counts=counts,
            feature_names=None if names is None else list(names),
        ).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, or whose place images take; None: a new figure.
        **kwargs : dict
            Passed to `imshow` or `plot` of the axes.

        Returns
        -------
        self : CentersDisplay
        """
        self.images_, self.lines_ = [], []
        if self.image_shape is None:
            self._draw_lines(ax, kwargs)
        else:
            self._draw_images(ax, kwargs)
        return self

    def _title(self, j: int) -> str:
        return str(j) if self.counts is None else f"{j}: {self.counts[j]:,}"

    def _draw_images(self, ax: Any, style: dict) -> None:
        """A grid of images on one axes, so that hundreds are drawn as soon as ten."""
        k, (height, width) = len(self.centers), self.image_shape[:2]
        if ax is None:
            pyplot = import_pyplot()
            _, ax = pyplot.subplots(layout="constrained")
        self.figure_, self.ax_ = ax.figure, ax
        self.axes_ = [ax]
        box = ax.get_window_extent()
        titled = k <= MAX_TITLES
        gap = 0.12
        title = 0.3 if titled else 0.0  # of an image's height
        cell = (width * (1 + gap), height * (1 + gap + title))
        n_columns, n_rows = _divide(k, box.width / cell[0], box.height / cell[1])
        low, high = float(self.centers.min()), float(self.centers.max())
        limits = {"cmap": "gray", "vmin": low, "vmax": high}
        if len(self.image_shape) == 3:
            limits = {}
        scale = min(box.width / (n_columns * cell[0]), box.height / (n_rows * cell[1]))
        size = float(np.clip(title * height * scale * 0.8 * 72 / ax.figure.dpi, 3, 10))
        for j, center in enumerate(self.centers):
            image = center.reshape(self.image_shape)
            if len(self.image_shape) == 3:
                image = np.clip(image if high <= 1 else image / high, 0, 1)
            x, y = (j % n_columns) * cell[0], (j // n_columns) * cell[1]
            self.images_.append(
                ax.imshow(
                    image, extent=(x, x + width, y + height, y), interpolation="nearest",
                    **(limits | style),
                )
            )  # fmt: skip
            if titled:
                ax.text(
                    x + width / 2, y - 0.04 * height, self._title(j), ha="center", va="bottom",
                    fontsize=size,
                )  # fmt: skip
        ax.set_xlim(-gap * width, n_columns * cell[0])
        ax.set_ylim(n_rows * cell[1], -(gap + title) * height)
        ax.set_aspect("equal")
        ax.set_axis_off()

    def _draw_lines(self, ax: Any, style: dict) -> None:
        self.figure_, self.ax_ = _, ax = begin(ax)
        self.axes_ = [ax]
        k, d = self.centers.shape
        shades = palette(k, ax)
        usual = {
            "alpha": 1.0 if k <= MAX_LEGEND else max(0.25, MAX_LEGEND / k),
            "linewidth": 1.8 if k <= MAX_LEGEND else 1.0,
            "marker": "o" if d <= 20 and k <= MAX_LEGEND else None,
            "markersize": 4,
        }
        for j, center in enumerate(self.centers):
            own = {"color": shades[j], "label": self._title(j)}
            self.lines_ += ax.plot(np.arange(d), center, **(usual | own | style))
        if k <= MAX_LEGEND:
            title = "cluster" if self.counts is None else "cluster: rows"
            ax.legend(title=title, fontsize="small", title_fontsize="small", framealpha=0.7)
        ax.margins(x=0.02)
        ax.set_ylabel("center")
        if self.feature_names is not None:
            spread_labels(ax, np.arange(d), [str(name) for name in self.feature_names], "x")
        else:
            from matplotlib.ticker import MaxNLocator

            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.set_xlabel("feature")


def _divide(k: int, width: float, height: float) -> tuple[int, int]:
    """Columns and rows of k cells, as large as they can be; full rows where that costs little."""
    sizes = {n: min(width / n, height / -(-k // n)) for n in range(1, k + 1)}
    best = max(sizes.values())
    near = [n for n, size in sizes.items() if size >= 0.8 * best]
    full = [n for n in near if k % n == 0]
    n_columns = max(full or near, key=lambda n: sizes[n])
    return n_columns, -(-k // n_columns)
