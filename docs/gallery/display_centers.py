"""
Centers as images
=================

The mean image of each cluster of handwritten digits, with the number of its rows.
"""

from sklearn.datasets import load_digits

from shoal import KMeans
from shoal.plot import CentersDisplay

kmeans = KMeans(10, n_init=2, random_state=0).fit(load_digits().data)
display = CentersDisplay.from_estimator(kmeans, image_shape=(8, 8))

# %%
print("images:", len(display.images_))
