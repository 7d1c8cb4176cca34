"""Make a case small while it shows the same kind of finding, and write it down as a test."""

import dataclasses
import time

import numpy as np
import scipy.sparse as sp

from fuzzing.cases import SELF_MADE, Case, Changes, run_case

SIMPLER = {  # values of a trial's fields that are simpler than any other
    "dtype": "f8",
    "layout": "C",
    "weight": "none",
    "weighted": False,
    "sample_size": None,
    "threads": 1,
    "partial": False,
    "n_init": 1,
    "max_iter": 1,
    "tol": 0.0,
    "init": "random",
}


def shows(family, seed, kind, changes):
    """Whether the case still has a finding of the kind; what cannot be run has none."""
    try:
        return any(finding.kind == kind for finding in run_case(family, seed, changes))
    except Exception:
        return False


def shrink(family, seed, kind, deadline, shows=shows):
    """Changes that make the case small, found until a moment of time.monotonic()."""
    best = Changes()

    def take(changes):
        nonlocal best
        if time.monotonic() > deadline or not shows(family, seed, kind, changes):
            return False
        best = changes
        return True

    case = Case(family, seed)
    for name, value in case.conditions.changed().items():
        simplest = {} if name == "sizes" else dataclasses.fields(case.conditions)
        if name != "sizes":
            simplest = next(f.default for f in simplest if f.name == name)
        take(with_condition(best, name, simplest if name != "sizes" else []))
        if name == "sizes" and "sizes" not in best.conditions:
            for size in value:
                left = [other for other in best.conditions.get("sizes", value) if other != size]
                take(with_condition(best, "sizes", left))
    trial = case.trial[0] if isinstance(case.trial, tuple) else case.trial
    fields = {f.name for f in dataclasses.fields(trial)}
    for name, value in SIMPLER.items():
        if name in fields and getattr(trial, name) != value:
            take(dataclasses.replace(best, fields=best.fields | {name: value}))
    params = getattr(trial, "params", ())
    for name, _ in () if callable(params) else params:
        take(dataclasses.replace(best, params=(*best.params, name)))
    for name in ("n", "d", "k"):
        while name in fields:
            value = best.fields.get(name, getattr(trial, name))
            if value < 2 or not any(
                take(dataclasses.replace(best, fields=best.fields | {name: smaller}))
                for smaller in sorted({value // 4, value // 2, value * 3 // 4, value - 1} - {0})
            ):
                break
    if family in SELF_MADE:
        return best
    size = best.fields.get("n", trial.n), best.fields.get("d", getattr(trial, "d", 1))
    for name, count in zip(("columns", "rows"), reversed(size), strict=True):
        kept = remove_parts(
            list(range(count)),
            lambda left, name=name: take(dataclasses.replace(best, **{name: left})),
        )
        assert kept == (getattr(best, name) or list(range(count)))
    for decimals in range(5):
        if take(dataclasses.replace(best, decimals=decimals)):
            break
    return best


def with_condition(changes, name, value):
    return dataclasses.replace(changes, conditions=changes.conditions | {name: value})


def remove_parts(kept, take):
    """Remove parts of a list, ever smaller ones, while `take` takes what is left."""
    size = len(kept) // 2
    while size:
        start = 0
        while start < len(kept):
            left = kept[:start] + kept[start + size :]
            if left and take(left):
                kept = left
            else:
                start += size
        size //= 2
    return kept


def as_test(family, seed, changes):
    """The first call of a case as a test that can be pasted."""
    case = Case(family, seed, changes)
    case.run()
    lines = [f"# {family}, seed {seed}: {case.conditions.changed() or 'as it is by default'}"]
    if not case.library.calls:
        return "\n".join([*lines, f"# {case.trial}"])
    name, params, args, kwargs = case.library.calls[0]
    estimator, _, method = name.partition(".")
    lines += [f"def test_{family}_{seed}():"]
    names = [written(lines, f"x{i}", value, seed) for i, value in enumerate(args)]
    names += [f"{key}={written(lines, key, value, seed)}" for key, value in kwargs.items()]
    if method:
        given = ", ".join(
            f"{key}={written(lines, key, value, seed)}" for key, value in params.items()
        )
        lines += [f"    params = dict({given})"]
    lines += ["    ours, theirs = ("]
    make = f"library.{estimator}(**params)" if method else "library"
    lines += [f"        {make}.{method or estimator}({', '.join(names)})"]
    lines += ["        for library in (shoal, sklearn.cluster)", "    )"]
    lines += ["    np.testing.assert_array_equal(ours.labels_, theirs.labels_)"] if method else []
    return "\n".join(lines)


def written(lines, name, value, seed):
    """Python source of a value; arrays get a line and a name of their own."""
    if isinstance(value, np.random.RandomState):
        return f"np.random.RandomState({seed})"
    if sp.issparse(value):
        parts = [written(lines, f"{name}_{part}", getattr(value, part), seed)
                 for part in ("data", "indices", "indptr")]  # fmt: skip
        lines += [f"    {name} = sp.csr_array(({', '.join(parts)}), shape={value.shape})"]
        return name
    if isinstance(value, np.ndarray):
        texts = np.vectorize(str, otypes=[object])(value) if value.size else value
        text = str(texts.tolist()).replace("'", "")
        if value.size > 2000:
            text = "..."
        lines += [f"    {name} = np.array({text}, {value.dtype.str!r})"]
        return name
    return getattr(value, "__name__", None) or repr(value)
