"""What is compared: each file here without a leading underscore declares GROUPS of rows.

To add an estimator, add a file: its rows (how to build a problem of n rows of data), a function
for each engine that can solve it, and the check that their answers agree. Nothing else changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

QUICK = 40  # --quick takes the n-th part of the data
DATA_VARIABLE = "SHOAL_BENCHMARK_DATA"  # the file of own.py; child processes inherit it


@dataclass(frozen=True)
class Engine:
    """One way to solve the problems of a group.

    `prepare(problem)` does what is not timed (conversion, imports, the fit before a predict) and
    returns `run`, a function without arguments; `run()` is timed and returns the answer.
    """

    name: str  # at most 10 characters: a column's heading
    peer: str  # a key of benchmarks.peers.PEERS
    prepare: Callable
    caveat: Callable = lambda problem: ""  # why its time is shown but does not count


@dataclass(frozen=True)
class Row:
    """One problem. `build(n)` makes it with n rows of data; `least` is the smallest sensible n."""

    label: str
    n: int
    least: int
    build: Callable
    memory: bool = True  # measure peak memory as well

    def rows_of_data(self, quick):
        return min(self.n, max(self.n // QUICK, self.least)) if quick else self.n


@dataclass(frozen=True)
class Agreement:
    """How far an answer is from the reference's.

    With a complaint, its time is neither measured nor shown; a remark is printed below the row.
    """

    differing: int  # labels, or whatever else is counted
    inertia: float  # relative difference
    complaint: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Work:
    """The least that any brute-force method must do, and the size of the data."""

    passes: int  # over the data: iterations
    flops: float
    bytes_read: float
    data_bytes: int
    dtype: str


@dataclass(frozen=True)
class Group:
    """Rows that share their engines, their check and a geometric mean.

    The first engine is the reference of the check; shoal is the one named "shoal".
    """

    key: str
    title: str
    engines: tuple
    rivals: tuple  # names of the engines whose fastest is the yardstick
    rows: tuple
    check: Callable  # (problem, reference's answer, answer, exact) -> Agreement
    work: Callable  # (problem, reference's answer) -> Work
    settle: Callable = lambda problem, reference: problem  # adapt to what the reference did


def groups():
    """Return the groups of all case files."""
    names = sorted(m.name for m in iter_modules(__path__) if not m.name.startswith("_"))
    modules = (import_module(f"{__name__}.{name}") for name in names)
    return [group for module in modules for group in module.GROUPS]


def find(key, label):
    """Return the group of this key and its row of this label."""
    group = next(group for group in groups() if group.key == key)
    return group, next(row for row in group.rows if row.label == label)
