"""What this build is and what it runs on."""

import sys

import numpy
import scipy
import sklearn

from shoal import _cpu, _run


def show_config() -> None:
    """Print the versions, the instruction set in use and the number of threads.

    Examples
    --------
    >>> import shoal
    >>> shoal.show_config()  # doctest: +ELLIPSIS
    shoal ...
    """
    from shoal import __version__

    rows, centers = _run.tile_size("f4")
    wide, narrow = _run.tile_size("f8")
    openmp = "OpenMP" if _run.HAS_OPENMP else "built without OpenMP"
    print(
        f"shoal {__version__} (Python {sys.version.split()[0]}, numpy {numpy.__version__}, "
        f"scipy {scipy.__version__}, scikit-learn {sklearn.__version__})\n"
        f"instructions: {_run.LEVEL} (this machine has {', '.join(_cpu.levels())}); "
        f"tile {rows}x{centers} float32, {wide}x{narrow} float64\n"
        f"threads: {_run.threads()} ({openmp})"
    )
