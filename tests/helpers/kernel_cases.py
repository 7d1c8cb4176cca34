"""Problems for the kernels, and the labelling kernels run on them."""

from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from shoal.kmeans.args import AssignmentArgs, BoundUpdateArgs

from shoal.core import cpu, parallel
from shoal.core.rows import Rows
from shoal.kmeans import lloyd
from shoal.kmeans.centers import N_COUNTS, Centers, scratch_for
from shoal.kmeans.filters import CODES

KINDS = {}


def kind(make):
    """Register a kind of problem: a function of (rng, n, d, k) that gives rows and centers."""
    KINDS[make.__name__] = make
    return make


@kind
def normal(rng, n, d, k):
    return rng.standard_normal((n, d)), rng.standard_normal((k, d))


@kind
def blobs(rng, n, d, k):
    centers = 5 * rng.standard_normal((k, d))
    return centers[rng.integers(k, size=n)] + rng.standard_normal((n, d)), centers


@kind
def lattice(rng, n, d, k):
    """Exact ties everywhere."""
    return rng.integers(-1, 2, (n, d)).astype(float), rng.integers(-1, 2, (k, d)).astype(float)


@kind
def duplicates(rng, n, d, k):
    """Few different rows; the centers are rows, some of them the same."""
    some = rng.standard_normal((rng.integers(1, 6), d))
    return some[rng.integers(len(some), size=n)], some[rng.integers(len(some), size=k)]


@kind
def between(rng, n, d, k):
    """Rows halfway between two centers, as nearly as rounding allows."""
    centers = rng.standard_normal((k, d))
    x = (centers[rng.integers(k, size=n)] + centers[rng.integers(k, size=n)]) / 2
    return x * (1 + rng.choice([0, 2.0**-24, 2.0**-52], size=(n, 1))), centers


@kind
def offset(rng, n, d, k):
    """Far from the origin, where little is left after cancellation."""
    x, centers = blobs(rng, n, d, k)
    return x + 1e6, centers + 1e6


@kind
def offset_between(rng, n, d, k):
    """Near-ties that the canonical rule itself decides by its rounding."""
    x, centers = between(rng, n, d, k)
    return x + 1e4, centers + 1e4


@kind
def mixed(rng, n, d, k):
    """Rows, centers and features of all sizes."""
    spread = 10.0 ** rng.uniform(-6, 6, d)
    x = rng.standard_normal((n, d)) * spread * 10.0 ** rng.uniform(-4, 4, (n, 1))
    return x, rng.standard_normal((k, d)) * spread * 10.0 ** rng.uniform(-4, 4, (k, 1))


@kind
def far_center(rng, n, d, k):
    """One center lies 1e9 times as far out as the others."""
    x, centers = blobs(rng, n, d, k)
    centers[rng.integers(k)] *= 1e9
    return x, centers


@dataclass(eq=False)
class Problem:
    """Rows with weights and an origin, centers less that origin, and a block size."""

    description: str
    X: np.ndarray = field(repr=False)
    weights: np.ndarray | None = field(repr=False)
    origin: np.ndarray | None = field(repr=False)
    centers: np.ndarray = field(repr=False)
    size: int = field(repr=False)
    rng: np.random.Generator = field(repr=False)

    @property
    def rows(self):
        return Rows(self.X, self.weights, self.origin)

    @property
    def csr(self):
        return Rows(as_csr(self.X), self.weights)

    @property
    def x(self):
        """The rows as the twins take them: in float64, less the origin."""
        x = self.X.astype(np.float64)
        return x if self.origin is None else x - self.origin.astype(np.float64)

    @property
    def w(self):
        return np.ones(len(self.X)) if self.weights is None else self.weights.astype(np.float64)

    @property
    def blocks(self):
        """Slices of the rows."""
        n = len(self.X)
        return [slice(first, min(n, first + self.size)) for first in range(0, n, self.size)]


def as_csr(X):
    """CSR data without the zeros, with 32-bit indices."""
    found = sp.csr_matrix(X)
    found.indices = found.indices.astype(np.int32)
    found.indptr = found.indptr.astype(np.int32)
    return found


def make_problem(
    kind, n, d, k, dtype="float64", *, seed=0, weights="none", origin=False, scale=1.0, size=None
):
    """The problem that these arguments describe."""
    description = f"{kind!r}, {n}, {d}, {k}, {dtype!r}, {seed=}, "
    description += f"{weights=}, {origin=}, {scale=}, {size=}"
    rng = np.random.default_rng(seed)
    x, centers = KINDS[kind](rng, n, d, k)
    X = np.ascontiguousarray(x * scale, dtype=dtype)
    centers = centers * scale
    shift = None
    if origin:
        shift = X.mean(axis=0, dtype=np.float64).astype(dtype)
        centers = centers - shift
    w = {
        "none": lambda: None,
        "random": lambda: rng.random(n),
        "zeros": lambda: rng.integers(0, 3, n),
        "wide": lambda: 10.0 ** rng.uniform(-9, 9, n),
    }[weights]()
    w = None if w is None else w.astype(dtype)
    return Problem(description, X, w, shift, centers, size or n, rng)


ROWS = [1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 200]
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33]
LONG_WIDTHS = [64, 127, 128, 129, 200, 255, 256, 257]
CENTERS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 25, 31, 32, 33]
LONG_CENTERS = [64, 65, 100, 129, 300]


@st.composite
def problems(draw, kinds=tuple(KINDS), scales=(1.0, 1e-6, 1e6), fit=False, **given):
    """Problems small enough for the twins; shapes are near the sizes of tiles and lanes.

    With `fit`, for problems to be fitted, there are no fewer rows than centers.
    """
    kind = draw(st.sampled_from(kinds))
    exact = kind in ("lattice", "duplicates", "between", "offset_between")  # their twins are slow
    d = draw(st.sampled_from(WIDTHS + ([] if exact else LONG_WIDTHS)))
    k = draw(st.sampled_from(CENTERS + ([] if exact or d > 40 else LONG_CENTERS)))
    n = draw(st.sampled_from(ROWS))
    if fit:
        n += k
    arguments = {
        "dtype": draw(st.sampled_from(["float32", "float64"])),
        "seed": draw(st.integers(0, 2**16)),
        "weights": draw(st.sampled_from(["none", "random", "zeros", "wide"])),
        "origin": draw(st.booleans()),
        "scale": draw(st.sampled_from(scales)),
        "size": draw(st.sampled_from([1, 5, 16, 33, 64, n])),
    }
    arguments["size"] = max(arguments["size"], n // 20 + 1)
    return make_problem(kind, n, d, k, **arguments | given)


@contextmanager
def level(name):
    """Use the kernels of one instruction set."""
    usual = parallel.LEVEL
    try:
        parallel.use_level(name)
        yield
    finally:
        parallel.use_level(usual)


levels = st.sampled_from(cpu.levels())


def run_assign(kernel, problem, *, elkan=False, current=None, sums=True, filter=CODES):
    """Labels, counts (see structs.pxd) of each block, sums of each block."""
    rows = problem.csr if kernel == "assign_sparse" else problem.rows
    filtered = kernel == "assign_filtered"
    centers = Centers(problem.centers, rows, filter=filter if filtered else None)
    labels = np.full(rows.n, -1, np.int32) if current is None else current.astype(np.int32)
    n_blocks = len(problem.blocks)
    counts = np.full((n_blocks, N_COUNTS), -7, np.int64)
    partial = np.full((n_blocks, centers.k, rows.d + 1), np.nan) if sums else None
    args = AssignmentArgs(
        rows.args, centers.args, n_blocks, elkan=elkan, labels=labels, counts=counts, sums=partial
    )
    args.is_first_pass = current is None
    scratch = scratch_for(rows, filtered, centers.k)
    parallel.run_kernel(kernel, rows.type, args, rows.n, problem.size, scratch)
    return labels, counts, partial


class Pass:
    """Passes of Lloyd's algorithm with the kernel, groups, sums and blocks that are given.

    Between passes the centers can be put anywhere.
    """

    def __init__(self, problem, algorithm, kernel, n_groups=1, sums_by="block", **flags):
        n_blocks = len(problem.blocks)
        forced = lloyd.Plan(kernel, n_groups, sums_by, n_blocks, problem.size, **flags)
        rows = problem.csr if kernel == "assign_sparse" else problem.rows
        names = ("choose_plan", "AssignmentArgs", "BoundUpdateArgs")
        originals = {name: getattr(lloyd, name) for name in names}
        try:
            lloyd.choose_plan = lambda rows, k: forced
            lloyd.AssignmentArgs = self._record_assignment
            lloyd.BoundUpdateArgs = self._record_bound_update
            self.lloyd = lloyd.Lloyd(rows, problem.centers, algorithm)
            if kernel == "assign_bounded":  # with bounds from the first pass to the last
                self.lloyd._uses_bounds = True
                self.lloyd._choose_next_pass = lambda changed: None
                if n_groups > 1:
                    self.lloyd._group_centers()
        finally:
            for name, original in originals.items():
                setattr(lloyd, name, original)

    def _record_assignment(self, *args, **arrays):
        self.arrays = arrays
        return AssignmentArgs(*args, **arrays)

    def _record_bound_update(self, *args, **arrays):
        self.bound_update = arrays
        return BoundUpdateArgs(*args, **arrays)

    @property
    def labels(self):
        return self.lloyd.labels

    @property
    def centers(self):
        return self.lloyd.centers.values

    @property
    def totals(self):
        return self.lloyd._totals

    @property
    def examined(self):
        return int(self.lloyd._counts[:, 1].sum())

    def assign(self):
        """Run one pass; the number of labels that it changed."""
        self.before = self.labels.copy() if self.labels.min() >= 0 else None
        self.changed = self.lloyd.assign()
        return self.changed

    def update(self):
        self.old_centers = self.centers.copy()
        return self.lloyd.update()

    def move(self, centers):
        """Set the centers, as an update would."""
        lloyd = self.lloyd
        lloyd.center_shift[:] = np.sqrt(((centers - self.centers) ** 2).sum(axis=1))
        self.centers[:] = centers
        lloyd.centers.pack()
        if lloyd.plan.kernel == "assign_bounded":
            lloyd._update_bounds()
