"""Clusters that are no balls: DBSCAN, spectral and agglomerative clustering."""

import numpy as np
from book import drawn_by, section
from sklearn.datasets import make_moons
from sklearn.neighbors import KNeighborsClassifier

import shoal
from shoal.plot import (
    DBSCANDisplay,
    DecisionBoundaryDisplay,
    DendrogramDisplay,
    KDistanceDisplay,
)

RADII = (0.05, 0.2)


def two_moons():
    return make_moons(1000, noise=0.05, random_state=42)[0]


@section(book={"eps=0.05: clusters": 7, "eps=0.05: core samples": 808, "eps=0.2: clusters": 2})
def dbscan(of):
    """Moons by density, at two radii."""
    X, found = two_moons(), {}
    for eps in RADII:
        model = of("DBSCAN")(eps=eps, min_samples=5).fit(X)
        found[f"eps={eps}: clusters"] = model.labels_.max() + 1
        found[f"eps={eps}: core samples"] = len(model.core_sample_indices_)
        found[f"eps={eps}"] = model.labels_
    return found


@drawn_by(dbscan)
def draw_dbscan(fig, found):
    X = two_moons()
    *axes, last = fig.subplots(1, 3)
    for ax, eps in zip(axes, RADII, strict=True):
        DBSCANDisplay.from_estimator(shoal.DBSCAN(eps=eps).fit(X), X, ax=ax)
        ax.set_title(f"eps={eps}")
    KDistanceDisplay.from_estimator(shoal.DBSCAN(eps=0.2), X, ax=last)


NEW = np.array([[-0.5, 0], [0, 0.5], [1, -0.1], [2, 1]])


@section(book={f"cluster of {new}": label for new, label in zip(NEW, (-1, 0, 1, -1), strict=True)})
def neighbours(of):
    """New rows join the cluster of their nearest core samples, if these are within 0.2."""
    model = of("DBSCAN")(eps=0.2, min_samples=5).fit(two_moons())
    labels = model.labels_[model.core_sample_indices_]
    knn = KNeighborsClassifier(n_neighbors=50).fit(model.components_, labels)
    distances, nearest = knn.kneighbors(NEW, n_neighbors=1)
    joined = np.where(distances[:, 0] > 0.2, -1, labels[nearest[:, 0]])
    return {f"cluster of {new}": label for new, label in zip(NEW, joined, strict=True)} | {
        "first 50 neighbours' vote": knn.predict(NEW)
    }


@drawn_by(neighbours)
def draw_neighbours(fig, found):
    X = two_moons()
    ax = fig.subplots()
    DecisionBoundaryDisplay.from_estimator(shoal.DBSCAN(eps=0.2).fit(X), X, ax=ax)
    ax.scatter(*NEW.T, marker="P", s=120, c="black", edgecolors="white", zorder=5)


@section()
def spectral(of):
    """Moons by eigenvectors of affinities, at two widths."""
    X, found = two_moons(), {}
    for gamma in (100, 1):
        model = of("SpectralClustering")(n_clusters=2, gamma=gamma, random_state=42).fit(X)
        found[f"gamma={gamma}: mean affinity"] = model.affinity_matrix_.mean()
        found[f"gamma={gamma}"] = model.labels_
    return found


@drawn_by(spectral)
def draw_spectral(fig, found):
    for ax, gamma in zip(fig.subplots(1, 2), (100, 1), strict=True):
        DecisionBoundaryDisplay.from_predictions(two_moons(), found[f"gamma={gamma}"], ax=ax)
        ax.set_title(f"gamma={gamma}")


LINKAGES = ("single", "ward", "average", "complete")


@section()
def agglomerative(of):
    """Moons by merging clusters, by four rules."""
    X, found = two_moons(), {}
    for linkage in LINKAGES:
        model = of("AgglomerativeClustering")(2, linkage=linkage, compute_distances=True).fit(X)
        found[f"{linkage}: sum of heights"] = model.distances_.sum()
        found[f"{linkage}"] = model.labels_
    return found


@drawn_by(agglomerative)
def draw_agglomerative(fig, found):
    X = two_moons()
    for column, linkage in zip(fig.subplots(2, 4).T, LINKAGES, strict=True):
        model = shoal.AgglomerativeClustering(2, linkage=linkage, compute_distances=True).fit(X)
        DecisionBoundaryDisplay.from_estimator(model, X, ax=column[0])
        DendrogramDisplay.from_estimator(model, max_leaves=20, ax=column[1])
        column[0].set_title(linkage)
