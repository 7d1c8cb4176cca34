"""The knee of a convex curve."""

import numpy as np
from numpy.typing import ArrayLike


def find_knee(x: ArrayLike, y: ArrayLike) -> int | None:
    """Index of the knee of a curve: the point farthest below the line between its ends.

    Each axis is scaled to [0, 1] first: of a curve that is known to its end, bends once and is not
    smoothed, this is the knee of the Kneedle method [1]_. It depends on where the curve's ends
    are, and so on the range of numbers that are tried; where it decides a number of clusters, it
    is a hint and no more [2]_.

    Parameters
    ----------
    x : array-like of shape (n,)
        Ascending.
    y : array-like of shape (n,)

    Returns
    -------
    index : int or None
        The first of several points as far below; None where no point is, beyond rounding.

    References
    ----------
    .. [1] Satopää, V., Albrecht, J., Irwin, D. and Raghavan, B. (2011). "Finding a 'Kneedle'
       in a haystack: detecting knee points in system behavior". ICDCS Workshops, 166-171.
    .. [2] Schubert, E. (2023). "Stop using the elbow criterion for k-means and how to choose the
       number of clusters instead". SIGKDD Explorations 25 (1), 36-42.

    Examples
    --------
    >>> from shoal.selection import find_knee
    >>> find_knee([1, 2, 3, 4], [10.0, 3.0, 2.0, 1.0])
    1
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < 3 or not np.isfinite(y).all() or y.min() == y.max():
        return None
    x = (x - x[0]) / (x[-1] - x[0])
    y = (y - y.min()) / (y.max() - y.min())
    below = y[0] + (y[-1] - y[0]) * x - y
    index = int(below.argmax())
    return index if below[index] > 1e-9 else None
