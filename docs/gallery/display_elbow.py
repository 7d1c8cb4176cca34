"""
The elbow of the inertia
========================

The inertia falls with every cluster more. The ring marks the knee: where the curve lies
farthest below the line between its ends (``shoal.selection.find_knee``).
"""

from sklearn.datasets import make_blobs

from shoal import KMeans
from shoal.plot import ElbowDisplay

X, _ = make_blobs(600, centers=[(0, 0), (0, 9), (9, 0), (9, 9), (18, 4)], random_state=0)
display = ElbowDisplay.from_estimator(KMeans(n_init=5, random_state=0), X, range(2, 11))

# %%
print("knee at k =", display.knee)
