"""Sparse graphs: their kernel against its twin, their embedding against a dense eigensolver."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
import sklearn.manifold
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh
from shoal.spectral.args import SparseGraphArgs
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.metrics.pairwise import rbf_kernel

import reference
import shoal
from helpers.kernel_cases import level, levels
from shoal.core import parallel
from shoal.spectral import sparse_graph
from shoal.spectral.embedding import compute_embedding
from shoal.spectral.neighbors import nearest_neighbors_graph
from trials.spectral import embedding_error


@given(
    st.sampled_from([1, 2, 5, 64, 130]),
    st.sampled_from([16, 32]),
    st.tuples(*[st.sampled_from([0.0, 1.0, -0.7, 3e3])] * 3),
    st.integers(0, 2**16),
    levels,
)
def test_product(n, n_vectors, factors, seed, name):
    """Rows without neighbours, and with all."""
    rng = np.random.default_rng(seed)
    a = sp.random(n, n, rng.choice([0.0, 0.1, 1.0]), "csr", random_state=rng)
    x, y = rng.standard_normal((2, n, n_vectors))
    expected = reference.multiply_sparse_graph(a, x, y, *factors)
    with level(name):
        args = SparseGraphArgs(n, a.data, a.indices, a.indptr)
        args.set_step(x, y, n_vectors, *factors)
        parallel.run_kernel("multiply_sparse_graph", "f8", args, n, 37)
    size = np.abs(factors) @ [1 + abs(a).sum(axis=1).max(), 1, 1]
    np.testing.assert_allclose(y, expected.astype(float), rtol=0, atol=1e-14 * max(size, 1) * n)


def neighbors(X, count=10):
    graph = nearest_neighbors_graph(X, count, None)
    return 0.5 * (graph + graph.T)


def thinned(X, gamma):
    """Affinities with a value, most of them small."""
    affinity = rbf_kernel(X, gamma=gamma)
    return sp.csr_matrix(np.where(affinity > 1e-2, affinity, 0))


def joined(*parts):
    return sp.csr_matrix(sp.block_diag(parts))


RNG = np.random.default_rng(0)
BLOBS = make_blobs(500, 3, centers=4, cluster_std=2, random_state=0)[0]
GRAPHS = {
    "digits": (neighbors(load_digits().data), 10),
    "blobs": (neighbors(BLOBS), 4),
    "weights": (thinned(BLOBS, 0.2), 5),
    "three components": (joined(neighbors(BLOBS), neighbors(BLOBS[:300] ** 2), np.eye(1)), 5),
    "many vectors": (neighbors(RNG.standard_normal((1500, 20)), 15), 20),
    "as many components": (joined(*[neighbors(RNG.random((120, 3)), 8) for _ in range(6)]), 6),
}


def embed(affinity, k, needs_each_vector=False):
    random_state = np.random.RandomState(0)
    found = compute_embedding(affinity, k, None, "auto", random_state, needs_each_vector)
    return found, random_state.random_sample()


def scikit_learns(affinity, k):
    random_state = np.random.RandomState(0)
    params = {"n_components": k, "random_state": random_state, "drop_first": False}
    return sklearn.manifold.spectral_embedding(affinity, **params), random_state.random_sample()


def eigenvectors(affinity, k):
    """Those of the k largest eigenvalues, over the roots of degrees."""
    A = affinity.toarray()
    np.fill_diagonal(A, 0)
    degrees = A.sum(axis=1)
    scale = 1 / np.sqrt(np.where(degrees == 0, 1, degrees))
    n = len(A)
    return scale[:, None] * eigh(scale[:, None] * A * scale, subset_by_index=(n - k, n - 1))[1]


@pytest.fixture
def no_fallback(monkeypatch):
    def fails(*args, **params):
        raise AssertionError("scikit-learn's solver was asked")

    monkeypatch.setattr("shoal.spectral.embedding.spectral_embedding", fails)
    monkeypatch.setattr(sparse_graph, "MIN_NODES", 100)
    monkeypatch.setattr(sparse_graph, "MIN_FILL", 0)


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")
@pytest.mark.parametrize("name", GRAPHS)
def test_embedding(name, no_fallback):
    """The same space as a dense solver's, scikit-learn's draws, and the graph as it was.

    scikit-learn's own solver misses components before 1.9.
    """
    affinity, k = GRAPHS[name]
    before = affinity.copy()
    (found, draw), (_, their_draw) = embed(affinity, k), scikit_learns(affinity, k)
    assert draw == their_draw
    assert (affinity != before).nnz == 0
    a, b = np.linalg.qr(found)[0], np.linalg.qr(eigenvectors(affinity, k))[0]
    assert np.linalg.norm(a - b @ (b.T @ a), 2) < 1e-9
    assert embedding_error(affinity.toarray(), found) < 1e-9


def test_each_vector(no_fallback):
    affinity, k = GRAPHS["digits"]
    np.testing.assert_allclose(
        embed(affinity, k, True)[0], scikit_learns(affinity, k)[0], atol=1e-8
    )


@pytest.mark.parametrize("assign", ["kmeans", "discretize", "cluster_qr"])
def test_labels(assign, no_fallback):
    X = make_moons(900, noise=0.08, random_state=0)[0]
    params = {"n_clusters": 2, "affinity": "nearest_neighbors", "assign_labels": assign}
    ours = shoal.SpectralClustering(**params, random_state=0).fit(X)
    theirs = sklearn.cluster.SpectralClustering(**params, random_state=0).fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)


def test_threads(limit_threads, monkeypatch, no_fallback):
    """Bit for bit the same for any number of threads."""
    monkeypatch.setattr(parallel, "MIN_WORK", 10_000)
    affinity, k = GRAPHS["digits"]
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            found.append(embed(affinity, k)[0].tobytes())
    assert found[0] == found[1] == found[2]


def cases_left_to_scikit_learn():
    chain = sp.diags([1.0, 1.0], [-1, 1], shape=(1500, 1500), format="csr")
    blobs = GRAPHS["blobs"][0]
    asymmetric = blobs + sp.csr_matrix(([1e-3], ([0], [1])), blobs.shape)
    signed = blobs.copy()
    signed.data[:] = np.where(np.arange(signed.nnz) == 3, -3, 1)
    parts = np.arange(300) % 3  # each is joined to the others: no eigenvalue but 1 and <= 0
    return {
        "few positive eigenvalues": sp.csr_matrix(1.0 * (parts[:, None] != parts)),
        "eigenvalues too close": chain,
        "not symmetric": asymmetric,
        "negative": 0.5 * (signed + signed.T),
        "no neighbours": sp.csr_matrix(sp.eye(300)),
    }


@pytest.mark.parametrize("name", cases_left_to_scikit_learn())
def test_left_to_scikit_learn(name, monkeypatch):
    """Its solver answers, and warns, as if it had been asked first."""
    monkeypatch.setattr(sparse_graph, "MIN_NODES", 100)
    monkeypatch.setattr(sparse_graph, "MIN_FILL", 0)
    affinity = cases_left_to_scikit_learn()[name]
    found = []
    for run in (embed, scikit_learns, scikit_learns):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            value, draw = run(affinity.copy(), 3)
        found.append((value.tobytes(), draw, [str(each.message) for each in warned]))
    if found[1] == found[2]:  # an older ARPACK starts again from what it had in the call before
        assert found[0] == found[1]
    assert found[0][1:] == found[1][1:]


def test_other_forms(no_fallback):
    """Duplicates, other orders and types of indices: what counts is the sum at each place."""
    affinity, k = GRAPHS["blobs"]
    expected = embed(affinity, k)[0]
    coo = affinity.tocoo()
    halves = sp.coo_matrix(
        (
            np.concatenate([coo.data / 2] * 2),
            (np.concatenate([coo.row] * 2), np.concatenate([coo.col] * 2)),
        ),
        affinity.shape,
    )
    wide = sp.csr_array(affinity)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    for form in (affinity.tocsc(), halves, wide):
        np.testing.assert_array_equal(embed(form, k)[0], expected)


def test_choice():
    """A mesh is left to scikit-learn's factorization, which rows of many features fill in."""
    plane = neighbors(RNG.random((4000, 2)))
    far_apart = neighbors(RNG.standard_normal((2000, 20)))
    assert sparse_graph.SparseGraph.from_affinity(plane, 5) is None
    assert sparse_graph.SparseGraph.from_affinity(far_apart, 5) is not None
