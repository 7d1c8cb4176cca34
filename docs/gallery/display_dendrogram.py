"""
The topmost merges of a tree
============================

Only the highest merges are drawn, and the numbers below count the rows of each branch. The dashed
line is where the tree is cut.
"""

from sklearn.datasets import make_blobs

from shoal import AgglomerativeClustering
from shoal.plot import DendrogramDisplay

X, _ = make_blobs(500, centers=4, random_state=5)
model = AgglomerativeClustering(4, compute_distances=True).fit(X)
display = DendrogramDisplay.from_estimator(model, max_leaves=20)

# %%
print("rows below the leaves:", int(display.leaf_sizes.sum()))
