"""Both libraries' mixtures; problems for their kernels, and the kernels run on them."""

from dataclasses import dataclass, field

import numpy as np
import sklearn.mixture
from hypothesis import strategies as st

import shoal
from helpers.kernel_cases import KINDS
from shoal.core.rows import Rows
from shoal.mixture.e_step import Components, EStep, choose_kernel

TYPES = ("full", "tied", "diag", "spherical")
CLASSES = ("GaussianMixture", "BayesianGaussianMixture")


def blobs(n=300, d=4, k=3, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    centers = 4 * rng.standard_normal((k, d))
    X = centers[rng.integers(k, size=n)] + rng.standard_normal((n, d))
    return X.astype(dtype)


def both(name, **params):
    return getattr(shoal, name)(**params), getattr(sklearn.mixture, name)(**params)


@dataclass(eq=False)
class Problem:
    """Rows with weights, and components."""

    description: str
    covariance_type: str
    X: np.ndarray = field(repr=False)
    weights: np.ndarray | None = field(repr=False)
    means: np.ndarray = field(repr=False)
    precisions_cholesky: np.ndarray = field(repr=False)
    constants: np.ndarray = field(repr=False)
    origin: np.ndarray | None = field(repr=False)
    rng: np.random.Generator = field(repr=False)

    @property
    def kernel(self):
        return choose_kernel(self.covariance_type, self.X.shape[1])

    @property
    def w(self):
        return np.ones(len(self.X)) if self.weights is None else self.weights.astype(np.float64)

    def run(self, points=None, dtype=None, **wanted):
        """An E-step by the kernel for these components, and its totals."""
        rows = Rows(self.X, self.weights, self.origin)
        components = Components(self.covariance_type, len(self.means), rows, dtype)
        components.set_reference(self.means if points is None else points)
        components.pack(self.means, self.precisions_cholesky, self.constants)
        e_step = EStep(rows, components, **wanted)
        return e_step, e_step.run()

    def for_twin(self):
        """Arguments of the twin."""
        factors = np.sqrt(0.5) * self.precisions_cholesky
        if self.covariance_type == "spherical":
            factors = np.repeat(factors[:, None], self.X.shape[1], axis=1)
        if self.covariance_type == "tied" and self.kernel != "tied":
            factors = np.repeat(factors[None], len(self.means), axis=0)
        return self.X.astype(np.float64), self.w, self.means, factors, self.constants


def make_problem(kind, covariance_type, n, d, k, dtype="f8", *, seed=0, weights="none", spread=1.0):
    """One problem; `spread` scales the components' deviations."""
    description = (
        f"{kind!r}, {covariance_type!r}, {n}, {d}, {k}, {dtype!r}, {seed=}, {weights=}, {spread=}"
    )
    rng = np.random.default_rng(seed)
    x, centers = KINDS[kind](rng, n, d, k)
    X = np.ascontiguousarray(x, dtype=dtype)
    means = centers + 0.1 * rng.standard_normal((k, d))
    size = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[covariance_type]
    factors = np.exp(0.3 * rng.standard_normal(size)) / spread
    if covariance_type in ("full", "tied"):
        factors = np.triu(0.3 * rng.standard_normal(size) / spread, 1) + factors * np.eye(d)
    constants = np.log(rng.dirichlet(np.ones(k))) - rng.random(k)
    w = {
        "none": lambda: None,
        "random": lambda: rng.random(n),
        "zeros": lambda: rng.integers(0, 3, n),
    }[weights]()
    origin = X.mean(axis=0) if choose_kernel(covariance_type, d) == "tied" else None
    w = None if w is None else w.astype(dtype)
    return Problem(description, covariance_type, X, w, means, factors, constants, origin, rng)


@st.composite
def problems(draw, kinds=("normal", "blobs", "lattice", "duplicates", "offset_between"), **fixed):
    """Problems small enough for the twins; shapes lie around the sizes of tiles and panels."""
    drawn = {
        "kind": draw(st.sampled_from(kinds)),
        "covariance_type": draw(st.sampled_from(TYPES)),
        "n": draw(st.sampled_from([1, 2, 15, 16, 17, 31, 33, 64, 65, 200, 700])),
        "d": draw(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 17, 33])),
        "k": draw(st.sampled_from([1, 2, 3, 4, 5, 8, 9, 17])),
        "dtype": draw(st.sampled_from(["f4", "f8"])),
        "seed": draw(st.integers(0, 2**16)),
        "weights": draw(st.sampled_from(["none", "random", "zeros"])),
        "spread": draw(st.sampled_from([0.3, 1.0, 10.0])),
    }
    return make_problem(**drawn | fixed)
