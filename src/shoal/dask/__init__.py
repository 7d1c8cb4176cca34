"""Dask's collections: imported when one is given, and then only."""

try:
    import dask.array
    import distributed  # noqa: F401
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "dask collections need dask's arrays and distributed: pip install 'shoal[dask]'"
    ) from error

from shoal.dask.collections import map_rows, open_collection

__all__ = ["map_rows", "open_collection"]
