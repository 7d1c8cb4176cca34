"""Distances of rows as scikit-learn's `pairwise_distances` computes them, without its checks."""

from collections.abc import Callable
from functools import partial
from typing import Any

from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import PAIRWISE_DISTANCE_FUNCTIONS

MANHATTAN = ("manhattan", "cityblock", "l1")


def distances_without_checks(metric: Any, params: dict) -> Callable | None:
    """What `pairwise_distances` calls once it has checked and converted arrays; None where that
    is more than a function of SciPy."""
    if metric in MANHATTAN and not params:
        return partial(cdist, metric="cityblock")
    if callable(metric) or metric in PAIRWISE_DISTANCE_FUNCTIONS:
        return None
    return partial(cdist, metric=metric, **params)
