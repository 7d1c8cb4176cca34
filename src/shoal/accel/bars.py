"""`progress`: a bar for every fit that takes longer than a second.

A fit tells what it does by tasks (core/callbacks.py): runs, and passes within them. One thread
looks at the fits that are under way a few times a second, and shows those that have been so for
a second: by rich where it is installed, in lines otherwise.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from time import perf_counter, sleep
from typing import Any

from shoal.accel import workers
from shoal.core.callbacks import set_watcher

PATIENCE = 1.0  # seconds before a fit is shown
REFRESH = 0.2  # seconds between two looks
LINE_GROWTH = 1.5  # each line of a fit comes after that many times the time of the last


class Fit:
    """A fit that is under way.

    Attributes
    ----------
    levels : list of [name, done, most]
        Of the tasks that have begun, the outermost first: how many of the tasks within it
        are done, and how many there are at most (0 or None: not known).
    """

    def __init__(self, name: str) -> None:
        self.name, self.begun = name, perf_counter()
        self.levels: list[list] = []
        self.shown: Any = None  # what a display keeps

    def seconds(self) -> float:
        """Since it began."""
        return perf_counter() - self.begun

    def fraction(self) -> float:
        """What is done of the most that there may be; 0 where that is not known."""
        fraction, share = 0.0, 1.0
        for _, done, most in list(self.levels):
            if not most:
                break
            share /= most
            fraction += share * done
        return min(fraction, 1.0)

    def words(self) -> str:
        """Which passes are done."""
        levels = list(self.levels)
        names = [level[0] for level in levels[1:]] + ["pass"]
        parts = [
            f"{name} {min(done + 1, most)} of at most {most}"
            for (_, done, most), name in zip(levels, names, strict=False)
            if most and most > 1
        ]
        return ", ".join(parts)

    def left(self) -> str:
        """The time that is left, at most."""
        fraction = self.fraction()
        if not fraction:
            return ""
        return f"at most {self.seconds() * (1 - fraction) / fraction:.0f} s left"


class FitLevel:
    """A task of a fit, as its `subtask` and `end` tell."""

    def __init__(self, fit: Fit, name: str, most: int | None) -> None:
        self.fit, self.depth = fit, len(fit.levels)
        fit.levels.append([name, 0, most])

    def subtask(self, name: str, max_subtasks: int | None) -> "FitLevel":
        """The next task within this one begins."""
        del self.fit.levels[self.depth + 1 :]
        return FitLevel(self.fit, name, max_subtasks)

    def end(self) -> None:
        """One more task of the level above is done."""
        del self.fit.levels[max(self.depth, 1) :]
        if self.depth:
            self.fit.levels[self.depth - 1][1] += 1


class Lines:
    """Shows fits as lines on standard error."""

    def show(self, fit: Fit) -> None:
        """A line, where it is time for one."""
        seconds = fit.seconds()
        if fit.shown is None or seconds >= fit.shown * LINE_GROWTH:
            fit.shown = seconds
            self._print(fit, fit.words(), fit.left())

    def end(self, fit: Fit) -> None:
        """The last line of a fit."""
        self._print(fit, "done")

    def _print(self, fit: Fit, *words: str) -> None:
        text = ", ".join(word for word in (f"{fit.seconds():.1f} s", *words) if word)
        with suppress(OSError, ValueError):  # standard error is gone: a fit must not fail by it
            print(f"{fit.name}: {text}", file=sys.stderr, flush=True)


class Bars:
    """Shows fits as bars of rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}"),
        )
        self._progress = Progress(*columns, console=Console(file=sys.stderr))
        self._n_shown = 0

    def show(self, fit: Fit) -> None:
        """Draw the bar of a fit anew."""
        if fit.shown is None:
            if self._n_shown == 0:
                self._progress.start()
            self._n_shown += 1
            fit.shown = self._progress.add_task(fit.name, total=None, words="")
        fraction = fit.fraction()
        words = ", ".join(word for word in (fit.words(), fit.left()) if word)
        total = 1.0 if fraction else None
        self._progress.update(fit.shown, total=total, completed=fraction, words=words)

    def end(self, fit: Fit) -> None:
        """A full bar."""
        self._progress.update(fit.shown, total=1.0, completed=1.0, words="done")
        self._n_shown -= 1
        if self._n_shown == 0:
            self._progress.stop()
            for task in self._progress.task_ids:
                self._progress.remove_task(task)


def has_viewer() -> bool:
    """Whether standard error is a terminal, or this a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and getattr(shell, "kernel", None) is not None:
        return True
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # none, or closed
        return False


class FitWatcher:
    """Keeps the fits that are under way, and shows those that take long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fits: list[Fit] = []
        self._here = threading.local()  # .fit: the fit of this thread
        self._display: Any = None
        self._process: int | None = None  # in which the thread runs
        self._wake = threading.Event()
        self._ended = False

    @contextmanager
    def fit(self, estimator: Any) -> Iterator[None]:
        """Within it, the estimator is fitted; one within another is part of that."""
        if getattr(self._here, "fit", None) is not None or not has_viewer():
            yield
            return
        fit = self._here.fit = Fit(type(estimator).__name__)
        if self._process != os.getpid():  # a forked child has no such thread
            self._lock, self._fits = threading.Lock(), []
            self._wake, self._process = threading.Event(), os.getpid()
            threading.Thread(target=self._look, daemon=True, name="shoal progress").start()
        with self._lock:
            self._fits.append(fit)
        self._wake.set()
        try:
            yield
        finally:
            self._here.fit = None
            with self._lock:
                self._fits.remove(fit)
                if fit.shown is not None:
                    self._display.end(fit)

    def begin_tasks(self, max_subtasks: int | None) -> FitLevel | None:
        """The tasks of this thread's fit; of one within it none are told."""
        fit = getattr(self._here, "fit", None)
        if fit is None or fit.levels:
            return None
        return FitLevel(fit, "fit", max_subtasks)

    def stop(self) -> None:
        """End the thread."""
        self._ended = True
        self._wake.set()

    def _look(self) -> None:
        while not self._ended:
            self._wake.wait()  # without fits there is nothing to look at
            sleep(REFRESH)
            with self._lock:
                if not self._fits:
                    self._wake.clear()
                for fit in self._fits:
                    if fit.seconds() >= PATIENCE:
                        self._display = self._display or (Bars() if find_spec("rich") else Lines())
                        self._display.show(fit)


class ProgressSwitch:
    """What `progress` returns: at the end of its block things are as they were before."""

    def __init__(self, before: bool) -> None:
        self._before = before

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        _switch(self._before)


_current: list[FitWatcher] = []


def _switch(on: bool) -> None:
    if on == bool(_current):
        return
    if on:
        _current.append(FitWatcher())
    else:
        _current.pop().stop()
    set_watcher(_current[0] if on else None)
    workers.tell_children("progress", on)


def progress(on: bool = True) -> ProgressSwitch:
    """Show a bar for every fit that takes longer than a second, or stop doing so.

    Bars tell passes and the time that is left at most, as a fit may converge before. They are
    drawn by rich where it is installed, and are lines otherwise; nothing is shown where
    standard error is no terminal and this is no notebook. Processes started from now on by
    multiprocessing and joblib show them too.

    Parameters
    ----------
    on : bool, default=True
        Whether to show them.

    Returns
    -------
    switch : context manager
        Used in a ``with`` statement, it makes things as they were before, at the end.

    Examples
    --------
    >>> import numpy as np
    >>> import shoal
    >>> with shoal.progress():
    ...     fitted = shoal.KMeans(2, random_state=0).fit(np.eye(4))
    """
    before = bool(_current)
    _switch(on)
    return ProgressSwitch(before)
