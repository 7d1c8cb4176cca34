"""The hdbscan package by ours: its spanning trees, which take nearly all of its time.

Its class and its function `hdbscan` find the minimum spanning tree of the rows under mutual
reachability by one of five private functions, for each algorithm one. These are replaced by ours,
for Euclidean rows. All else is the package's own code: checks, selection of clusters, attributes,
predictions.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from shoal.accel.dispatch import Function
from shoal.accel.table import Signature
from shoal.core.convert import PACKAGE
from shoal.core.extras import import_hdbscan

FUNCTIONS = (
    "_hdbscan_generic",
    "_hdbscan_prims_kdtree",
    "_hdbscan_prims_balltree",
    "_hdbscan_boruvka_kdtree",
    "_hdbscan_boruvka_balltree",
)
NEEDED = {"X", "min_samples", "alpha", "metric", "p", "gen_min_span_tree", "kwargs"}


class TreeFunction(Function):
    """What stands in the place of one of the functions."""

    package = "hdbscan"

    def __init__(self, original: Callable) -> None:
        self._places = inspect.signature(original)
        signature = Signature(len(self._places.parameters), frozenset())
        super().__init__("hdbscan spanning tree", original, self.find_trees, signature)

    def wrapper(self) -> Callable:
        """The function that is put into the module."""
        function = super().wrapper()
        # what the package keeps by joblib's Memory is kept apart from what ours finds
        function.__module__ = __name__
        return function

    def check_arguments(self, args: tuple, kwargs: dict) -> str | None:
        """Why a tree is left to the package; None where it is not."""
        return find_obstacle(**self._by_name(args, kwargs))

    def find_trees(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives, by ours."""
        return find_trees(**self._by_name(args, kwargs))

    def _by_name(self, args: tuple, kwargs: dict) -> dict:
        given = self._places.bind(*args, **kwargs)
        given.apply_defaults()
        return given.arguments


def tree_functions() -> list[tuple[Callable, Callable]]:
    """Functions of the package, and what stands in their place."""
    module = vars(import_hdbscan())
    found = [module[name] for name in FUNCTIONS if name in module]
    found = [f for f in found if inspect.signature(f).parameters.keys() >= NEEDED]
    if not found:
        raise ImportError("this hdbscan has none of the functions for trees that shoal knows")
    return [(function, TreeFunction(function).wrapper()) for function in found]


def find_obstacle(
    *, X: Any, alpha: float, metric: Any, p: float | None, kwargs: dict, **_: Any
) -> str | None:
    """Why a tree is left to the package; None where it is not."""
    is_euclidean = metric in ("euclidean", "l2") or (metric == "minkowski" and p == 2)
    if not (isinstance(metric, str) and is_euclidean) or kwargs:
        return f"metric={metric!r}"
    if alpha != 1:
        return f"alpha={alpha!r}"  # which some of its algorithms overlook
    if type(X) is not np.ndarray or X.dtype.kind not in "fiub":
        return "X is no array of numbers"
    if len(X) < 2 or not np.isfinite(X).all():
        return "rows that are too few or not finite"
    return None


def find_trees(*, X: Any, min_samples: int, gen_min_span_tree: bool, **_: Any) -> Any:
    """Single linkage of the rows, and the edges of their tree by length, if wanted, else None."""
    # the package does not count the row itself
    ours = import_module(f"{PACKAGE}.cluster").HDBSCAN(min_samples=min_samples + 1).fit(X)
    edges = None
    if gen_min_span_tree:
        edges = ours.minimum_spanning_tree_.to_numpy()
        edges = edges[np.argsort(edges[:, 2], kind="stable")]
    return ours.single_linkage_tree_.to_numpy(), edges
