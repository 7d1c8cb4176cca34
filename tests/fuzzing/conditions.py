"""In what form the same rows reach shoal, and by which of its paths: neither may change an answer.

A trial draws a problem; `Conditions` draw how shoal is to solve it: the layout of arrays and
sparse matrices, the number of threads, and the sizes that decide which filter, tree or block is
used. `dressed(conditions)` stands for the module `shoal` in a trial and does so.
"""

import copy
import functools
import importlib
import inspect
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from unittest import mock

import numpy as np
import scipy.sparse as sp

import shoal
from shoal.core import parallel
from trials.forms import unsorted

EVERY = range(1, 2**14)
NONE = range(0)
# Sizes that decide how an answer is found, each with values that are taken besides the usual one.
SIZES = {
    "core.parallel.MIN_WORK": (1000, 30_000),
    "core.parallel.BLOCK_BYTES": (2**10, 2**14),
    "core.parallel.LARGE_BLOCK": (2**14,),
    "core.rows.MAX_VALUES_IN_ONE_BLOCK": (2**8, 2**13),
    "kmeans.filters.FEATURES": ({"f4": EVERY, "f8": EVERY}, {"f4": NONE, "f8": NONE}),
    "kmeans.filters.MIN_CLUSTERS": (2,),
    "kmeans.filters.MIN_PRODUCTS": ({"f4": 0, "f8": 0},),
    "kmeans.filters.MIN_ROWS": (1,),
    "kmeans.filters.MIN_PROBED_WORK": (0,),
    "kmeans.centers.MIN_CLUSTERS": (2,),
    "kmeans.batches.LARGE_BATCH": (0,),
    "kmeans.ordered.MIN_CLUSTERS": (8,),
    "kmeans.ordered.MIN_ROWS_PER_CLUSTER": (1,),
    "space.kd_tree.MAX_DIFFERENCE_FEATURES": (0, 1000),
    "space.kd_tree.MIN_ROWS_PER_AXIS": (0, np.inf),
    "space.kd_tree.MAX_SUBTREES": (4,),
    "space.kd_tree.MAX_MOVED_FEATURES": (0,),
    "space.nearest.MAX_DIFFERENCE_FEATURES": (0, 1000),
    "space.mutual_reachability.MAX_DIFFERENCE_FEATURES": (0, 1000),
    "space.mutual_reachability.MAX_EQUAL": (2,),
    "space.spanning_tree.MAX_PRIM_POINTS": (1,),
    "space.pairs.DOT_PRODUCT_MIN_FEATURES": (1, 1000),
    "hierarchy.single.MAX_PRIM_POINTS": (2,),
    "hierarchy.ward.MAX_CONDENSED_ROWS": (2,),
    "hierarchy.condensed.MAX_CHAIN_CLUSTERS": (2,),
    "density.clusters.FIRST_PASS_TILES": (1,),
    "density.clusters.ONE_PASS_FEATURES": (1,),
    "density.neighborhoods.BLOCK_DISTANCES": (30_000,),
    "hdbscan.prim.MAX_MATRIX_ROWS": (20,),
    "hdbscan.spanning.MAX_MATRIX_ROWS": (20,),
    "hdbscan.prediction.CHUNK": (100,),
    "mixture.e_step.MIN_BLOCKS": (2,),
    "mixture.parts.MAX_RANDOM_RESP": (100,),
    "spectral.dense_graph.LANCZOS_MIN_NODES": (40, 10**6),
    "spectral.sparse_graph.MIN_NODES": (40, 10**6),
    "spectral.sparse_graph.MIN_FILL": (0.0, 1e30),
    "silhouette.silhouette.FEW_CLUSTERS": (0, 100),
    "silhouette.silhouette.MAX_SUMS_BYTES": (0,),
    "silhouette.dispersion.MAX_PARTIALS": (0,),
}


def strided(X):
    wide = np.zeros(tuple(2 * length for length in X.shape), X.dtype)
    wide[(slice(None, None, 2),) * X.ndim] = X
    return wide[(slice(None, None, 2),) * X.ndim]


def unaligned(X):
    found = np.frombuffer(bytearray(X.nbytes + 1), X.dtype, offset=1).reshape(X.shape)
    found[...] = X
    return found


def read_only(X):
    X = X.copy(order="K")
    X.flags.writeable = False
    return X


def backwards(X):
    return np.ascontiguousarray(X[::-1])[::-1]


DENSE = {
    "as drawn": lambda X: X,
    "Fortran": np.asfortranarray,
    "strided": strided,
    "backwards": backwards,
    "unaligned": unaligned,
    "read-only": read_only,
}


def read_only_parts(X):
    X = X.copy()
    for part in (X.data, X.indices, X.indptr):
        part.flags.writeable = False
    return X


SPARSE = {
    "as drawn": lambda X: X,
    "unsorted": unsorted,
    "read-only": read_only_parts,
    "by columns": lambda X: X.tocsc(),
    "triplets": lambda X: X.tocoo(),
}
GRAPHS = ("as drawn", "read-only")  # the order of equal neighbours counts


@dataclass(frozen=True)
class Conditions:
    """How shoal is to solve a problem; the defaults are how it does by itself."""

    threads: int = 0
    dense: str = "as drawn"
    sparse: str = "as drawn"
    sizes: dict = field(default_factory=dict)

    def changed(self):
        """What is not by default, in words."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) != f.default and v}


def draw_conditions(seed):
    rng = np.random.default_rng([seed, 71])
    part = rng.choice([0, 0.1, 0.5])  # of the sizes that are not the usual ones
    return Conditions(
        threads=int(rng.integers(0, 4)),
        dense=str(rng.choice(list(DENSE))),
        sparse=str(rng.choice(list(SPARSE))),
        sizes={
            name: int(rng.integers(len(values)))
            for name, values in SIZES.items()
            if rng.random() < part
        },
    )


@contextmanager
def in_force(conditions):
    """The number of threads and the sizes, within."""
    with ExitStack() as stack:
        for name, choice in conditions.sizes.items():
            module, _, attribute = name.rpartition(".")
            module = importlib.import_module(f"shoal.{module}")
            stack.enter_context(mock.patch.object(module, attribute, SIZES[name][choice]))
        if conditions.threads:
            stack.enter_context(parallel.limit_threads(conditions.threads))
        yield


class Dressed:
    """`shoal`, whose estimators and functions get rows and weights in the form of conditions.

    The first call of an estimator's fit, or of a function, is kept in `calls`.
    """

    def __init__(self, conditions):
        self._conditions, self._made, self.calls = conditions, {}, []

    def __getattr__(self, name):
        if name not in self._made:
            value = getattr(shoal, name)
            if inspect.isclass(value):
                value = self._dressed_class(value)
            elif inspect.isfunction(value):
                value = self._dressed(name, value, 0)
            self._made[name] = value
        return self._made[name]

    def form(self, value):
        """An array or a sparse matrix in another form; all else as it is."""
        if type(value) is np.ndarray and value.dtype.kind in "fiub" and value.ndim:
            return DENSE[self._conditions.dense](value)
        if sp.issparse(value) and value.format == "csr":
            is_graph = value.shape[0] == value.shape[1]
            form = self._conditions.sparse
            return SPARSE[form if form in GRAPHS or not is_graph else "as drawn"](value)
        return value

    def _dressed(self, name, function, n_selves):
        @functools.wraps(function)
        def call(*args, **kwargs):
            if not self.calls:
                model = args[0] if n_selves else None
                params = copy.deepcopy(model.get_params()) if n_selves else None
                self.calls.append((name, params, args[n_selves:], dict(kwargs)))
            selves, rest = args[:n_selves], args[n_selves:]
            with in_force(self._conditions):
                return function(
                    *selves,
                    *map(self.form, rest),
                    **{name: self.form(value) for name, value in kwargs.items()},
                )

        return call

    def _dressed_class(self, cls):
        members = {
            name: self._dressed(f"{cls.__name__}.{name}", value, 1)
            for name, value in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith(("_", "get_", "set_"))
        }
        members |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
        return type(cls.__name__, (cls,), members)
