"""
Labels for a few rows only
==========================

With 50 labels for the digits, it pays to choose which images are labelled: those nearest to the
centers of 50 clusters, rather than the first 50.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from shoal import KMeans

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=42)

kmeans = KMeans(50, random_state=42)
nearest = np.argmin(kmeans.fit_transform(X_train), axis=0)


def score(rows):
    """Accuracy of a classifier that has seen the labels of these rows alone."""
    model = LogisticRegression(max_iter=10_000).fit(X_train[rows], y_train[rows])
    return model.score(X_test, y_test)


first, chosen = score(np.arange(50)), score(nearest)

fig, axes = plt.subplots(5, 10, figsize=(8, 4.2), layout="constrained")
for ax, row in zip(axes.flat, nearest, strict=True):
    ax.imshow(X_train[row].reshape(8, 8), cmap="binary")
    ax.set_axis_off()

# %%
print(f"accuracy with the first 50: {first:.3f}, with those near to centers: {chosen:.3f}")
