"""
Features that go together
=========================

``FeatureAgglomeration`` clusters columns. Pixels of the digits that are dark in the same images
become one feature.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from shoal import FeatureAgglomeration

X = load_digits().data
agglomeration = FeatureAgglomeration(16).fit(X)
restored = agglomeration.inverse_transform(agglomeration.transform(X))
error = float(np.sqrt(np.mean((restored - X) ** 2)))

fig, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
axes[0].imshow(agglomeration.labels_.reshape(8, 8), cmap="tab20")
axes[0].set_title("16 clusters of pixels")
axes[1].imshow(X[3].reshape(8, 8), cmap="binary")
axes[1].set_title("an image")
axes[2].imshow(restored[3].reshape(8, 8), cmap="binary")
axes[2].set_title("from 16 values")
for ax in axes:
    ax.set_axis_off()

# %%
print(f"root mean square error {error:.2f}, of values from 0 to 16")
