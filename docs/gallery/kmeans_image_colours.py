"""
The colours of a photograph
===========================

Each pixel is a row of three features. Replacing every pixel by the center of its cluster leaves
as many colours as there are clusters.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_sample_image

from shoal import KMeans

image = load_sample_image("flower.jpg")[::2, ::2] / 255
pixels = image.reshape(-1, 3).astype("float32")

fig, axes = plt.subplots(2, 2, figsize=(7, 5), layout="constrained")
axes.flat[0].imshow(image)
axes.flat[0].set_title("original")
errors = {}
for ax, k in zip(axes.flat[1:], [2, 6, 16], strict=True):
    kmeans = KMeans(k, random_state=0).fit(pixels)
    ax.imshow(kmeans.cluster_centers_[kmeans.labels_].reshape(image.shape))
    ax.set_title(f"{k} colours")
    errors[k] = (kmeans.inertia_ / pixels.size) ** 0.5
for ax in axes.flat:
    ax.set_axis_off()

# %%
# Root mean square error of a colour value, of a range from 0 to 1.
print({k: round(error, 3) for k, error in errors.items()})
