"""Rows, weights and labels in every form that NumPy and SciPy have, and in some that are faults.

Each is a function of a generator and of the rows, or of their number.
"""

import numpy as np
import scipy.sparse as sp


def with_value(value):
    def put(rng, X):
        X = np.array(X)
        if X.size:
            X.flat[rng.integers(X.size)] = value
        return X

    return put


def sparse(form, change=lambda X: X):
    return lambda rng, X: change(sp.csr_array(np.where(rng.random(X.shape) < 0.6, X, 0))).asformat(
        form
    )


def unsorted(X):
    """Each row's values in another order."""
    X = X.copy()
    for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        order = np.random.default_rng(int(start)).permutation(stop - start)
        X.indices[start:stop] = X.indices[start:stop][order]
        X.data[start:stop] = X.data[start:stop][order]
    X.has_sorted_indices = False
    return X


def twice(X):
    """Entries that are given in two parts."""
    X = X.tocoo()
    both = [np.concatenate([part, part]) for part in (X.data / 2, X.row, X.col)]
    return sp.coo_array((both[0], (both[1], both[2])), shape=X.shape).tocsr()


def wide(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


FORMS = {
    "float64": lambda rng, X: X,
    "float32": lambda rng, X: X.astype("f4"),
    "Fortran": lambda rng, X: np.asfortranarray(X),
    "backwards": lambda rng, X: X[::-1, ::-1],
    "big-endian": lambda rng, X: X.astype(">f4"),
    "integers": lambda rng, X: np.clip(X, -1e6, 1e6).astype("i4"),
    "bytes": lambda rng, X: np.clip(np.abs(X), 0, 255).astype("u1"),
    "truth values": lambda rng, X: X > 0,
    "half": lambda rng, X: np.clip(X, -6e4, 6e4).astype("f2"),
    "long double": lambda rng, X: X.astype(np.longdouble),
    "list": lambda rng, X: X.tolist(),
    "tuples": lambda rng, X: tuple(map(tuple, X.tolist())),
    "objects": lambda rng, X: X.astype(object),
    "strings of numbers": lambda rng, X: X.astype(str),
    "strings": lambda rng, X: np.full(X.shape, "x"),
    "mixed": lambda rng, X: [[1.0, "x"], [2.0, None]],
    "complex": lambda rng, X: X + 1j,
    "dates": lambda rng, X: np.zeros(X.shape, "M8[s]"),
    "records": lambda rng, X: np.zeros(len(X), [("a", "f8"), ("b", "f8")]),
    "masked": lambda rng, X: np.ma.masked_greater(X, 1),
    "one row": lambda rng, X: X[:1],
    "one value": lambda rng, X: X[:1, :1],
    "one column": lambda rng, X: X[:, :1],
    "equal rows": lambda rng, X: np.repeat(X[:1], len(X), axis=0),
    "zeros": lambda rng, X: np.zeros_like(X),
    "no rows": lambda rng, X: X[:0],
    "no features": lambda rng, X: X[:, :0],
    "vector": lambda rng, X: X[:, 0],
    "cube": lambda rng, X: X[:, :, None],
    "scalar": lambda rng, X: 3.0,
    "nothing": lambda rng, X: None,
    "NaN": with_value(np.nan),
    "infinite": with_value(np.inf),
    "huge value": with_value(1e200),
    "largest": with_value(np.finfo("f8").max),
    "huge": lambda rng, X: X * 1e160,
    "tiny": lambda rng, X: X * 1e-200,
    "subnormal": lambda rng, X: X * 1e-310,
    "subnormal float32": lambda rng, X: (X * 1e-41).astype("f4"),
    "csr": sparse("csr"),
    "csc": sparse("csc"),
    "coo": sparse("coo"),
    "lil": sparse("lil"),
    "dok": sparse("dok"),
    "csr float32": sparse("csr", lambda X: X.astype("f4")),
    "csr integers": sparse("csr", lambda X: (10 * X).astype("i4")),
    "csr unsorted": sparse("csr", unsorted),
    "csr wide": sparse("csr", wide),
    "csr twice": sparse("csr", twice),
    "csr NaN": sparse("csr", lambda X: X * np.nan),
    "csr zeros": sparse("csr", lambda X: X * 0),
    "csr matrix": lambda rng, X: sp.csr_matrix(X),
    "csr no rows": lambda rng, X: sp.csr_array((0, X.shape[1])),
}
SOUND = ("float64", "float32", "Fortran", "backwards", "integers", "csr", "csr float32", "list")
WEIGHTS = {
    "random": lambda rng, n: rng.random(n),
    "float32": lambda rng, n: rng.random(n).astype("f4"),
    "integers": lambda rng, n: rng.integers(0, 4, n),
    "truth values": lambda rng, n: rng.random(n) < 0.7,
    "list": lambda rng, n: rng.random(n).tolist(),
    "zeros": lambda rng, n: np.zeros(n),
    "some zeros": lambda rng, n: rng.random(n) * (rng.random(n) < 0.5),
    "negative": lambda rng, n: rng.random(n) - 0.5,
    "NaN": lambda rng, n: np.full(n, np.nan),
    "infinite": lambda rng, n: np.full(n, np.inf),
    "huge": lambda rng, n: rng.random(n) * 1e300,
    "tiny": lambda rng, n: rng.random(n) * 1e-300,
    "too short": lambda rng, n: rng.random(n - 1),
    "matrix": lambda rng, n: rng.random((n, 1)),
    "scalar": lambda rng, n: 2.0,
    "whole": lambda rng, n: 3,
    "strings": lambda rng, n: np.full(n, "x"),
    "objects": lambda rng, n: rng.random(n).astype(object),
    "complex": lambda rng, n: rng.random(n) + 1j,
    "backwards": lambda rng, n: rng.random(n)[::-1],
}
LABELS = {
    "few": lambda rng, n: rng.integers(0, 3, n),
    "noise": lambda rng, n: rng.integers(-1, 3, n),
    "words": lambda rng, n: np.array(["b", "a", "c"])[rng.integers(0, 3, n)],
    "one": lambda rng, n: np.zeros(n, int),
    "all": lambda rng, n: np.arange(n),
    "floats": lambda rng, n: rng.integers(0, 3, n) / 2,
    "list": lambda rng, n: rng.integers(0, 3, n).tolist(),
    "too short": lambda rng, n: rng.integers(0, 3, n - 1),
    "column": lambda rng, n: rng.integers(0, 3, (n, 1)),
    "NaN": lambda rng, n: np.full(n, np.nan),
    "nothing": lambda rng, n: None,
}
