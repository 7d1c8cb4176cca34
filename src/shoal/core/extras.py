"""Packages that only some features need."""

from types import ModuleType


def import_hdbscan() -> ModuleType:
    """The module of the hdbscan package that is patched."""
    try:
        from hdbscan import hdbscan_
    except ImportError as error:
        raise ImportError(
            "shoal.patch(hdbscan=True) needs the hdbscan package: pip install hdbscan"
        ) from error
    return hdbscan_


def import_pandas() -> ModuleType:
    """pandas, for data frames."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "Data frames need pandas: install it, or take the array that to_numpy() gives."
        ) from error
    return pandas


def import_pyplot() -> ModuleType:
    """matplotlib.pyplot, for pictures; imported when the first one is drawn."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "shoal[plot]"') from error
    return matplotlib.pyplot
