"""One random case of a family: run it, see whether it is a finding, and make it small.

A case is a family, a seed and `Changes`. The family's module in trials/ draws a problem from the
seed and judges the answers; conditions.py draws how shoal solves it.
"""

import contextlib
import dataclasses
import functools
import importlib
from dataclasses import dataclass, field
from unittest import mock

import numpy as np
import scipy.sparse as sp

from fuzzing.conditions import Conditions, Dressed, draw_conditions
from helpers.outcomes import public_attributes
from trials.report import as_list, in_words

FAMILIES = (
    "kmeans",
    "minibatch",
    "bisecting",
    "agglomerative",
    "dbscan",
    "hdbscan",
    "optics",
    "mixture",
    "spectral",
    "silhouette",
    "sources",
    "surface",
    "hostile",
)
SELF_MADE = ("sources", "surface", "hostile")  # which draw forms, threads and sizes themselves
NEEDS = dict.fromkeys(("sources", "hostile"), ("h5py", "zarr", "pyarrow"))


def available(family):
    """Whether what a family's trials import is installed."""
    return all(importlib.util.find_spec(name) for name in NEEDS.get(family, ()))


@dataclass(frozen=True)
class Changes:
    """What is different from the case that the seed draws: it was made smaller."""

    fields: dict = field(default_factory=dict)  # of the trial
    params: tuple = ()  # of the estimator, that are left at their defaults
    rows: list | None = None
    columns: list | None = None
    decimals: int | None = None
    conditions: dict = field(default_factory=dict)


def module_of(family):
    return importlib.import_module(f"trials.{family}")


def change(drawn, changes):
    """The trial (or the first of a tuple) with changes."""
    if isinstance(drawn, tuple):
        return change(drawn[0], changes), *drawn[1:]
    trial = dataclasses.replace(drawn, **changes.fields)
    if changes.params:
        kept = [pair for pair in trial.params if pair[0] not in changes.params]
        trial = dataclasses.replace(trial, params=tuple(kept))
    if changes.rows is None and changes.columns is None and changes.decimals is None:
        return trial
    n, d = trial.n, getattr(trial, "d", 0)
    rows = np.arange(n) if changes.rows is None else np.array(changes.rows)
    columns = np.arange(d) if changes.columns is None else np.array(changes.columns)
    cut = functools.partial(cut_value, shape=(n, d), rows=rows, columns=columns,
                            decimals=changes.decimals)  # fmt: skip
    smaller = {"n": len(rows), "d": len(columns)}
    if getattr(trial, "k", 0) > len(rows):
        smaller["k"] = len(rows)
    smaller = dataclasses.replace(trial, **smaller)

    def cut_call(method):
        def call(self, *args, **kwargs):
            found = method(*args, **kwargs)
            return tuple(map(cut, found)) if isinstance(found, tuple) else cut(found)

        return call

    methods = {
        name: cut_call(getattr(trial, name)) for name in ("data", "problem") if hasattr(trial, name)
    }
    object.__setattr__(smaller, "__class__", type("Trial", (type(trial),), methods))
    return smaller


def cut_value(value, shape, rows, columns, decimals):
    """Some rows and columns of what has all of them; anything else as it is."""
    if not isinstance(value, np.ndarray) and not sp.issparse(value):
        return value
    if value.ndim == 0 or value.shape[0] != shape[0]:
        return value
    layout = "F" if isinstance(value, np.ndarray) and value.flags.f_contiguous else "C"
    is_square = value.ndim == 2 and value.shape[1] == shape[0] != shape[1]
    value = value[rows]
    if value.ndim == 2:
        if is_square:
            value = value[:, rows]
        elif value.shape[1] == shape[1]:
            value = value[:, columns]
    if decimals is not None and value.dtype.kind == "f":
        value = value.round(decimals)
    return value if sp.issparse(value) else np.array(value, order=layout)


def conditions_of(family, seed, changes):
    if family in SELF_MADE:
        return Conditions()
    drawn = draw_conditions(seed)
    changed = dict(changes.conditions)
    if "sizes" in changed:
        changed["sizes"] = {name: drawn.sizes[name] for name in changed["sizes"]}
    return dataclasses.replace(drawn, **changed)


@dataclass
class Finding:
    """What a case showed: a difference with its reason; `is_bug` where there is no excuse."""

    kind: str
    words: str

    @property
    def is_bug(self):
        return self.kind.startswith("BUG")


class Case:
    """The trial and the conditions of a seed, with changes."""

    def __init__(self, family, seed, changes=None):
        self.family, self.seed, self.changes = family, seed, changes or Changes()
        self.conditions = conditions_of(family, seed, self.changes)
        self.library = Dressed(self.conditions)

    @functools.cached_property
    def trial(self):
        return change(module_of(self.family).draw_trial(self.seed), self.changes)

    def run(self):
        """Findings, none where all is as in scikit-learn."""
        module = module_of(self.family)
        with contextlib.ExitStack() as stack:
            patch = functools.partial(mock.patch.object, module)
            trial = self.trial  # drawn before that is replaced
            stack.enter_context(patch("draw_trial", lambda seed: trial))
            if self.family not in SELF_MADE:
                stack.enter_context(patch("shoal", self.library))
            results = as_list(module.check_seed(self.seed))
            found = [
                Finding(f"{name} {reason}".strip() if not reason.startswith("BUG") else reason,
                        in_words(words))
                for name, _, words, reason in results
            ]  # fmt: skip
            return found or self._other_threads()

    def _other_threads(self):
        """A finding where the first fit has other bits with another number of threads."""
        if not self.library.calls or "." not in self.library.calls[0][0]:
            return []
        name, params, args, kwargs = self.library.calls[0]
        estimator, method = name.split(".")
        bits = []
        for threads in (1, 2 + self.seed % 2):
            conditions = dataclasses.replace(self.conditions, threads=threads)
            library = Dressed(conditions)
            model = getattr(library, estimator)(**_copied(params))
            try:
                with np.errstate(all="ignore"):
                    getattr(model, method)(*args, **kwargs)
            except Exception as error:
                bits.append({"error": repr(error)})
            else:
                bits.append({k: _bits(v) for k, v in public_attributes(model).items()})
        names = [key for key in bits[0] if bits[0][key] != bits[1].get(key)]
        return [Finding("BUG: other bits with other threads", ", ".join(names))] if names else []


def _copied(params):
    """Parameters whose generators are as they were before the fit."""
    copied = dict(params)
    if isinstance(copied.get("random_state"), np.random.RandomState):
        copied["random_state"] = np.random.RandomState()
        copied["random_state"].set_state(params["random_state"].get_state())
    return copied


def _bits(value):
    if sp.issparse(value):
        return value.data.tobytes(), value.indices.tobytes()
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.str, np.shape(value), value.tobytes()
    return repr(value)


def run_case(family, seed, changes=None):
    return Case(family, seed, changes).run()
