"""`--profile FILE`: calls and the kernels in them, as a file for https://www.speedscope.app."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from shoal.accel import calls
from shoal.core import parallel


class Interval(NamedTuple):
    """When something ran, in seconds."""

    begun: float
    ended: float
    name: str


class Timeline:
    """Intervals of each thread: kernels, which `trace_runs` appends, and patched calls."""

    def __init__(self) -> None:
        self.begun = perf_counter()
        self.threads: dict[str, list[Interval]] = {}

    def append(self, kernel_run: tuple) -> None:
        """A run of a kernel, which has just ended: kernel, blocks, threads, seconds."""
        ended = perf_counter()
        name, _, n_threads, seconds = kernel_run
        self.add(Interval(ended - seconds, ended, f"{name} ({n_threads} threads)"))

    def add(self, interval: tuple) -> None:
        """An interval of this thread: begin, end, name."""
        thread = threading.current_thread().name
        self.threads.setdefault(thread, []).append(Interval(*interval))

    def speedscope(self) -> dict:
        """The timeline as speedscope's JSON: one profile a thread, of nested intervals."""
        names: dict[str, int] = {}
        profiles = []
        ended = perf_counter() - self.begun
        for thread, intervals in self.threads.items():
            events = []
            open_ones: list[Interval] = []
            # outer intervals first; one that ends last is the outermost
            for interval in sorted(intervals, key=lambda i: (i.begun, -i.ended)):
                while open_ones and open_ones[-1].ended <= interval.begun:
                    events.append(self._event("C", open_ones.pop(), names))
                if open_ones:  # clocks are read one after the other
                    interval = interval._replace(ended=min(interval.ended, open_ones[-1].ended))
                open_ones.append(interval)
                events.append(self._event("O", interval, names))
            while open_ones:
                events.append(self._event("C", open_ones.pop(), names))
            profiles.append(
                {
                    "type": "evented",
                    "name": thread,
                    "unit": "seconds",
                    "startValue": 0,
                    "endValue": ended,
                    "events": events,
                }
            )
        return {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "exporter": "shoal",
            "name": " ".join(sys.argv),
            "shared": {"frames": [{"name": name} for name in names]},
            "profiles": profiles,
        }

    def _event(self, kind: str, interval: Interval, names: dict[str, int]) -> dict:
        at = (interval.begun if kind == "O" else interval.ended) - self.begun
        return {"type": kind, "frame": names.setdefault(interval.name, len(names)), "at": at}


def start_profile(path: str) -> Callable[[], None]:
    """Record from now on; the function returned writes the file."""
    file = Path(path).absolute()  # the code may change folders
    try:
        file.touch()
    except OSError as error:
        sys.exit(f"--profile {path}: {error.strerror}")
    timeline = Timeline()
    context = parallel.trace_runs(timeline)
    context.__enter__()
    calls.CALLS.watchers.append(timeline)

    def write() -> None:
        calls.CALLS.watchers.remove(timeline)
        context.__exit__(None, None, None)
        file.write_text(json.dumps(timeline.speedscope()))

    return write
