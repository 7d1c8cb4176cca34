"""Memory that one call adds to the process, as `python -m shoal` and the benchmarks report it.

The figure comes from the operating system's peak of resident memory, so it includes NumPy's
arrays, the kernels' buffers and the thread pools' stacks.
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
        None where the system has no such figure. Where the peak cannot be reset (outside
        Linux), memory freed before the call hides as much of what the call adds.
    """
    _release_free_heap()
    with suppress(OSError):  # not Linux, or not permitted: the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    before = _peak_resident()
    call()
    after = _peak_resident()
    return None if before is None or after is None else after - before


def _release_free_heap():
    """Let glibc return freed heap, which the call would otherwise reuse unmeasured."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _peak_resident():
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
