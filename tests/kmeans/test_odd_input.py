"""Unusual forms and sizes of input give what they give in scikit-learn."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from hypothesis import given
from hypothesis import strategies as st

import shoal
from helpers.outcomes import fit_differences, outcome
from trials.diagnosis import inconsistent
from trials.forms import unsorted
from trials.problems import blobs, fitted

BASE = np.round(blobs(np.random.default_rng(0), 60, 5), 3)
THREE_ROWS = np.eye(3, dtype=bool)[np.arange(60) % 3]
WHOLE = np.clip(np.round(BASE * 5), -100, 100)


def strided(X):
    wide = np.zeros((2 * len(X), 3 * X.shape[1]))
    wide[::2, ::3] = X
    return wide[::2, ::3]


def unaligned(X):
    buffer = bytearray(X.nbytes + 1)
    found = np.frombuffer(buffer, dtype=X.dtype, offset=1).reshape(X.shape)
    found[:] = X
    assert not found.flags.aligned
    return found


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


class Wrapped:
    """Anything that NumPy can turn into an array."""

    def __init__(self, X):
        self.X = X
        self.shape = X.shape

    def __len__(self):
        return len(self.X)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.X, dtype=dtype)


class Subclass(np.ndarray):
    pass


DENSE = {
    "list": lambda X: X.tolist(),
    "tuple of arrays": tuple,
    "int8": lambda X: WHOLE.astype("i1"),
    "int32": lambda X: WHOLE.astype("i4"),
    "int64": lambda X: WHOLE.astype("i8") * 2**40,
    "uint8": lambda X: np.abs(WHOLE).astype("u1"),
    "bool": lambda X: THREE_ROWS,
    "float16": lambda X: X.astype("f2"),
    "long double": lambda X: X.astype(np.longdouble),
    "big-endian float32": lambda X: X.astype(">f4"),
    "big-endian float64": lambda X: X.astype(">f8"),
    "big-endian int": lambda X: WHOLE.astype(">i4"),
    "objects": lambda X: X.astype(object),
    "strings of numbers": lambda X: X.astype("U8"),
    "strided": strided,
    "backwards": lambda X: X[::-1, ::-1],
    "Fortran": np.asfortranarray,
    "Fortran float32": lambda X: np.asfortranarray(X, dtype="f4"),
    "transposed columns": lambda X: np.repeat(X.T, 2, axis=0)[::2].T,
    "broadcast": lambda X: np.broadcast_to(X[:1], (9, X.shape[1])),
    "unaligned": unaligned,
    "unaligned float32": lambda X: unaligned(X.astype("f4")),
    "read-only": read_only,
    "read-only float32": lambda X: read_only(X.astype("f4")),
    "subclass": lambda X: X.view(Subclass),
    "wrapped": Wrapped,
    "one column": lambda X: X[:, :1],
    "one row of many": lambda X: X[:3, :],
}


def with_zeros(X, form=sp.csr_array):
    return form(np.where(X > 1, X, 0))


def explicit_zeros(X):
    found = sp.csr_array(X)
    found.data[::3] = 0
    return found


def frozen(X):
    found = with_zeros(X)
    for part in (found.data, found.indices, found.indptr):
        part.flags.writeable = False
    return found


SPARSE = {
    "csr_matrix": lambda X: with_zeros(X, sp.csr_matrix),
    "csc_array": lambda X: with_zeros(X, sp.csc_array),
    "coo_matrix": lambda X: with_zeros(X, sp.coo_matrix),
    "lil_array": lambda X: with_zeros(X, sp.lil_array),
    "dok_array": lambda X: with_zeros(X, sp.dok_array),
    "bsr_array": lambda X: sp.bsr_array(X),
    "dia_array": lambda X: with_zeros(X, sp.dia_array),
    "csr of int": lambda X: with_zeros(WHOLE.astype("i8")),
    "csr of bool": lambda X: sp.csr_array(THREE_ROWS),
    "csr float32": lambda X: with_zeros(X.astype("f4")),
    "unsorted": lambda X: unsorted(with_zeros(X)),
    "explicit zeros": explicit_zeros,
    "read-only": frozen,
    "empty rows": lambda X: sp.csr_array(np.where(np.arange(60)[:, None] % 3 == 0, X, 0)),
    "nothing but zeros": lambda X: sp.csr_array((9, 4)),
    "empty columns": lambda X: sp.csr_array(np.where(np.arange(5) % 2 == 0, X, 0)),
}
FORMS = DENSE | {f"sparse: {name}": form for name, form in SPARSE.items()}


def as_float(X):
    """X as a fit sees it, for the comparison's tolerances."""
    if sp.issparse(X):
        return sp.csr_array(X, dtype=np.float32 if X.dtype == np.float32 else np.float64)
    X = np.asarray(X)
    return np.asarray(X, dtype=np.float32 if X.dtype.newbyteorder("=") == "f4" else np.float64)


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("name", FORMS)
def test_forms(name, init, algorithm):
    X = FORMS[name](BASE)
    params = {"n_clusters": 3, "init": init, "n_init": 2, "algorithm": algorithm, "max_iter": 20}
    theirs = fitted(sklearn.cluster, params, X, None, 0)
    ours = fitted(shoal, params, X, None, 0)
    assert theirs.error is None
    assert fit_differences(ours, theirs, as_float(X)) == {}


@pytest.mark.parametrize("name", FORMS)
def test_forms_in_methods(name):
    X = FORMS[name](BASE)
    ours, theirs = (
        outcome(library.KMeans(3, random_state=0).fit, X).value
        for library in (shoal, sklearn.cluster)
    )
    ours.cluster_centers_ = theirs.cluster_centers_
    # scikit-learn cannot score read-only sparse data.
    Y = X.copy() if sp.issparse(X) else X
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(Y))
    scale = float(np.abs(theirs.cluster_centers_).max()) + 1
    rtol = 1e-4 if theirs.cluster_centers_.dtype == np.float32 else 1e-7
    np.testing.assert_allclose(ours.transform(X), theirs.transform(Y), rtol=rtol, atol=rtol * scale)
    assert ours.score(X) == pytest.approx(theirs.score(Y), rel=rtol, abs=rtol * scale**2)


@pytest.mark.parametrize("name", FORMS)
def test_forms_in_kmeans_plusplus(name):
    X = FORMS[name](BASE)
    ours = outcome(shoal.kmeans_plusplus, X, 3, random_state=0)
    # scikit-learn computes with integers as they are, where small ones overflow.
    whole = getattr(X, "dtype", np.dtype("f8")).kind in "iub"
    theirs = outcome(
        sklearn.cluster.kmeans_plusplus, as_float(X) if whole else X, 3, random_state=0
    )
    if theirs.error is not None:
        pytest.skip("scikit-learn takes only arrays that can be indexed there")
    assert ours.error is None
    if not (whole and sp.issparse(X)):
        assert ours.value[0].dtype == (X.dtype if whole else theirs.value[0].dtype)
    for a, b in zip(ours.value, theirs.value, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["float32", "float64", "int16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_memmap(tmp_path, kind, order):
    data = np.memmap(tmp_path / "X", dtype=kind, mode="w+", shape=BASE.shape, order=order)
    data[:] = np.round(BASE)
    data.flush()
    X = np.memmap(tmp_path / "X", dtype=kind, mode="r", shape=BASE.shape, order=order)
    params = {"n_clusters": 4, "max_iter": 9}
    theirs = fitted(sklearn.cluster, params, np.array(X), None, 0)
    ours = fitted(shoal, params, X, None, 0)
    assert fit_differences(ours, theirs, as_float(X)) == {}


def test_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(BASE, columns=list("abcde"))
    mixed = frame.astype({"a": "float32", "b": "int64", "c": "Float64"})
    for X in (frame, mixed, frame.astype("float32")):
        theirs = fitted(sklearn.cluster, {"n_clusters": 3}, X, None, 0)
        ours = fitted(shoal, {"n_clusters": 3}, X, None, 0)
        names = [found.value.pop("feature_names_in_") for found in (ours, theirs)]
        np.testing.assert_array_equal(*names)
        dtype = theirs.value["cluster_centers_"].dtype
        assert fit_differences(ours, theirs, X.to_numpy(dtype=dtype)) == {}


@pytest.mark.parametrize(
    "weight",
    [
        *(2, 0.5, np.float32(3), True, list(range(60)), np.arange(60), np.arange(60, dtype="f4")),
        *(np.arange(120.0)[::2], np.arange(60, dtype=">f8"), np.arange(60, dtype=object)),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "dtype", "")),
)
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_forms_of_weights(weight, kind):
    X = BASE.astype(kind)
    theirs = fitted(sklearn.cluster, {"n_clusters": 3}, X, weight, 0)
    ours = fitted(shoal, {"n_clusters": 3}, X, weight, 0)
    assert theirs.error is None
    assert fit_differences(ours, theirs, X, np.ones(60) * np.asarray(weight, dtype="f8")) == {}


@pytest.mark.parametrize(
    "init",
    [
        *(BASE[:3].tolist(), WHOLE[:3].astype(int), BASE[:3].astype("f4"), BASE[:3].astype(">f8")),
        *(np.asfortranarray(BASE[:3]), strided(BASE)[:3], read_only(BASE[:3]), np.str_("random")),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "dtype", "")),
)
@pytest.mark.parametrize("form", ["f4", "f8", "csr"])
def test_forms_of_init(init, form, algorithm):
    X = sp.csr_array(BASE) if form == "csr" else BASE.astype(form)
    params = {"n_clusters": 3, "init": init, "algorithm": algorithm}
    theirs = fitted(sklearn.cluster, params, X, None, 0)
    ours = fitted(shoal, params, X, None, 0)
    assert theirs.error is None
    assert fit_differences(ours, theirs, X) == {}


# Powers of ten at which squares, and their sums and products, still are normal numbers.
SCALES = {"f4": [-15, -8, 8, 15], "f8": [-140, -60, 60, 140]}
# Powers at which squares underflow or overflow.
EXTREMES = {"f4": [-43, -30, -21, 20, 30, 37], "f8": [-320, -250, -170, 160, 250, 306]}


@pytest.mark.parametrize(("kind", "power"), [(kind, p) for kind in SCALES for p in SCALES[kind]])
def test_scales(kind, power, algorithm, layout):
    """Very small and very large values give the answer of ordinary ones."""
    X = (BASE * 10.0**power).astype(kind)
    X = sp.csr_array(X) if layout == "csr" else X
    for init in ("k-means++", "random"):
        params = {"n_clusters": 4, "init": init, "n_init": 1, "algorithm": algorithm}
        theirs = fitted(sklearn.cluster, params, X, None, 0)
        ours = fitted(shoal, params, X, None, 0)
        assert fit_differences(ours, theirs, X) == {}


@pytest.mark.parametrize(
    ("kind", "power"), [(kind, p) for kind in EXTREMES for p in EXTREMES[kind]]
)
def test_extremes(kind, power, algorithm, layout):
    """Beyond these, a fit gives scikit-learn's answer, a better one or its error."""
    X = (BASE * 10.0**power).astype(kind)
    X = sp.csr_array(X) if layout == "csr" else X
    params = {"n_clusters": 3, "algorithm": algorithm, "max_iter": 5}
    theirs = fitted(sklearn.cluster, params, X, None, 0)
    ours = fitted(shoal, params, X, None, 0)
    if ours.error is not None:
        assert ours.error == theirs.error
        return
    assert ours.value["labels_"].shape == (60,)
    assert set(ours.value["labels_"]) <= set(range(3))
    if theirs.error is None and np.isfinite(theirs.value["inertia_"]):
        assert np.isfinite(ours.value["cluster_centers_"]).all()
        assert ours.value["inertia_"] <= theirs.value["inertia_"] * (1 + 1e-4) + np.finfo(kind).tiny


@pytest.mark.parametrize("value", [0.0, 1.0, -0.25, 2.0**20, 0.1, -1e-30, 1e15])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_constant_data(value, k, dtype, algorithm, layout):
    X = np.full((17, 3), value, dtype=dtype)
    start = X[:k]
    X = sp.csr_array(X) if layout == "csr" else X
    # Sums of the others are rounded, and a rounded shift of the centers asks for an iteration.
    rounded = set() if value in (0, 1, -0.25, 2**20) else {"n_iter"}
    for init in ("k-means++", "random", start):
        params = {"n_clusters": k, "init": init, "n_init": 1, "algorithm": algorithm}
        theirs = fitted(sklearn.cluster, params, X, None, 0)
        ours = fitted(shoal, params, X, None, 0)
        assert set(fit_differences(ours, theirs, X)) <= rounded


finite = st.floats(-100, 100, width=32).map(lambda x: round(x, 2))


@st.composite
def small_problems(draw):
    """Few rows of few, often equal values, with weights that often are zero."""
    n, d = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    pool = draw(st.lists(finite, min_size=1, max_size=6))
    values = st.lists(st.sampled_from(pool), min_size=n * d, max_size=n * d)
    X = np.array(draw(values)).reshape(n, d).astype(draw(st.sampled_from(["f4", "f8"])))
    weight = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=n, max_size=n))
    weight = np.array(weight) if any(weight) else None
    k = draw(st.integers(1, n))
    rows = draw(st.permutations(range(n)))[:k]
    X = X[draw(st.permutations(range(n)))]
    return (sp.csr_array(X) if draw(st.booleans()) else X), weight, k, rows


@given(small_problems(), st.sampled_from(["lloyd", "elkan"]), st.sampled_from([0, 1e-4]))
def test_small_problems(problem, algorithm, tol):
    """Whatever rounding decides, results are consistent, and errors and warnings are the same."""
    X, weight, k, rows = problem
    start = X[rows].toarray() if sp.issparse(X) else X[rows]
    for init in ("k-means++", "random", start):
        params = {"n_clusters": k, "init": init, "n_init": 1, "algorithm": algorithm, "tol": tol}
        theirs = fitted(sklearn.cluster, params, X, weight, 1)
        ours = fitted(shoal, params, X, weight, 1)
        assert ours.error == theirs.error
        if theirs.error is None:
            differences = fit_differences(ours, theirs, X, weight)
            assert set(differences) <= {"labels", "n_iter", "centers", "inertia", "warnings"}
            wrong = inconsistent(ours.value, X, weight)
            assert not wrong or inconsistent(theirs.value, X, weight), wrong
