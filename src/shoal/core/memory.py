"""How much memory one call adds to the process: what `python -m shoal` and the benchmarks report.

The figure is the resident memory's high-water mark, as the operating system keeps it, so it
counts NumPy's arrays, the kernels' buffers and the thread pools' stacks alike.
"""

import ctypes
import re
import sys
from contextlib import suppress
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None


def added_by(call):
    """Return the bytes by which `call()` raises the peak of resident memory.

    Use a fresh process, load the data, make one small call first (so that imports and thread
    pools are not counted), then measure once.

    Parameters
    ----------
    call : callable
        Called once, without arguments.

    Returns
    -------
    int or None
        None where the system keeps no such mark. Where the mark cannot be set back to the present
        (outside Linux), what was freed before the call hides as much of what the call adds.
    """
    _hand_back_free_memory()
    with suppress(OSError):  # not Linux, or not allowed: the mark of the whole past stays
        Path("/proc/self/clear_refs").write_text("5")
    before = _high_water()
    call()
    after = _high_water()
    return None if before is None or after is None else after - before


def _hand_back_free_memory():
    """Ask glibc to return freed heap, which the call would else use without a trace."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _high_water():
    """Peak resident memory of this process in bytes, or None."""
    if sys.platform == "linux":
        # Not getrusage: on Linux a child's ru_maxrss starts from its parent's.
        with suppress(OSError):
            found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
            return int(found[1]) * 1024 if found else None
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
