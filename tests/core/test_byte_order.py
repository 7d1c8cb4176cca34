"""Arrays whose dtype names this machine's byte order, in every place that takes arrays.

NumPy keeps the two apart, though they compare equal; data sets of HDF5 come like that.
"""

import sys

import numpy as np
import pytest
import scipy.sparse as sp

import shoal
from helpers.outcomes import public_attributes
from trials.problems import blobs

ORDER = "<" if sys.byteorder == "little" else ">"
K = 3
X = blobs(np.random.default_rng(0), 300, 4)
WEIGHTS = np.random.default_rng(1).random(300)
LABELS = np.arange(300) % K


def named(array):
    """The same values under a dtype that names its byte order."""
    dtype = array.dtype.newbyteorder(ORDER)
    assert memoryview(np.zeros(1, dtype)).format[0] == ORDER
    return array.astype(dtype)


def unaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    found = memory[1:].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def field(array):
    """A field of a structured array, whose values lie apart."""
    found = np.zeros(array.shape, [("other", "u1"), ("value", array.dtype)])
    found["value"] = array
    return found["value"]


class DataSet:
    """Something that NumPy can read, as a data set of h5py."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype)

    def __len__(self):
        return len(self.array)


FORMS = {
    "named": named,
    "named and unaligned": lambda array: unaligned(named(array)),
    "unaligned": unaligned,
    "field": field,
    "named field": lambda array: named(field(array)),
    "data set": lambda array: DataSet(named(array)),
    "swapped": lambda array: array.astype(array.dtype.newbyteorder()),
}


def fit_kmeans(form, X):
    model = shoal.KMeans(K, init=form(X[:K]), max_iter=5).fit(form(X), sample_weight=form(WEIGHTS))
    return model, model.predict(form(X)), model.transform(form(X)), model.score(form(X))


def fit_kmeans_plus_plus(form, X):
    model = shoal.KMeans(K, random_state=0, algorithm="elkan").fit(form(X))
    return model, model.predict(form(X)), shoal.kmeans_plusplus(form(X), K, random_state=0)


def fit_minibatch(form, X):
    model = shoal.MiniBatchKMeans(K, init=form(X[:K]), batch_size=50, random_state=0)
    model.fit(form(X), sample_weight=form(WEIGHTS))
    model.partial_fit(form(X[:100]))
    return model, model.predict(form(X))


def fit_dbscan(form, X):
    model = shoal.DBSCAN(eps=2.0).fit(form(X), sample_weight=form(WEIGHTS))
    return model, model.predict(form(X))


def fit_mixture(form, X):
    first = {
        "weights_init": form(np.full(K, 1 / K)),
        "means_init": form(X[:K]),
        "precisions_init": form(np.stack([np.eye(X.shape[1])] * K)),
    }
    model = shoal.GaussianMixture(K, max_iter=5, tol=1e-1, **first)
    model.fit(form(X), sample_weight=form(WEIGHTS))
    return model, model.predict_proba(form(X)), model.score_samples(form(X))


def fit_bayesian_mixture(form, X):
    first = {
        "mean_prior": form(X[0]),
        "covariance_prior": form(np.eye(X.shape[1])),
        "random_state": 0,
    }
    model = shoal.BayesianGaussianMixture(n_components=K, max_iter=5, tol=1e-1, **first).fit(
        form(X)
    )
    return model, model.predict(form(X))


def fit_ward(form, X):
    return (shoal.AgglomerativeClustering(K).fit(form(X)),)


def fit_average(form, X):
    return (shoal.AgglomerativeClustering(K, linkage="average").fit(form(X)),)


def fit_single(form, X):
    return (shoal.AgglomerativeClustering(K, linkage="single").fit(form(X)),)


def fit_spectral(form, X):
    return (shoal.SpectralClustering(K, random_state=0, gamma=0.1).fit(form(X)),)


def silhouettes(form, X):
    return (
        shoal.silhouette_samples(form(X), form(LABELS)),
        shoal.silhouette_samples(form(X), form(LABELS), metric="cosine"),
    )


FITS = [value for name, value in globals().items() if name.startswith(("fit_", "silhouettes"))]


def parts(found):
    for value in found:
        if isinstance(value, tuple):
            yield from value
        elif hasattr(value, "get_params"):
            yield from (v for _, v in sorted(public_attributes(value).items()))
        else:
            yield value


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.__name__)
def test_same_bits(fit, name, dtype):
    """The answer is that of plain arrays, to the bit."""
    if name == "swapped":
        expected = fit(np.array, X.astype("f8"))  # as scikit-learn converts what is not native
    else:
        expected = fit(np.array, X.astype(dtype))
    found = fit(FORMS[name], X.astype(dtype if name != "swapped" else "f8"))
    for a, b in zip(parts(found), parts(expected), strict=True):
        if not isinstance(b, (str, type(None))):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_csr(dtype):
    rows = sp.csr_array(np.where(X > 0, X, 0).astype(dtype))
    parts = (named(rows.data), named(rows.indices), named(rows.indptr))
    found = shoal.KMeans(K, random_state=0).fit(sp.csr_array(parts, rows.shape))
    expected = shoal.KMeans(K, random_state=0).fit(rows)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.predict(sp.csr_array(parts, rows.shape)), found.labels_)
    assert found.inertia_ == expected.inertia_


def test_precomputed():
    distances = np.sqrt(((X[:, None] - X) ** 2).sum(axis=2))
    for make, given in (
        (lambda: shoal.DBSCAN(eps=2.0, metric="precomputed"), distances),
        (lambda: shoal.SpectralClustering(K, affinity="precomputed", random_state=0),
         np.exp(-distances)),
        (lambda: shoal.AgglomerativeClustering(K, metric="precomputed", linkage="average"),
         distances),
    ):  # fmt: skip
        found = make().fit_predict(named(given))
        np.testing.assert_array_equal(found, make().fit_predict(given))
    found = shoal.silhouette_samples(named(distances), LABELS, metric="precomputed")
    expected = shoal.silhouette_samples(distances, LABELS, metric="precomputed")
    np.testing.assert_array_equal(found, expected)
