"""The exercises: faces (any images given by --faces, else digits) clustered, sampled, judged."""

from functools import cache

import numpy as np
from book import SETTINGS, drawn_by, section
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

import shoal
from shoal.plot import CentersDisplay, SelectionDisplay, SilhouetteDisplay

K_FACES = (5, 10, 20, 40, 60, 80, 100, 120)


@cache
def faces():
    """Images of shape (n, height, width), and who is on each, where that is known."""
    if SETTINGS.faces is None:
        digits = load_digits()
        return digits.images / 16, digits.target
    images, people = np.load(SETTINGS.faces), None
    if not isinstance(images, np.ndarray):  # an .npz file
        people = images["target"] if "target" in images.files else None
        images = images["images"]
    images = np.asarray(images, np.float64)
    if images.ndim == 2:
        side = round(images.shape[1] ** 0.5)
        images = images.reshape(len(images), side, -1)
    return images / max(1.0, images.max()), people


@cache
def reduced():
    """Rows along the principal axes that hold 99 % of the variance."""
    images, _ = faces()
    pca = PCA(0.99, random_state=42)
    return pca, pca.fit_transform(images.reshape(len(images), -1))


def numbers():
    return [k for k in K_FACES if k < len(faces()[0]) // 2]


@section()
def cluster_faces(of):
    """Images by k-means: which k has the best silhouette."""
    X, found = reduced()[1], {}
    for k in numbers():
        model = of("KMeans")(k, random_state=42).fit(X)
        found[f"silhouette score, k={k}"] = of("silhouette_score")(X, model.labels_)
        found[f"labels, k={k}"] = model.labels_
    return found


@drawn_by(cluster_faces)
def draw_cluster_faces(fig, found):
    pca, X = reduced()
    selection = shoal.select_n_clusters(X, numbers(), random_state=42)
    left, middle, right = fig.subplots(1, 3)
    SelectionDisplay(selection).plot(left, scores=["silhouette"])
    SilhouetteDisplay.from_estimator(selection.best_estimator, X, ax=middle)
    centers = pca.inverse_transform(selection.best_estimator.cluster_centers_)
    CentersDisplay(centers, image_shape=faces()[0].shape[1:]).plot(ax=right)


@section()
def preprocess_faces(of):
    """Clustering before a classifier: distances to clusters instead of features, or besides."""
    people = faces()[1]
    if people is None:
        return {}
    X, k = reduced()[1], numbers()[-1]
    train, test, y_train, y_test = train_test_split(X, people, random_state=42, stratify=people)
    # converged so far that rounding of distances decides no row
    classifier = LogisticRegression(max_iter=20_000, tol=1e-6)
    distances = make_pipeline(of("KMeans")(k, random_state=42), classifier)
    found = {
        "accuracy of features": classifier.fit(train, y_train).score(test, y_test),
        "of distances": distances.fit(train, y_train).score(test, y_test),
    }
    kmeans = of("KMeans")(k, random_state=42).fit(train)
    both = [np.hstack([rows, kmeans.transform(rows)]) for rows in (train, test)]
    found["of both"] = classifier.fit(both[0], y_train).score(both[1], y_test)
    return found


@drawn_by(preprocess_faces)
def draw_preprocess_faces(fig, found):
    bars = fig.subplots().barh(list(found), list(found.values()), color="#0072B2")
    fig.axes[0].bar_label(bars, fmt="%.3f", padding=3)


def fit_mixture(of):
    k = min(40, len(faces()[0]) // 4)
    return of("GaussianMixture")(k, random_state=42, reg_covar=1e-4).fit(reduced()[1])


@section()
def sample_faces(of):
    """New images, drawn from a mixture."""
    model = fit_mixture(of)
    rows, components = model.sample(20)
    return {"lower bound": model.lower_bound_, "components": components, "(rows)": rows}


@drawn_by(sample_faces)
def draw_sample_faces(fig, found):
    images = reduced()[0].inverse_transform(found["(rows)"])
    CentersDisplay(images, image_shape=faces()[0].shape[1:]).plot(ax=fig.subplots())


@cache
def altered():
    """Images of which the first ten are as they are, and then turned, flipped and darkened."""
    some = faces()[0][:10]
    turned, flipped = np.rot90(some, axes=(1, 2)), some[:, ::-1]
    dark = some * np.linspace(0.1, 1, some.shape[2])
    parts = [some, turned if turned.shape == some.shape else some[:, ::-1, ::-1], flipped, dark]
    return np.concatenate(parts)


@section()
def odd_faces(of):
    """Altered images are odd by a mixture's density, and by what principal axes leave of them."""
    pca, _ = reduced()
    rows = altered().reshape(len(altered()), -1)
    density = fit_mixture(of).score_samples(pca.transform(rows))
    left = np.square(rows - pca.inverse_transform(pca.transform(rows))).mean(axis=1)
    found = {}
    for i, name in enumerate(("as they are", "turned", "flipped", "darkened")):
        part = slice(10 * i, 10 * i + 10)
        found[f"median log-density, {name}"] = np.median(density[part])
        found[f"median reconstruction error, {name}"] = np.median(left[part])
    return found


@drawn_by(odd_faces)
def draw_odd_faces(fig, found):
    rows = altered().reshape(len(altered()), -1)
    CentersDisplay(rows, image_shape=faces()[0].shape[1:]).plot(ax=fig.subplots())
