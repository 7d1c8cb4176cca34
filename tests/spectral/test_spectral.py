"""Spectral clustering: what users see of it."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from sklearn.datasets import load_digits, load_iris, make_blobs, make_moons
from sklearn.metrics.pairwise import rbf_kernel

import shoal
import trials.spectral
from helpers.outcomes import assert_state, outcome, snapshot
from shoal.core import parallel
from shoal.spectral import embedding
from shoal.spectral.dense_graph import DenseGraph
from shoal.spectral.lanczos import NotConverged
from trials.spectral import embedding_error

MOONS = make_moons(400, noise=0.05, random_state=0)[0]
BLOBS = make_blobs(300, 4, centers=3, random_state=1, center_box=(-3, 3))[0]


@pytest.mark.parametrize("seed", range(30))
def test_trials(seed):
    """Random problems give scikit-learn's labels, or its own are not determined."""
    result = trials.spectral.check_seed(seed)
    assert result is None or "BUG" not in result[2], result


@pytest.mark.parametrize("assign", ["kmeans", "discretize", "cluster_qr"])
@pytest.mark.parametrize(
    ("X", "params"),
    [
        (MOONS, {"n_clusters": 2, "gamma": 30}),
        (BLOBS, {"n_clusters": 3, "gamma": 0.2}),
        (load_iris().data, {"n_clusters": 3}),
        (load_digits().data[:600], {"n_clusters": 10, "gamma": 0.0005}),
    ],
    ids=["moons", "blobs", "iris", "digits"],
)
def test_labels(X, params, assign):
    params = dict(params, assign_labels=assign, random_state=3)
    ours = shoal.SpectralClustering(**params).fit(X)
    theirs = sklearn.cluster.SpectralClustering(**params).fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.labels_.dtype == theirs.labels_.dtype
    np.testing.assert_allclose(ours.affinity_matrix_, theirs.affinity_matrix_, atol=1e-12)
    np.testing.assert_array_equal(ours.affinity_matrix_, ours.affinity_matrix_.T)


def embed(affinity, k=4):
    random_state = np.random.RandomState(0)
    return embedding.compute_embedding(affinity, k, None, "auto", random_state, False)


def angle(a, b):
    """Sine of the largest angle between the spaces that the columns span."""
    a, b = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    return np.linalg.norm(a - b @ (b.T @ a), 2)


@pytest.mark.parametrize("solver", ["products", "shift_invert"])
def test_embedding(solver, monkeypatch):
    """By products alone, or by the factorisation that is the fallback: the same space."""
    affinity = rbf_kernel(BLOBS, gamma=0.1)
    exact = sklearn.manifold.spectral_embedding(
        affinity, n_components=4, random_state=0, drop_first=False
    )
    if solver == "shift_invert":

        def fails(*args):
            raise NotConverged

        monkeypatch.setattr(DenseGraph, "solve_by_products", fails)
    found = embed(affinity)
    assert angle(found, exact) < 1e-9
    np.testing.assert_allclose(found, exact, atol=1e-9)


@pytest.mark.parametrize(("n", "k", "gamma"), [(264, 2, 5), (687, 2, 5), (264, 6, 1), (422, 6, 1)])
def test_nodes_far_out(n, k, gamma):
    """Coordinates are right where degrees are 1e-10 to 1e-300 of others, in chains of such nodes.

    There scikit-learn divides rounding errors by roots of degrees. Of six eigenvalues the last
    are below a half.
    """
    errors = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scale = np.exp(rng.normal(0, 2, (n, 3) if seed % 2 else (1, 3)))
        X = rng.standard_t(2, (n, 3)) * scale
        affinity = rbf_kernel((X - X.mean(axis=0)) / X.std(axis=0), gamma=gamma)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nodes without neighbours
            found = embed(affinity, k)
            theirs = sklearn.manifold.spectral_embedding(
                affinity, n_components=k, random_state=0, drop_first=False
            )
        errors.append((embedding_error(affinity, found), embedding_error(affinity, theirs)))
    ours, theirs = np.transpose(errors)
    assert ours.max() < 1e-6
    assert np.median(theirs) > 0.1


def test_close_eigenvalues_fall_back(monkeypatch):
    """For a chain of nodes products need hundreds of steps, shift-invert a few."""
    affinity = rbf_kernel(np.arange(400.0)[:, None], gamma=1)
    calls = []
    solve = DenseGraph.solve_shift_invert

    def count_calls(self, *args):
        calls.append(1)
        return solve(self, *args)

    monkeypatch.setattr(DenseGraph, "solve_shift_invert", count_calls)
    found = embed(affinity, 5)
    exact = sklearn.manifold.spectral_embedding(
        affinity, n_components=5, random_state=0, drop_first=False
    )
    assert calls
    assert angle(found, exact) < 1e-6


@pytest.mark.parametrize("n", [400, 900])
def test_nearly_equal_affinities(n):
    """Eigenvalues 1e-11 apart, beside one that the shifted inverse makes 1e5 times as large."""
    X = np.random.default_rng(n).standard_normal((n, 3))
    affinity = 1 - 1e-10 * np.square(X[:, None] - X).sum(axis=2)
    assert embedding_error(affinity, embed(affinity, 3)) < 1e-13


def test_flat_spectrum():
    """Eigenvalues of noise lie too close for few steps: scikit-learn's solver is the fallback."""
    affinity = 1 + 0.1 * np.random.default_rng(0).random((300, 300))
    symmetric = (affinity + affinity.T) / 2
    exact = sklearn.manifold.spectral_embedding(
        symmetric, n_components=4, random_state=0, drop_first=False
    )
    assert angle(embed(symmetric), exact) < 1e-6
    with pytest.warns(UserWarning, match="Array is not symmetric") as warned:
        assert angle(embed(affinity), exact) < 1e-6
    assert len(warned) == 1


def test_both_solvers_fail(monkeypatch):
    """scikit-learn's solver is the fallback, with the same draws as if it were the first."""

    def fails(*args):
        raise NotConverged

    monkeypatch.setattr(DenseGraph, "solve_by_products", fails)
    monkeypatch.setattr(DenseGraph, "solve_shift_invert", fails)
    found = embed(rbf_kernel(BLOBS, gamma=0.1))
    exact = sklearn.manifold.spectral_embedding(
        rbf_kernel(BLOBS, gamma=0.1), n_components=4, random_state=0, drop_first=False
    )
    np.testing.assert_array_equal(found, exact)


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")
@pytest.mark.parametrize("make", [np.array, sp.csr_matrix])
def test_discretize_a_node_without_neighbors(make):
    """Its coordinates are 0, of no direction, where scikit-learn's are rounding errors."""
    affinity = rbf_kernel(MOONS, gamma=30)
    affinity[7] = affinity[:, 7] = 0
    params = {"n_clusters": 2, "affinity": "precomputed", "assign_labels": "discretize"}
    params |= {"n_components": 1, "random_state": 0}
    ours = shoal.SpectralClustering(**params).fit_predict(make(affinity))
    theirs = sklearn.cluster.SpectralClustering(**params).fit_predict(make(affinity))
    others = np.arange(len(MOONS)) != 7
    np.testing.assert_array_equal(ours[others], theirs[others])


def test_separate_components():
    """Warned of, as in scikit-learn; nodes without neighbors too."""
    affinity = sp.block_diag([np.ones((150, 150)), np.ones((200, 200)), np.eye(1)]).toarray()
    for k in (2, 3):
        params = {"n_clusters": k, "affinity": "precomputed", "random_state": 0}
        ours = outcome(shoal.SpectralClustering(**params).fit_predict, affinity)
        theirs = outcome(sklearn.cluster.SpectralClustering(**params).fit_predict, affinity)
        assert ours.warned[0] == theirs.warned[0]
        assert len(set(ours.value[:150])) == len(set(ours.value[150:350])) == 1
        assert ours.value[0] != ours.value[200]


def test_asymmetric():
    """Warned of, and the mean taken; the matrix given stays as it is."""
    affinity = rbf_kernel(BLOBS, gamma=0.2)
    affinity[:50] *= 1.5
    before = affinity.copy()
    params = {"n_clusters": 3, "affinity": "precomputed", "random_state": 0}
    ours = shoal.SpectralClustering(**params)
    with pytest.warns(UserWarning, match="Array is not symmetric, and will be converted"):
        ours.fit(affinity)
    with pytest.warns(UserWarning, match="Array is not symmetric, and will be converted"):
        theirs = sklearn.cluster.SpectralClustering(**params).fit(affinity)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.affinity_matrix_, before)
    np.testing.assert_array_equal(affinity, before)


def test_diagonal_is_left_out():
    """However large: the other affinities are not rounded to its magnitude."""
    affinity = rbf_kernel(BLOBS, gamma=0.2)
    expected = embed(affinity)
    np.fill_diagonal(affinity, 1e12)
    np.testing.assert_allclose(embed(affinity), expected, atol=1e-10)


@pytest.mark.parametrize(("n", "gamma", "error"), [(400, 3, 1e-3), (200, 2, 1e-7)])
def test_small_degrees(n, gamma, error):
    """Degrees that differ by many orders of magnitude do not amplify rounding errors.

    The first vector of the embedding is the same at every node.
    """
    affinity = rbf_kernel(np.random.default_rng(0).standard_normal((400, 28))[:n], gamma=gamma)
    first = embed(affinity, 3)[:, 0]
    np.fill_diagonal(affinity, 0)
    degrees = affinity.sum(axis=0)
    assert degrees.min() < 1e-20 * degrees.max()
    np.testing.assert_allclose(first * np.sqrt(degrees.sum()), 1, atol=error)


def test_rounding_asymmetry(monkeypatch):
    """scikit-learn's kernels give matrices like this: the solver here takes them."""
    affinity = rbf_kernel(BLOBS, gamma=0.2)
    assert (affinity != affinity.T).any()
    exact = embed((affinity + affinity.T) / 2)
    monkeypatch.setattr(embedding, "spectral_embedding", None)
    np.testing.assert_allclose(embed(affinity), exact, atol=1e-10)


BAD = {
    "nan": (np.where(BLOBS > 1, np.nan, BLOBS), {}),
    "one row": (BLOBS[:1], {}),
    "no rows": (BLOBS[:0], {}),
    "one dimension": (BLOBS[:, 0], {}),
    "strings": ([["a", "b"], ["c", "d"]], {}),
    "not square": (BLOBS, {"affinity": "precomputed"}),
    "long not square": (np.ones((300, 299)), {"affinity": "precomputed"}),
    "n_clusters": (BLOBS, {"n_clusters": 0}),
    "n_components": (BLOBS, {"n_components": 0}),
    "affinity": (BLOBS, {"affinity": "nonsense"}),
    "gamma": (BLOBS, {"gamma": -1}),
    "solver": (BLOBS, {"eigen_solver": "nonsense"}),
    "amg": (BLOBS, {"eigen_solver": "amg"}),
    "assign": (BLOBS, {"assign_labels": "nonsense"}),
    "n_init": (BLOBS, {"n_init": 0}),
    "tol": (BLOBS, {"eigen_tol": -1.0}),
    "neighbors": (BLOBS, {"n_neighbors": 301, "affinity": "nearest_neighbors"}),
    "negative degrees": (-np.ones((300, 300)), {"affinity": "precomputed"}),
    "more clusters than rows": (BLOBS[:5], {"n_clusters": 6}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    """scikit-learn's message, and the estimator unchanged."""
    X, params = BAD[name]
    model = shoal.SpectralClustering(2, random_state=0).fit(BLOBS).set_params(**params)
    before = snapshot(model)
    ours = outcome(model.fit, X)
    theirs = outcome(sklearn.cluster.SpectralClustering(**params).fit, X)
    assert theirs.error is not None
    assert ours.error == theirs.error
    assert_state(model, before)


@pytest.mark.parametrize("name", ["linear", "poly", "sigmoid", "cosine", "chi2", "callable"])
def test_other_kernels(name):
    X = np.abs(BLOBS[:100])
    affinity = (lambda a, b: 1 / (1 + np.abs(a - b).sum())) if name == "callable" else name
    params = {"n_clusters": 3, "affinity": affinity, "gamma": 0.1}
    params |= {"random_state": 0, "n_init": 1}
    ours = shoal.SpectralClustering(**params).fit(X)
    theirs = sklearn.cluster.SpectralClustering(**params).fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)


def test_kernel_params_are_left_alone():
    params = {}
    shoal.SpectralClustering(2, affinity="poly", kernel_params=params).fit(np.abs(BLOBS))
    assert params == {}


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")
@pytest.mark.parametrize("solver", [None, "lobpcg"])
def test_neighbors(solver):
    params = {
        "n_clusters": 2,
        "affinity": "nearest_neighbors",
        "random_state": 0,
        "eigen_solver": solver,
    }
    ours = shoal.SpectralClustering(**params).fit(MOONS)
    theirs = sklearn.cluster.SpectralClustering(**params).fit(MOONS)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert sp.issparse(ours.affinity_matrix_)
    assert (ours.affinity_matrix_ != theirs.affinity_matrix_).nnz == 0


@pytest.mark.parametrize("affinity", ["rbf", "laplacian"])
def test_sparse_rows(affinity):
    X = sp.csr_array(np.where(BLOBS > 0, BLOBS, 0))
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    params = {"n_clusters": 3, "gamma": 0.2, "random_state": 0, "affinity": affinity}
    ours = shoal.SpectralClustering(**params).fit(X)
    theirs = sklearn.cluster.SpectralClustering(**params).fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)


def test_square_data():
    """scikit-learn's hint that it may be taken for affinities."""
    X = np.random.default_rng(0).random((10, 10))
    ours = outcome(shoal.SpectralClustering(2, random_state=0).fit_predict, X)
    theirs = outcome(sklearn.cluster.SpectralClustering(2, random_state=0).fit_predict, X)
    assert ours.warned == theirs.warned and ours.warned
    np.testing.assert_array_equal(ours.value, theirs.value)


def test_verbose():
    ours = outcome(shoal.SpectralClustering(2, random_state=0, verbose=True).fit, BLOBS)
    theirs = outcome(sklearn.cluster.SpectralClustering(2, random_state=0, verbose=True).fit, BLOBS)
    assert ours.printed.splitlines()[0] == theirs.printed.splitlines()[0]
    assert len(ours.printed.splitlines()) == len(theirs.printed.splitlines())


def test_estimator():
    """Names of features, pickling, and the function around it."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(BLOBS, columns=list("abcd"))
    model = shoal.SpectralClustering(3, gamma=0.2, random_state=0).fit(frame)
    assert model.n_features_in_ == 4 and list(model.feature_names_in_) == list("abcd")
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.labels_, model.labels_)
    labels = shoal.spectral_clustering(model.affinity_matrix_, n_clusters=3, random_state=0)
    np.testing.assert_array_equal(labels, model.labels_)


def test_precomputed_is_kept():
    """Not copied, not changed, read-only or not."""
    affinity = rbf_kernel(BLOBS, gamma=0.2)
    affinity.flags.writeable = False
    model = shoal.SpectralClustering(3, affinity="precomputed", random_state=0).fit(affinity)
    assert np.shares_memory(model.affinity_matrix_, affinity)


def test_threads(limit_threads, monkeypatch):
    """The same affinities to the bit, and the same labels."""
    monkeypatch.setattr(parallel, "MIN_WORK", 100_000)
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            model = shoal.SpectralClustering(3, gamma=0.2, random_state=0).fit(BLOBS)
        found.append((model.affinity_matrix_.tobytes(), model.labels_.tobytes()))
    assert found[0] == found[1] == found[2]


def test_global_draws_are_left_alone():
    """Only the draws that scikit-learn takes are taken, and none of NumPy's global ones."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shoal.SpectralClustering(3, gamma=0.2, random_state=0).fit(BLOBS)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
