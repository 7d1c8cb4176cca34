"""Random spectral clusterings compared with scikit-learn's.

In tests/, `python -m trials.spectral --trials 200 --seed 7` prints every trial whose
answer differs from scikit-learn's, with the reason, and counts them.

scikit-learn runs again from other start vectors, on data changed by one rounding and with
another number of threads: where its own answer changes, its eigenvectors are not determined.
Likewise with coordinates changed by one rounding: equal rows make ties for its labels.
"""

import sys
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from unittest import mock

import numpy as np
import scipy.sparse as sp
import sklearn.cluster
import sklearn.cluster._spectral as theirs_clustering
import sklearn.manifold._spectral_embedding as theirs_embedding
from scipy.linalg import eigh
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics.pairwise import rbf_kernel

import shoal
from helpers.outcomes import outcome, public_attributes
from reference import compute_affinities
from shoal.spectral import sparse_graph
from shoal.spectral.embedding import compute_embedding
from trials import report
from trials.diagnosis import moved, threads
from trials.problems import _log_integer


def standardized(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


KINDS = {
    "moons": lambda rng, n, d: make_moons(n, noise=0.05, random_state=int(rng.integers(99)))[0],
    "circles": lambda rng, n, d: make_circles(n, noise=0.04, factor=0.5, random_state=0)[0],
    "blobs": lambda rng, n, d: make_blobs(n, d, centers=5, random_state=int(rng.integers(99)))[0],
    "near blobs": lambda rng, n, d: make_blobs(n, d, centers=4, center_box=(-3, 3),
                                               random_state=int(rng.integers(99)))[0],
    "uniform": lambda rng, n, d: rng.random((n, d)),
    "offset": lambda rng, n, d: rng.standard_normal((n, d)) + 1e3,
    "duplicates": lambda rng, n, d: rng.random((n // 3 + 1, d))[rng.integers(n // 3 + 1, size=n)],
    "lattice": lambda rng, n, d: rng.integers(0, 4, (n, d)).astype(float),
    "far out": lambda rng, n, d: standardized(
        rng.standard_t(2, (n, d)) * np.exp(rng.normal(0, 2, (n, d) if n % 2 else (1, d)))
    ),
}  # fmt: skip
AFFINITIES = [
    "rbf",
    "laplacian",
    "nearest_neighbors",
    "precomputed",
    "poly",
    "sigmoid",
    "asymmetric",
]
# warnings whose presence and numbers depend on rounding
ROUNDING_WARNINGS = (
    "Number of distinct clusters",
    "Exited at iteration",
    "Exited postprocessing",
    "ARPACK has failed",
    "An ill-conditioned matrix",
)


@dataclass(frozen=True)
class Trial:
    """One random problem; the seed determines the rest."""

    seed: int
    n: int
    d: int
    kind: str
    affinity: str
    dtype: str
    params: tuple

    def data(self):
        rng = np.random.default_rng([self.seed, 0])
        X = KINDS[self.kind](rng, self.n, self.d).astype(self.dtype)
        gamma = dict(self.params).get("gamma", 1.0)
        if self.affinity in ("precomputed", "asymmetric"):
            X = rbf_kernel(X, gamma=gamma)
            if self.affinity == "asymmetric":
                X += 0.1 * rng.random(X.shape)
            elif self.seed % 3 == 0:
                X = sp.csr_array(np.where(X > 1e-3, X, 0))
        return X

    def settings(self):
        name = "precomputed" if self.affinity == "asymmetric" else self.affinity
        return dict(self.params, affinity=name)


def draw_trial(seed):
    rng = np.random.default_rng([seed, 13])
    d = _log_integer(rng, 1, 60)
    affinity = str(rng.choice(AFFINITIES, p=[0.5, 0.1, 0.1, 0.15, 0.05, 0.05, 0.05]))
    params = {
        "n_clusters": int(rng.integers(2, 9)),
        "gamma": float(10 ** rng.uniform(-1.5, 1.5) / d**0.5),
        "assign_labels": str(rng.choice(["kmeans", "discretize", "cluster_qr"])),
        "n_init": 3,
        "n_neighbors": 8,
    }
    if rng.random() < 0.15:
        params["n_components"] = int(rng.integers(1, 12))
    if rng.random() < 0.1:
        params["eigen_solver"] = str(rng.choice(["lobpcg", "arpack"]))
    return Trial(
        seed=seed,
        n=_log_integer(rng, 20, 900),
        d=d,
        kind=str(rng.choice(list(KINDS))),
        affinity=affinity,
        dtype=str(rng.choice(["f4", "f8"])),
        params=tuple(params.items()),
    )


def fitted(library, trial, X):
    """The outcome of a trial: fitted attributes and the next draw."""
    random_state = np.random.RandomState(trial.seed)

    def fit():
        model = library.SpectralClustering(**trial.settings(), random_state=random_state).fit(X)
        return public_attributes(model) | {"draws": random_state.randint(2**31)}

    return outcome(fit)


def difference(ours, theirs):
    """What differs, in words; empty where nothing does."""
    if ours.error != theirs.error:
        return f"error {ours.error} against {theirs.error}"
    if sorted(map(str, ours.warned)) != sorted(map(str, theirs.warned)):
        return f"warnings {ours.warned} against {theirs.warned}"
    if ours.error:
        return ""
    a, b = ours.value, theirs.value
    if set(a) != set(b) or a["labels_"].dtype != b["labels_"].dtype:
        return f"attributes {sorted(a)} {a['labels_'].dtype} against {sorted(b)}"
    if a["draws"] != b["draws"]:
        return "draws"
    A, B = a["affinity_matrix_"], b["affinity_matrix_"]
    if sp.issparse(B):
        if type(A) is not type(B) or (A != B).nnz:
            return "affinities"
    elif not np.allclose(A, B, rtol=1e-8, atol=1e-12):
        return f"affinities by up to {np.abs(A - B).max():.3g}"
    wrong = np.count_nonzero(a["labels_"] != b["labels_"])
    return f"{wrong} of {len(b['labels_'])} labels" if wrong else ""


def equivalent_runs(trial, X):
    """Name and outcome of scikit-learn's runs on problems with the same exact answer."""
    for count in (1, 2):
        with threads(count):
            yield f"{count} threads", fitted(sklearn.cluster, trial, X)
    for draw in range(2):
        yield "data changed by a rounding", fitted(sklearn.cluster, trial, moved(X, draw))
    for draw in range(3):
        draw_start = theirs_embedding._init_arpack_v0

        def other_start(size, random_state, draw=draw, draw_start=draw_start):
            draw_start(size, random_state)
            return np.random.default_rng(draw).uniform(-1, 1, size)

        with mock.patch.object(theirs_embedding, "_init_arpack_v0", other_start):
            yield "another start vector", fitted(sklearn.cluster, trial, X)
    embed = theirs_clustering._spectral_embedding
    for draw in range(4):

        def embed_and_move(*args, draw=draw, **kwargs):
            return moved(embed(*args, **kwargs), 2 * draw + 1)

        with mock.patch.object(theirs_clustering, "_spectral_embedding", embed_and_move):
            yield "coordinates changed by a rounding", fitted(sklearn.cluster, trial, X)


def eigengaps(affinity, k):
    """Between the k + 1 least eigenvalues of the Laplacian."""
    A = affinity.toarray() if sp.issparse(affinity) else np.array(affinity)
    A = (A + A.T) / 2
    np.fill_diagonal(A, 0)
    degrees = A.sum(axis=0)
    s = 1 / np.sqrt(np.where(degrees == 0, 1, degrees))
    return np.diff(eigh(np.eye(len(A)) - s[:, None] * A * s, eigvals_only=True)[: k + 1])


def embedding_error(affinity, embedding):
    """How far coordinates of nodes are from being an embedding, relative to the largest.

    Coordinates u are means over the neighbours by affinity, but for the eigenvalue:
    sum_j A_ij u_j / degree_i = value u_i at every node i.
    """
    A = np.array(affinity, np.longdouble)
    A = (A + A.T) / 2
    np.fill_diagonal(A, 0)
    degrees, u = A.sum(axis=1)[:, None], embedding.astype(np.longdouble)
    means, weights = A @ u / np.where(degrees == 0, 1, degrees), degrees * u
    values = (weights * means).sum(axis=0) / (weights * u).sum(axis=0)
    return float((np.abs(means - values * u).max(axis=0) / np.abs(u).max(axis=0)).max())


def embedding_errors(affinity, k, seed):
    """Of our embedding with k coordinates, and of scikit-learn's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = compute_embedding(
            np.array(affinity), k, None, "auto", np.random.RandomState(seed), False
        )
        theirs = theirs_embedding.spectral_embedding(
            np.array(affinity), n_components=k, drop_first=False, random_state=seed
        )
    return embedding_error(affinity, ours), embedding_error(affinity, theirs)


def beyond_rounding(ours, theirs):
    """Whether more differs than warnings that depend on rounding."""
    rest = [
        sorted(str(warned) for warned in each.warned if not warned[1].startswith(ROUNDING_WARNINGS))
        for each in (ours, theirs)
    ]
    return ours.warned == theirs.warned or rest[0] != rest[1]


def explain(trial, X, found, ours, theirs):
    """The reason of a difference in words; "BUG: ..." where there is none."""
    if any("ARPACK has failed" in text for _, text in theirs.warned):
        return "scikit-learn's solver fails: ours does not"
    if found.startswith("affinities by") and trial.affinity in ("rbf", "laplacian"):
        exact = compute_affinities(X.astype(float), trial.affinity, trial.settings()["gamma"])
        error, theirs_error = (
            np.abs(each.value["affinity_matrix_"] - exact).max() for each in (ours, theirs)
        )
        if error <= theirs_error / 4:
            return f"scikit-learn's distances lose digits: {theirs_error:.1e}, ours {error:.1e}"
    failed = ours.error or theirs.error
    if not found.endswith("labels") and (failed or beyond_rounding(ours, theirs)):
        return "BUG: rounding does not change that"
    for name, other in equivalent_runs(trial, X):
        if difference(other, theirs):
            return f"unstable in scikit-learn: {name}"
    affinity = theirs.value["affinity_matrix_"]
    settings = trial.settings()
    k = settings.get("n_components", settings["n_clusters"])
    gaps = eigengaps(affinity, k)
    # k-means finds the same clusters in a subspace whatever its basis is
    gap = gaps[-1] if settings["assign_labels"] == "kmeans" else gaps.min()
    if not sp.issparse(affinity) and settings.get("eigen_solver") in (None, "arpack"):
        error, theirs_error = embedding_errors(affinity, k, trial.seed)
        if error < 1e-6 and error < theirs_error / 100:
            return f"scikit-learn's embedding is none: off by {theirs_error:.1e}, ours {error:.1e}"
    if gap < 1e-12:
        return f"eigenvalues coincide: within {gap:.1e}"
    return f"BUG: scikit-learn's own answer is stable, the gap {gap:.1e}"


def check_seed(seed):
    """None where both agree, else (trial, difference, verdict)."""
    trial = draw_trial(seed)
    X = trial.data()
    # our solver for sparse graphs, too, where scikit-learn's would be as fast
    always = mock.patch.multiple(sparse_graph, MIN_NODES=40, MIN_FILL=0)
    with always if seed % 2 else nullcontext():
        ours = fitted(shoal, trial, X)
    theirs = fitted(sklearn.cluster, trial, X)
    found = difference(ours, theirs)
    return (trial, found, explain(trial, X, found, ours, theirs)) if found else None


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
