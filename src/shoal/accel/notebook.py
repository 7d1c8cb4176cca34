"""`%load_ext shoal` and `%unload_ext shoal` in notebooks and IPython."""

from typing import Any

from shoal.accel.patching import patch, unpatch


def load_ipython_extension(shell: Any) -> None:
    """Patch scikit-learn for this session."""
    patch()


def unload_ipython_extension(shell: Any) -> None:
    """Make scikit-learn itself again."""
    unpatch()
