"""Dask's collections: imported when one is given, and then only."""

try:
    from shoal.dask.collections import map_rows, open_collection
except ImportError as error:
    raise ImportError(
        f"{error}: dask collections need dask's arrays and distributed; "
        "pip install 'shoal[dask]' brings them"
    ) from error

__all__ = ["map_rows", "open_collection"]
