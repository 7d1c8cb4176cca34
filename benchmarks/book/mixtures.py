"""Gaussian mixtures: densities, anomalies, choosing k, Bayesian ones."""

import numpy as np
from book import drawn_by, section
from book.density import two_moons
from sklearn.datasets import make_blobs

import shoal
from shoal.plot import MixtureDisplay, SelectionDisplay

TYPES = ("full", "tied", "diag", "spherical")
MIXTURE = {"n_components": 3, "n_init": 10, "random_state": 42}


def three_ellipses():
    first = make_blobs(1000, centers=((4, -4), (0, 0)), random_state=42)[0]
    first = first @ np.array([[0.374, 0.95], [0.732, 0.598]])
    second = make_blobs(250, centers=1, random_state=42)[0] + [6, -8]
    return np.concatenate([first, second])


def grid(X, points=120):
    """Places around X, as rows."""
    low, high = X.min(axis=0) - 1, X.max(axis=0) + 1
    x, y = np.meshgrid(*(np.linspace(a, b, points) for a, b in zip(low, high, strict=True)))
    return np.column_stack([x.ravel(), y.ravel()])


@section(
    book={"full: weight 1": 0.40007391, "full: weight 2": 0.39025715, "full: weight 3": 0.20966893}
)
def mixtures(of):
    """Gaussian mixtures of four kinds of covariance, and their densities."""
    X, found = three_ellipses(), {}
    for kind in TYPES:
        model = of("GaussianMixture")(covariance_type=kind, **MIXTURE).fit(X)
        found[f"{kind}: lower bound"] = model.lower_bound_
        found[f"{kind}: iterations"] = model.n_iter_
        for number, weight in enumerate(np.sort(model.weights_)[::-1], 1):
            found[f"{kind}: weight {number}"] = weight
        found[f"{kind} labels"] = model.predict(X)
        found[f"{kind} density"] = model.score_samples(grid(X))
    return found


@drawn_by(mixtures)
def draw_mixtures(fig, found):
    X = three_ellipses()
    for ax, kind in zip(fig.subplots(2, 2).flat, TYPES, strict=True):
        model = shoal.GaussianMixture(covariance_type=kind, **MIXTURE).fit(X)
        MixtureDisplay.from_estimator(model, X, ax=ax)
        ax.set_title(kind)


@section()
def anomalies(of):
    """The rows in the thinnest places: below the 4th percentile of the density."""
    X = three_ellipses()
    density = of("GaussianMixture")(**MIXTURE).fit(X).score_samples(X)
    threshold = np.percentile(density, 4)
    return {
        "threshold": threshold,
        "anomalies": np.sum(density < threshold),
        "anomalous labels": (density < threshold).astype(int),
    }


@drawn_by(anomalies)
def draw_anomalies(fig, found):
    X = three_ellipses()
    model = shoal.GaussianMixture(**MIXTURE).fit(X)
    MixtureDisplay.from_estimator(model, X, quantile=0.04, ax=fig.subplots())


K_BIC = range(1, 11)


@section(book={"bic, k=3": 8189.74, "aic, k=3": 8102.52})
def bic(of):
    """Information criteria over k: least at the number of clusters."""
    X, found = three_ellipses(), {}
    models = [
        of("GaussianMixture")(n_components=k, n_init=10, random_state=42).fit(X) for k in K_BIC
    ]
    for name in ("bic", "aic"):
        for k, model in zip(K_BIC, models, strict=True):
            found[f"{name}, k={k}"] = getattr(model, name)(X)
    return found


@drawn_by(bic)
def draw_bic(fig, found):
    mixture = shoal.GaussianMixture(n_init=10, random_state=42)
    selection = shoal.select_n_clusters(
        three_ellipses(), K_BIC, estimator=mixture, covariance_types=TYPES
    )
    SelectionDisplay.from_selection(selection, ax=fig.subplots())


BAYESIAN = {"n_components": 10, "n_init": 10, "max_iter": 500, "random_state": 42}


@section(book={f"ellipses: weight {i}": w for i, w in enumerate((0.4, 0.4, 0.21, 0.0), 1)})
def bayesian(of):
    """Bayesian mixtures of ten: those that are not needed get no weight; moons need many."""
    found = {}
    for name, X in {"ellipses": three_ellipses(), "moons": two_moons()}.items():
        model = of("BayesianGaussianMixture")(**BAYESIAN).fit(X)
        for number, weight in enumerate(np.sort(model.weights_)[::-1][:4], 1):
            found[f"{name}: weight {number}"] = weight
        found[f"{name}: components"] = np.sum(model.weights_ > 0.01)
    return found


@drawn_by(bayesian)
def draw_bayesian(fig, found):
    for ax, X in zip(fig.subplots(1, 2), (three_ellipses(), two_moons()), strict=True):
        model = shoal.BayesianGaussianMixture(**BAYESIAN).fit(X)
        MixtureDisplay.from_estimator(model, X, ax=ax)
