"""Random problems for k-means, and the outcomes of a library on them."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from helpers.outcomes import outcome, public_attributes

KINDS = {}


def kind(make):
    """Register a kind of data: a function of (rng, n, d) that returns a float64 array."""
    KINDS[make.__name__] = make
    return make


@kind
def blobs(rng, n, d):
    centers = rng.uniform(-10, 10, (rng.integers(1, 21), d))
    spread = 10 ** rng.uniform(-1.5, 0.7)
    return centers[rng.integers(len(centers), size=n)] + spread * rng.standard_normal((n, d))


@kind
def uniform(rng, n, d):
    return rng.random((n, d))


@kind
def heavy_tailed(rng, n, d):
    return rng.standard_t(1.5, (n, d))


@kind
def offset(rng, n, d):
    return blobs(rng, n, d) + 1e4


@kind
def duplicates(rng, n, d):
    rows = rng.standard_normal((max(1, n // int(rng.integers(2, 40))), d))
    return rows[rng.integers(len(rows), size=n)]


@kind
def lattice(rng, n, d):
    return rng.integers(0, int(rng.integers(2, 9)), (n, d)).astype(float)


@kind
def constant_columns(rng, n, d):
    X = blobs(rng, n, d)
    X[:, rng.random(d) < 0.5] = 3.7
    return X


@kind
def anisotropic(rng, n, d):
    return rng.standard_normal((n, d)) * 10 ** rng.uniform(-3, 3, d)


def pick_rows(X, n_clusters, random_state):
    """A callable init: rows drawn at random."""
    rows = random_state.permutation(X.shape[0])[:n_clusters]
    return X[rows].toarray() if sp.issparse(X) else X[rows]


@dataclass(frozen=True)
class Trial:
    """One random problem; everything that has no field here is drawn from the seed."""

    seed: int
    n: int
    d: int
    k: int
    kind: str
    dtype: str
    init: str
    n_init: object
    max_iter: int
    tol: float
    algorithm: str
    weight: str
    layout: str

    def data(self, part=0):
        """X and sample_weight; another part is other data of the same kind."""
        rng = np.random.default_rng([self.seed, part])
        X = np.ascontiguousarray(KINDS[self.kind](rng, self.n, self.d), dtype=self.dtype)
        if self.layout == "F":
            X = np.asfortranarray(X)
        elif self.layout == "csr":
            X[rng.random(X.shape) < 0.6] = 0
            X = sp.csr_array(X)
        return X, self._weight(rng)

    def _weight(self, rng):
        if self.weight == "none":
            return None
        weight = rng.random(self.n) * 3
        if self.weight == "zeros":
            weight[rng.random(self.n) < 0.4] = 0
            weight[rng.integers(self.n)] = 1.5
        return weight.astype(self.dtype)

    def initial(self, X):
        """The value of the parameter init."""
        if self.init == "callable":
            return pick_rows
        if self.init != "array":
            return self.init
        rng = np.random.default_rng([self.seed, 99])
        rows = rng.choice(self.n, self.k, replace=False)
        centers = X[rows].toarray() if sp.issparse(X) else X[rows]
        return np.where(rng.random((self.k, 1)) < 0.2, 2.5 * centers + 1, centers)

    def params(self, X):
        return {
            "n_clusters": self.k,
            "init": self.initial(X),
            "n_init": self.n_init,
            "max_iter": self.max_iter,
            "tol": self.tol,
            "algorithm": self.algorithm,
        }


def _log_integer(rng, low, high):
    return int(np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1)))))


def draw_trial(seed):
    rng = np.random.default_rng(seed)
    large = rng.random() < 0.015
    n = 20000 if large else min(3000, _log_integer(rng, 1, 4500))
    d = _log_integer(rng, 1, 16 if large else 200)
    k = min(n, _log_integer(rng, 1, 60))
    return Trial(
        seed=seed,
        n=n,
        d=d,
        k=k,
        kind=str(rng.choice(list(KINDS))),
        dtype=str(rng.choice(["f4", "f8"])),
        init=str(rng.choice(["k-means++", "random", "array", "callable"], p=[0.4, 0.2, 0.2, 0.2])),
        n_init=[1, "auto", 2, 3][rng.choice(4, p=[0.55, 0.2, 0.15, 0.1])],
        max_iter=int(rng.choice([1, 2, 3, 10, 300], p=[0.1, 0.1, 0.1, 0.1, 0.6])),
        tol=float(rng.choice([0, 1e-4, 1e-2])),
        algorithm=str(rng.choice(["lloyd", "elkan"], p=[0.6, 0.4])),
        weight=str(rng.choice(["none", "random", "zeros"], p=[0.5, 0.25, 0.25])),
        layout=str(rng.choice(["C", "F", "csr"], p=[0.5, 0.2, 0.3])),
    )


def fitted(library, params, X, weight, seed):
    """The outcome of a fit in shoal or sklearn.cluster; its value is the fitted attributes."""
    random_state = np.random.RandomState(seed)

    def fit():
        estimator = library.KMeans(**params, random_state=random_state)
        assert estimator.fit(X, sample_weight=weight) is estimator
        return public_attributes(estimator) | {"draws": random_state.randint(2**31)}

    return outcome(fit)


def seeds(library, trial, X, weight, n_local_trials):
    """The outcome of kmeans_plusplus: centers, indices and the next random number."""
    random_state = np.random.RandomState(trial.seed)

    def seeding():
        centers, indices = library.kmeans_plusplus(
            X,
            trial.k,
            sample_weight=weight,
            random_state=random_state,
            n_local_trials=n_local_trials,
        )
        return centers, indices, random_state.randint(2**31)

    return outcome(seeding)


def seeding_differences(ours, theirs):
    if ours.error != theirs.error or ours.warned != theirs.warned:
        return {"error": f"{ours.error} {ours.warned} against {theirs.error} {theirs.warned}"}
    if ours.error is not None:
        return {}
    found = {}
    for name, a, b in zip(("centers", "indices"), ours.value, theirs.value, strict=False):
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            found["types"] = f"{name}: {a.dtype} {a.shape} against {b.dtype} {b.shape}"
        elif not np.array_equal(a, b):
            found[name] = f"{int((a != b).sum())} values of {name}"
    if ours.value[2] != theirs.value[2]:
        found["draws"] = "another number of random draws"
    return found
