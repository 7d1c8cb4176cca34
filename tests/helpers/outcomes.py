"""What a call did: its value or error, its warnings and its output, and how two calls differ."""

import contextlib
import io
import re
import warnings
from dataclasses import dataclass, field

import numpy as np

# Relative tolerance of floating results by the dtype of the data.
RTOL = {np.dtype("f4"): 1e-4, np.dtype("f8"): 1e-8}

# NumPy's own floating point warnings tell of an implementation's arithmetic, not of the data.
ARITHMETIC = re.compile(r"(overflow|underflow|invalid value|divide by zero) encountered")


@dataclass
class Outcome:
    value: object = None
    error: tuple | None = None
    warned: list = field(default_factory=list)
    printed: str = ""


def sorted_sets(text):
    """The text with the words of each set in it sorted: their order changes from run to run."""
    return re.sub(
        r"{[^{}]*}", lambda found: "{" + ", ".join(sorted(found[0][1:-1].split(", "))) + "}", text
    )


def outcome(call, *args, **kwargs):
    """Run call and record everything that a user would see of it."""
    result = Outcome()
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        try:
            result.value = call(*args, **kwargs)
        except Exception as error:
            result.error = (type(error), sorted_sets(str(error)))
    result.printed = printed.getvalue()
    result.warned = [
        (w.category, str(w.message)) for w in caught if not ARITHMETIC.search(str(w.message))
    ]
    return result


def public_attributes(estimator):
    """Fitted attributes by name, scikit-learn's convention of a trailing underscore."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("_")
    }


def snapshot(estimator):
    """A copy of an estimator's whole state that later changes cannot reach."""
    return {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in vars(estimator).items()
    }


def assert_state(estimator, expected):
    """Assert that an estimator's state is, name by name and bit by bit, the one expected."""
    found = vars(estimator)
    assert set(found) == set(expected)
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert found[name].dtype == value.dtype, name
            assert found[name].tobytes() == value.tobytes(), name
        else:
            assert found[name] is value or found[name] == value, name


def assert_same_complaint(ours, theirs):
    """Assert that two calls failed alike (or both did not), and warned alike."""
    assert ours.error == theirs.error
    assert ours.warned == theirs.warned


def data_scale(X):
    """The largest magnitude in X, dense or sparse."""
    values = X.data if hasattr(X, "indptr") else X
    return float(np.abs(values).max(initial=0.0))


def _close(a, b, rtol, atol):
    return bool(np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True))


def inertia_tolerance(X, weight, inertia):
    """How far an inertia may move when data and centers move by one rounding."""
    eps = np.finfo(X.dtype).eps
    total = X.shape[0] if weight is None else float(np.abs(weight).sum())
    step = 4 * eps * data_scale(X) * np.sqrt(total * X.shape[1])
    return RTOL[X.dtype] * abs(inertia) + 2 * step * np.sqrt(abs(inertia)) + step**2


def fit_differences(ours, theirs, X, weight=None):
    """How two outcomes of a fit differ: a dict from the kind of difference to its description.

    Their values are dicts of fitted attributes, together with "draws", the random number that
    the generator handed to the fit gives next.
    """
    found = {}
    if ours.error != theirs.error:
        return {"error": f"{ours.error} against {theirs.error}"}
    if ours.warned != theirs.warned:
        found["warnings"] = f"{ours.warned} against {theirs.warned}"
    if ours.error is not None:
        return found
    a, b = ours.value, theirs.value
    if set(a) != set(b):
        found["attributes"] = f"{sorted(a)} against {sorted(b)}"
        return found
    for name in sorted(b):
        if type(a[name]) is not type(b[name]):
            found["types"] = f"{name}: {type(a[name])} against {type(b[name])}"
        elif isinstance(b[name], np.ndarray):
            ours_form, theirs_form = _form(a[name]), _form(b[name])
            if ours_form != theirs_form:
                found["types"] = f"{name}: {ours_form} against {theirs_form}"
    if "types" not in found:
        found |= _value_differences(a, b, X, weight)
    return found


def _form(array):
    return array.dtype, array.shape, array.flags.c_contiguous, array.flags.writeable


def _value_differences(a, b, X, weight):
    found = {}
    rtol = RTOL[X.dtype]
    moved = int((a["labels_"] != b["labels_"]).sum())
    if moved:
        found["labels"] = f"{moved} of {len(b['labels_'])} labels"
    if a["n_iter_"] != b["n_iter_"]:
        found["n_iter"] = f"{a['n_iter_']} iterations against {b['n_iter_']}"
    ours, theirs = a["cluster_centers_"], b["cluster_centers_"]
    if not _close(ours, theirs, rtol, rtol * data_scale(X)):
        found["centers"] = f"centers by up to {np.abs(ours - theirs).max():.3g}"
    ours, theirs = a["inertia_"], b["inertia_"]
    if not _close(ours, theirs, 0, inertia_tolerance(X, weight, theirs)):
        found["inertia"] = f"inertia {ours!r} against {theirs!r}"
    if a["n_features_in_"] != b["n_features_in_"]:
        found["n_features_in"] = f"{a['n_features_in_']} against {b['n_features_in_']}"
    if a.get("draws") != b.get("draws"):
        found["draws"] = "another number of random draws"
    return found
