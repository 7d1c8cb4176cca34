"""The figures of a book's chapter on unsupervised learning, by shoal and beside scikit-learn.

    python benchmarks/chapter.py                     all figures, as PNG, in under a minute
    python benchmarks/chapter.py --only elbow moons
    python benchmarks/chapter.py --out figures

The examples are those of chapter 9 of A. Géron, Hands-On Machine Learning (O'Reilly). Each is
computed twice from the same lines, by scikit-learn and by shoal. The numbers that the text
discusses are printed beside each other, and the exit status is 1 if they or any labels differ.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from sklearn.datasets import make_blobs, make_moons

import shoal

OUT = Path(__file__).resolve().parent / "results" / "chapter"
TOLERANCE = 1e-6  # relative, of numbers
DIFFERENT = "DIFFERENT"

FIGURES = {}


def theirs(name):
    """scikit-learn's class or function of this name."""
    homes = (sklearn.cluster, sklearn.mixture, sklearn.metrics)
    return next(getattr(home, name) for home in homes if hasattr(home, name))


def ours(name):
    return getattr(shoal, name)


def figure(compute):
    """Register a figure: `compute(of)` gives a dict of numbers and labels, `of` a library.

    The function that draws it is registered by `drawn_by`.
    """
    FIGURES[compute.__name__] = [compute, None]
    return compute


def drawn_by(compute):
    def register(draw):
        FIGURES[compute.__name__][1] = draw
        return draw

    return register


def five_blobs():
    centers = np.array([[0.2, 2.3], [-1.5, 2.3], [-2.8, 1.8], [-2.8, 2.8], [-2.8, 1.3]])
    spread = np.array([0.4, 0.3, 0.1, 0.1, 0.1])
    return make_blobs(2000, centers=centers, cluster_std=spread, random_state=7)[0]


def two_moons():
    return make_moons(1000, noise=0.05, random_state=42)[0]


def three_ellipses():
    first = make_blobs(1000, centers=((4, -4), (0, 0)), random_state=42)[0]
    first = first @ np.array([[0.374, 0.95], [0.732, 0.598]])
    second = make_blobs(250, centers=1, random_state=42)[0] + [6, -8]
    return np.concatenate([first, second])


@figure
def elbow(of):
    """Inertia over k: it bends where more clusters no longer pay."""
    X = five_blobs()
    return {f"inertia, k={k}": of("KMeans")(k, random_state=42).fit(X).inertia_ for k in K_ELBOW}


K_ELBOW = range(1, 10)


@drawn_by(elbow)
def draw_elbow(fig, found):
    ax = fig.subplots()
    ax.plot(K_ELBOW, list(found.values()), "bo-")
    ax.set(xlabel="k", ylabel="inertia", title="The elbow")


K_SCORES, K_DIAGRAMS = range(2, 9), (3, 4, 5, 6)


@figure
def silhouettes(of):
    """Mean silhouette over k, and the silhouettes of every row, sorted within clusters."""
    X, found = five_blobs(), {}
    for k in K_SCORES:
        labels = of("KMeans")(k, random_state=42).fit_predict(X)
        found[f"silhouette score, k={k}"] = of("silhouette_score")(X, labels)
        if k in K_DIAGRAMS:
            found[f"labels, k={k}"] = labels
            found[f"silhouettes, k={k}"] = of("silhouette_samples")(X, labels)
    return found


@drawn_by(silhouettes)
def draw_silhouettes(fig, found):
    top, bottom = fig.subfigures(2, 1, height_ratios=(1, 1.6))
    ax = top.subplots()
    ax.plot(K_SCORES, [found[f"silhouette score, k={k}"] for k in K_SCORES], "bo-")
    ax.set(xlabel="k", ylabel="silhouette score")
    for ax, k in zip(bottom.subplots(1, 4, sharex=True), K_DIAGRAMS, strict=True):
        labels, values = found[f"labels, k={k}"], found[f"silhouettes, k={k}"]
        low = 0
        for cluster in range(k):
            mine = np.sort(values[labels == cluster])
            ax.fill_betweenx(np.arange(low, low + len(mine)), 0, mine)
            low += len(mine) + 30
        ax.axvline(values.mean(), color="red", linestyle="--")
        ax.set(title=f"k={k}", xlabel="silhouette", yticks=[])


@figure
def moons(of):
    """Clusters that are no balls: DBSCAN, spectral clustering, single linkage."""
    X, found = two_moons(), {}
    for eps in (0.05, 0.2):
        model = of("DBSCAN")(eps=eps, min_samples=5).fit(X)
        found[f"DBSCAN, eps={eps}: clusters"] = model.labels_.max() + 1
        found[f"DBSCAN, eps={eps}: core samples"] = len(model.core_sample_indices_)
        found[f"DBSCAN, eps={eps}"] = model.labels_
    for gamma in (100, 1):
        model = of("SpectralClustering")(n_clusters=2, gamma=gamma, random_state=42).fit(X)
        found[f"spectral, gamma={gamma}: mean affinity"] = model.affinity_matrix_.mean()
        found[f"spectral, gamma={gamma}"] = model.labels_
    model = of("AgglomerativeClustering")(n_clusters=2, linkage="single").fit(X)
    found["single linkage"] = model.labels_
    return found


@drawn_by(moons)
def draw_moons(fig, found):
    X = two_moons()
    labelled = {name: value for name, value in found.items() if np.ndim(value) == 1}
    for ax, (name, labels) in zip(fig.subplots(2, 3).flat[: len(labelled)], labelled.items(),
                                  strict=True):  # fmt: skip
        noise = labels < 0
        ax.scatter(*X[~noise].T, c=labels[~noise], s=4, cmap="tab10")
        ax.scatter(*X[noise].T, c="red", s=12, marker="x")
        ax.set_title(name)
    for ax in fig.axes[len(labelled) :]:
        ax.set_axis_off()


TYPES = ("full", "tied", "diag", "spherical")


def grid(X, points=120):
    """Coordinates around X for contours, and as rows."""
    low, high = X.min(axis=0) - 1, X.max(axis=0) + 1
    x, y = np.meshgrid(*(np.linspace(a, b, points) for a, b in zip(low, high, strict=True)))
    return x, y, np.column_stack([x.ravel(), y.ravel()])


@figure
def mixtures(of):
    """Gaussian mixtures of four kinds of covariance, and their densities."""
    X, found = three_ellipses(), {}
    for kind in TYPES:
        model = of("GaussianMixture")(
            n_components=3, n_init=10, covariance_type=kind, random_state=42
        ).fit(X)
        found[f"{kind}: lower bound"] = model.lower_bound_
        found[f"{kind}: iterations"] = model.n_iter_
        found[f"{kind}: largest weight"] = model.weights_.max()
        found[f"{kind} labels"] = model.predict(X)
        found[f"{kind} density"] = model.score_samples(grid(X)[2])
    return found


@drawn_by(mixtures)
def draw_mixtures(fig, found):
    X = three_ellipses()
    x, y, _ = grid(X)
    for ax, kind in zip(fig.subplots(2, 2).flat, TYPES, strict=True):
        density = -found[f"{kind} density"].reshape(x.shape)
        levels = np.logspace(0, 2, 12)
        ax.contourf(x, y, density, norm=LogNorm(1, 100), levels=levels, cmap="Blues_r")
        ax.contour(x, y, density, norm=LogNorm(1, 100), levels=levels, linewidths=0.5)
        ax.scatter(*X.T, c=found[f"{kind} labels"], s=3, cmap="tab10")
        ax.set_title(kind)


@figure
def anomalies(of):
    """The rows in the thinnest places: below the 4th percentile of the density."""
    X = three_ellipses()
    model = of("GaussianMixture")(n_components=3, n_init=10, random_state=42).fit(X)
    density = model.score_samples(X)
    threshold = np.percentile(density, 4)
    return {"threshold": threshold, "anomalies": np.sum(density < threshold),
            "anomalous labels": (density < threshold).astype(int)}  # fmt: skip


@drawn_by(anomalies)
def draw_anomalies(fig, found):
    X, odd = three_ellipses(), found["anomalous labels"] == 1
    ax = fig.subplots()
    ax.scatter(*X[~odd].T, s=4)
    ax.scatter(*X[odd].T, c="red", marker="*", s=30)
    ax.set_title(f"{odd.sum()} anomalies")


K_BIC = range(1, 11)


@figure
def bic(of):
    """Information criteria over k: least at the number of clusters; and a Bayesian mixture."""
    X, found = three_ellipses(), {}
    models = [
        of("GaussianMixture")(n_components=k, n_init=10, random_state=42).fit(X) for k in K_BIC
    ]
    for name in ("bic", "aic"):
        for k, model in zip(K_BIC, models, strict=True):
            found[f"{name}, k={k}"] = getattr(model, name)(X)
    model = of("BayesianGaussianMixture")(n_components=10, n_init=10, max_iter=500, random_state=42)
    model.fit(X)
    for number, weight in enumerate(np.sort(model.weights_)[::-1][:4]):
        found[f"Bayesian: weight {number + 1}"] = weight
    return found


@drawn_by(bic)
def draw_bic(fig, found):
    left, right = fig.subplots(1, 2)
    for name in ("bic", "aic"):
        left.plot(K_BIC, [found[f"{name}, k={k}"] for k in K_BIC], "o-", label=name.upper())
    left.set(xlabel="k", ylabel="information criterion")
    left.legend()
    weights = [value for name, value in found.items() if name.startswith("Bayesian")]
    right.bar(range(1, len(weights) + 1), weights)
    right.set(title="Bayesian mixture of 10", xlabel="component", ylabel="weight")


def difference(a, b):
    """What differs in two values of a figure, in a word; labels to the last, numbers nearly.

    Restarts of a mixture may end in one place, with lower bounds an ulp apart; which of them is
    the best, and so which cluster has which number, is then for rounding to say.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind not in "iu":
        return "" if np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE) else DIFFERENT
    if (a == b).all():
        return ""
    pairs = {*zip(a.flat, b.flat, strict=True)}
    one_to_one = len(pairs) == len(np.unique(a)) == len(np.unique(b))
    return "the same clusters by other numbers" if np.ndim(a) and one_to_one else DIFFERENT


def show(name, out):
    """Compute a figure by both, print their numbers, draw ours; whether anything differs."""
    compute, draw = FIGURES[name]
    seconds, found = {}, {}
    for library in (theirs, ours):
        start = time.perf_counter()
        found[library] = compute(library)
        seconds[library] = time.perf_counter() - start
    print(f"\n{name}: {compute.__doc__.strip()}")
    print(f"{'':34} {'scikit-learn':>14} {'shoal':>14}")
    wrong = False
    for what, value in found[theirs].items():
        other = found[ours][what]
        mark = difference(value, other)
        wrong |= mark == DIFFERENT
        if np.ndim(value) == 0:
            print(f"{what:34} {value:14.6g} {other:14.6g}  {mark}".rstrip())
        elif mark:
            print(f"{what:34} {np.sum(value != other)} of {len(value)} values  {mark}")
    print(f"{'milliseconds':34} {1e3 * seconds[theirs]:14.0f} {1e3 * seconds[ours]:14.0f}")
    picture = Figure(figsize=(9, 6), layout="constrained")
    draw(picture, found[ours])
    picture.savefig(out / f"{name}.png", dpi=110)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    wrong = [name for name in options.only if show(name, options.out)]
    print(f"\n{len(options.only)} figures in {options.out}")
    sys.exit(f"different: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
