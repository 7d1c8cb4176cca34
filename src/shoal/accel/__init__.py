"""scikit-learn by shoal without a change of code: patching, conversions, reports, progress."""

from shoal.accel.bars import progress
from shoal.accel.calls import report
from shoal.accel.convert import from_sklearn
from shoal.accel.notebook import load_ipython_extension, unload_ipython_extension
from shoal.accel.patching import is_patched, patch, patch_hdbscan, patched, unpatch

__all__ = [
    "from_sklearn",
    "is_patched",
    "load_ipython_extension",
    "patch",
    "patch_hdbscan",
    "patched",
    "progress",
    "report",
    "unload_ipython_extension",
    "unpatch",
]
