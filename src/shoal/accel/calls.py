"""What patched calls did: a line for each kind of call, the log, and `report`."""

import logging
import threading
from collections.abc import Iterator
from time import perf_counter
from typing import Any, NamedTuple

from shoal.core import parallel

LOGGER = logging.getLogger("shoal")
MOST_KINDS = 1000  # shapes beyond that many kinds of calls are not told apart


class Kind(NamedTuple):
    """What the calls of one line of the table have in common."""

    call: str
    shape: tuple | None
    where: str  # "shoal", or the package that is patched
    why: str  # empty for shoal


class Calls:
    """Counts, seconds and bytes of each kind of call. Safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[Kind, list] = {}
        self.names: list[str] = []  # what had been imported before and was changed too
        self.watchers: list = []  # are told when each call began and ended

    def add(self, kind: Kind, begun: float, n_bytes: int) -> None:
        """One more call, which ends now."""
        ended = perf_counter()
        seconds = ended - begun
        for watcher in self.watchers:
            watcher.add((begun, ended, f"{kind.call} {words(kind.shape)} in {kind.where}"))
        with self._lock:
            total = self._totals.get(kind)
            if total is None:
                if len(self._totals) >= MOST_KINDS:
                    kind = kind._replace(shape=None)
                total = self._totals.setdefault(kind, [0, 0.0, 0])
            total[0] += 1
            total[1] += seconds
            total[2] += n_bytes
        if LOGGER.isEnabledFor(logging.INFO):
            reason = f" ({kind.why})" if kind.why else ""
            LOGGER.info(
                "%s %s: %s%s, %.6f s", kind.call, words(kind.shape), kind.where, reason, seconds
            )

    def lines(self) -> Iterator["Line"]:
        """The table: what took longest first."""
        with self._lock:
            found = [Line(*kind, *total) for kind, total in self._totals.items()]
        yield from sorted(found, key=lambda line: -line.seconds)

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._totals.clear()


class Line(NamedTuple):
    """A line of the report.

    Attributes
    ----------
    call : str
        Class and method, or function.
    shape : tuple or None
        Of X; None where it has none, or stands for the many beyond 1000 kinds of calls.
    where : {'shoal', 'scikit-learn', 'hdbscan'}
        Whose code ran.
    why : str
        Why not shoal's; or which function of it shoal's has called.
    calls : int
        How many there were.
    seconds : float
        Wall-clock time of all of them.
    bytes : int
        Size of X, of all of them.
    """

    call: str
    shape: tuple | None
    where: str
    why: str
    calls: int
    seconds: float
    bytes: int


class Report(list):
    """A list of lines that prints as a table.

    Attributes
    ----------
    names : list of str
        Names in modules imported before the patch that were changed too.
    """

    names: list[str]

    def __str__(self) -> str:
        cells = [("call", "shape", "ran in", "calls", "seconds", "MiB", "why")]
        for line in self:
            size = f"{line.bytes / 2**20:.3f}"
            time = f"{line.seconds:.4f}"
            shape = words(line.shape)
            cells.append((line.call, shape, line.where, str(line.calls), time, size, line.why))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        text = ["shoal: calls under the patch in this process"]
        for row in cells:
            padded = [
                cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            text.append("  ".join(padded).rstrip())
        if not self:
            text[1:] = ["none"]
        places = ["shoal", "scikit-learn"]
        places += ["hdbscan"] if any(line.where == "hdbscan" for line in self) else []
        text.append(", ".join(self._total(place) for place in places))
        if self.names:
            text.append(f"imported before the patch and changed too: {', '.join(self.names)}")
        return "\n".join(text)

    __repr__ = __str__

    def _total(self, place: str) -> str:
        lines = [line for line in self if line.where == place]
        calls, seconds = (
            sum(getattr(line, what) for line in lines) for what in ("calls", "seconds")
        )
        return f"{place}: {calls} calls, {seconds:.4f} s"


_NUMBERS = (3, 4, 5)


def words(shape: tuple | None) -> str:
    """A shape as people write it."""
    return "" if shape is None else " x ".join(map(str, shape))


def shape_and_bytes(args: tuple, kwargs: dict) -> tuple[tuple | None, int]:
    """Of the first argument, or of X or what else data are called."""
    data = args[0] if args else next((kwargs[n] for n in ("X", "affinity") if n in kwargs), None)
    shape = getattr(data, "shape", None)
    if not isinstance(shape, tuple):
        return ((len(data),), 0) if isinstance(data, (list, tuple)) else (None, 0)
    n_bytes = getattr(data, "nbytes", None)
    if n_bytes is None and hasattr(data, "indptr"):
        n_bytes = data.data.nbytes + data.indices.nbytes + data.indptr.nbytes
    return shape, n_bytes if isinstance(n_bytes, int) else 0


CALLS = Calls()


class Recorded:
    """A call that is timed and counted when it ends; one that raises is not counted.

    Parameters
    ----------
    call : str
        Class and method, or function.
    obstacle : str or None
        Why the code of the package that is patched runs; it may be set later. So may `asked`,
        the function of scikit-learn's that ours has called.
    args, kwargs : tuple, dict
        Arguments of the call.
    package : str
        Where code runs that is not ours.
    """

    def __init__(
        self,
        call: str,
        obstacle: str | None,
        args: tuple,
        kwargs: dict,
        package: str = "scikit-learn",
    ) -> None:
        self.call, self.obstacle, self.package, self.asked = call, obstacle, package, ""
        self.shape, self.n_bytes = shape_and_bytes(args, kwargs)

    def __enter__(self) -> "Recorded":
        self._trace = None
        if LOGGER.isEnabledFor(logging.DEBUG):
            self._trace = parallel.trace_runs()
            self._runs = self._trace.__enter__()
        self.begun = perf_counter()
        return self

    def __exit__(self, error: Any, *_: Any) -> None:
        if self._trace is not None:
            self._trace.__exit__(None, None, None)
            for name, n_blocks, n_threads, seconds in self._runs:
                words = "%s: kernel %s, %d blocks, %d threads, %.6f s"
                LOGGER.debug(words, self.call, name, n_blocks, n_threads, seconds)
        if error is None:
            where = "shoal" if self.obstacle is None else self.package
            asked = self.asked and f"scikit-learn's {self.asked} within"
            kind = Kind(self.call, self.shape, where, self.obstacle or asked)
            CALLS.add(kind, self.begun, self.n_bytes)


def report(*, clear: bool = False) -> Report:
    """What the calls under :func:`patch` did: where they ran and why, seconds, bytes.

    Parameters
    ----------
    clear : bool, default=False
        Whether to begin anew after this report.

    Returns
    -------
    report : list of Line
        One for each class and method, shape and place, what took longest first; it prints as
        a table. A line has the attributes `call`, `shape`, `where`, `why`, `calls`, `seconds`
        and `bytes` (of X). Calls in other processes are not known here. The attribute
        `names` lists what had been imported before the patch and was changed too.

    Examples
    --------
    >>> import numpy as np
    >>> import shoal
    >>> from sklearn.cluster import KMeans
    >>> before = shoal.report(clear=True)
    >>> with shoal.patched():
    ...     fitted = KMeans(2, random_state=0).fit(np.eye(4))
    >>> line = shoal.report(clear=True)[0]
    >>> line.call, line.shape, line.where
    ('KMeans.fit', (4, 4), 'shoal')
    """
    found = Report(CALLS.lines())
    found.names = list(CALLS.names)
    if clear:
        CALLS.clear()
    return found
