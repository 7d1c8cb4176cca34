"""What this build is and what it runs on."""

import sys

import numpy
import scipy
import sklearn

from shoal.core import cpu, parallel
from shoal.core.version import __version__


def show_config() -> None:
    """Print the versions, the instruction set in use and the number of threads.

    Examples
    --------
    >>> import shoal
    >>> shoal.show_config()  # doctest: +ELLIPSIS
    shoal ...
    """
    rows, centers = parallel.tile_size("f4")
    wide, narrow = parallel.tile_size("f8")
    print(
        f"shoal {__version__} (Python {sys.version.split()[0]}, numpy {numpy.__version__}, "
        f"scipy {scipy.__version__}, scikit-learn {sklearn.__version__})\n"
        f"instructions: {parallel.LEVEL} (this machine has {', '.join(cpu.levels())}); "
        f"tile {rows}x{centers} float32, {wide}x{narrow} float64\n"
        f"threads: {parallel.count_threads()}"
    )
