"""
Rows in a file
==============

The path of a ``.npy`` file takes the place of X: rows are read a block at a time in every pass.
The answer has the same bits as that of the array in memory. See :doc:`/large`.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.format import open_memmap

from shoal import KMeans

rng = np.random.default_rng(0)
centers = rng.uniform(-10, 10, (6, 2))
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "rows.npy"
    rows = open_memmap(path, mode="w+", dtype=np.float32, shape=(300_000, 2))
    for start in range(0, len(rows), 50_000):  # the whole is never in memory
        own = centers[rng.integers(6, size=50_000)]
        rows[start : start + 50_000] = own + rng.standard_normal((50_000, 2))
    rows.flush()
    del rows

    of_file = KMeans(6, random_state=0).fit(path)
    X = np.load(path)
of_array = KMeans(6, random_state=0).fit(X)
same = bool(
    np.array_equal(of_file.labels_, of_array.labels_)
    and np.array_equal(of_file.cluster_centers_, of_array.cluster_centers_)
)

fig, ax = plt.subplots(figsize=(6, 4.5), layout="constrained")
ax.scatter(*X[::100].T, c=of_file.labels_[::100], s=3, cmap="viridis")
ax.scatter(*of_file.cluster_centers_.T, marker="X", c="tab:red", s=90, edgecolor="white")
ax.set_title("every 100th of 300,000 rows")

# %%
print("the same bits:", same)
