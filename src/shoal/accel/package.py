"""The hdbscan package's class by ours: what `shoal.patch(hdbscan=True)` puts in place of its fit.

A fit leaves what the package's own one does: labels, strengths, and its three trees as arrays.
All else that its users ask for (`condensed_tree_`, `exemplars_`, `relative_validity_`,
`outlier_scores_`, `approximate_predict`, `membership_vector`, branches and so on) the package
computes from these by its own code, as before.
"""

import functools
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array

from shoal.accel.calls import Recorded
from shoal.accel.dispatch import Left, Patched, is_ours_running, mark, overrides
from shoal.accel.table import Signature
from shoal.core.convert import PACKAGE, parameter_names
from shoal.core.extras import import_hdbscan

SHARED = {"min_cluster_size", "cluster_selection_method", "allow_single_cluster"}
# any of these finds a tree as good as the exact one, which ours is
ALGORITHMS = {"best", "generic", "prims_kdtree", "prims_balltree"}
ALGORITHMS |= {"boruvka_kdtree", "boruvka_balltree"}
# parameters that do not change the exact answer, or that the code below asks for
KNOWN = {"algorithm", "leaf_size", "approx_min_span_tree", "core_dist_n_jobs", "memory"}
KNOWN |= {"min_samples", "max_cluster_size", "cluster_selection_epsilon", "metric", "p"}
KNOWN |= {"gen_min_span_tree", "prediction_data", "branch_detection_data"}
# and those that ours has not: with other values than these, the package does it
LEFT = {
    "alpha": 1.0,  # which some of its algorithms overlook
    "match_reference_implementation": False,
    "cluster_selection_persistence": 0.0,
    "cluster_selection_epsilon_max": np.inf,
}
# private attributes that a fit of the package sets or reads
STATE = {"_metric_kwargs", "_raw_data", "_condensed_tree", "_single_linkage_tree"}
STATE |= {"_min_spanning_tree"}


class PackageFit(Patched):
    """What stands in the place of `hdbscan.HDBSCAN.fit`."""

    def __init__(self) -> None:
        self.theirs = import_hdbscan().HDBSCAN
        places = inspect.signature(self.theirs.fit).parameters
        super().__init__(self.theirs.fit, Signature(2, frozenset(places) - {"X", "y"}))
        unknown = sorted(parameter_names(self.theirs) - SHARED - KNOWN - LEFT.keys())
        names = ", ".join(unknown)
        self.obstacle = f"parameters that shoal does not know: {names}" if unknown else None

    def wrapper(self) -> Callable:
        """The function that is put into the class."""

        @functools.wraps(self.original)
        def fit(estimator: Any, *args: Any, **kwargs: Any) -> Any:
            if is_ours_running():
                return self.run_original((estimator, *args), kwargs)
            return self.call(estimator, args, kwargs)

        return mark(fit)

    def call(self, estimator: Any, args: tuple, kwargs: dict) -> Any:
        """Run ours unless something is in the way."""
        obstacle = self.find_obstacle(estimator, args, kwargs)
        name = f"hdbscan.{type(estimator).__name__}.fit"
        with Recorded(name, obstacle, args, kwargs, package="hdbscan") as record:
            if obstacle is None:
                self.run_ours(record, fit_by_ours, (estimator, *args), kwargs)
                if record.obstacle is None:
                    return estimator
            return self.original(estimator, *args, **kwargs)

    def find_obstacle(self, estimator: Any, args: tuple, kwargs: dict) -> str | None:
        """Why this call is left to the package; None where it is not."""
        cls = type(estimator)
        own = overrides(cls, self.theirs, "fit")
        if own:
            return f"{cls.__name__} has its own {own}"
        if not parameter_names(self.theirs) | STATE <= vars(estimator).keys():
            return "attributes that are missing"
        return self.obstacle or obstacle_of(vars(estimator)) or self.check_arguments(args, kwargs)


def obstacle_of(params: dict) -> str | None:
    """Why parameters of the package's class are left to it; None where they are not."""
    for name, value in LEFT.items():
        if params.get(name, value) != value:
            return f"{name}={params[name]!r}"
    metric = params["metric"]
    is_euclidean = metric in ("euclidean", "l2") or (metric == "minkowski" and params["p"] == 2)
    if not (isinstance(metric, str) and is_euclidean) or params["_metric_kwargs"]:
        return f"metric={metric!r}"
    if getattr(params["memory"], "location", "") is not None:
        return "trees that are kept in memory=..."
    # it is particular about types, and has the errors
    sizes = [params["min_cluster_size"], params["max_cluster_size"]]
    if params["min_samples"] is not None:
        sizes.append(params["min_samples"])
    epsilon = params["cluster_selection_epsilon"]
    if (
        not all(np.issubdtype(type(size), np.integer) for size in sizes)
        or not isinstance(params["alpha"], float)
        or not (type(epsilon) is float or np.issubdtype(type(epsilon), np.integer))
        or params["algorithm"] not in ALGORITHMS
        or params["leaf_size"] < 1
        or (params["min_samples"] is not None and params["min_samples"] < 1)
    ):
        return "parameters that hdbscan refuses"
    return None


def fit_by_ours(estimator: Any, X: Any, y: Any = None) -> None:
    """A fit of ours, and its outcome in the attributes of the package's estimator."""
    if sp.issparse(X):
        raise Left("X is sparse")
    X = check_array(X, ensure_all_finite=False)
    if len(X) < 2 or X.dtype.kind not in "fiub" or not np.isfinite(X).all():
        raise Left("rows that are missing, infinite, no numbers or too few")
    wants = {name: getattr(estimator, name) for name in SHARED}
    min_samples = estimator.min_samples
    if min_samples is None:
        min_samples = estimator.min_cluster_size
    ours = import_module(f"{PACKAGE}.cluster").HDBSCAN(
        **wants,
        # the package does not count the row itself
        min_samples=min(len(X) - 1, int(min_samples)) + 1,
        max_cluster_size=estimator.max_cluster_size or None,
        cluster_selection_epsilon=float(estimator.cluster_selection_epsilon),
    )
    fitted = ours.fit(X)
    wants_branches = getattr(estimator, "branch_detection_data", False)
    edges = None
    if estimator.gen_min_span_tree or wants_branches:
        edges = fitted.minimum_spanning_tree_.to_numpy()
        edges = edges[np.argsort(edges[:, 2], kind="stable")]
    vars(estimator).update(
        labels_=fitted.labels_,
        probabilities_=fitted.probabilities_,
        cluster_persistence_=fitted.cluster_persistence_,
        _raw_data=X,
        _all_finite=True,
        _condensed_tree=fitted.condensed_tree_.to_numpy(),
        _single_linkage_tree=fitted.single_linkage_tree_.to_numpy(),
        _min_spanning_tree=edges,
    )
    if estimator.prediction_data:
        estimator.generate_prediction_data()
    if wants_branches:
        estimator.generate_branch_detection_data()
