"""Anyone's own rows, such as embeddings: `compare.py --data FILE.npy`."""

import os
from pathlib import Path

import numpy as np

from benchmarks.cases import DATA_VARIABLE, real

CLUSTERS = (100, 1000, 8000)


def groups(path):
    """Groups for the rows of a .npy file: k-means of as many clusters as there are rows for."""
    rows = np.load(path, mmap_mode="r")
    if rows.ndim != 2 or rows.dtype.kind != "f" or rows.dtype.itemsize not in (4, 8):
        raise SystemExit(f"{path}: not a table of float32 or float64 numbers: {rows.dtype}")
    n, dtype = len(rows), rows.dtype.str[1:]
    name = f"{Path(path).stem} {n}x{rows.shape[1]}"

    def first(n):
        return np.asarray(rows[:n])

    some = [k for k in CLUSTERS if 4 * k <= n]
    return (
        real.kmeans_group(
            "own-kmeans",
            f"KMeans.fit on {path}: same initial centers, 10 iterations",
            tuple(real.first_rows(name, n, k, first, dtype=dtype) for k in some),
        ),
        real.predict_group(
            "own-predict",
            f"KMeans.predict on {path}, same centers",
            tuple(real.first_rows(name, n, k, first, 1, dtype, False) for k in some),
        ),
    )


GROUPS = groups(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else ()
