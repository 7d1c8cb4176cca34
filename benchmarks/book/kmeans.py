"""k-means: choosing k, mini-batches, files, images, digits, few labels."""

import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
from book import SETTINGS, drawn_by, section
from sklearn.datasets import load_digits, load_sample_image, make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

import shoal
from shoal.plot import CentersDisplay, DecisionBoundaryDisplay, ElbowDisplay, SilhouetteDisplay


def five_blobs():
    centers = np.array([[0.2, 2.3], [-1.5, 2.3], [-2.8, 1.8], [-2.8, 2.8], [-2.8, 1.3]])
    spread = np.array([0.4, 0.3, 0.1, 0.1, 0.1])
    return make_blobs(2000, centers=centers, cluster_std=spread, random_state=7)[0]


K_ELBOW = range(1, 10)
RESTARTS = {"n_init": 10, "random_state": 42}


GOOD_INIT = np.array([[-3.0, 3.0], [-3.0, 2.0], [-3.0, 1.0], [-1.0, 2.0], [0.0, 2.0]])


@section(
    book={
        "inertia, the book's first centers": 211.59853725816836,
        "silhouette, the book's first centers": 0.655517642572828,
    }
)
def elbow(of):
    """Inertia over k: it bends where more clusters no longer pay."""
    X = five_blobs()
    found = {f"inertia, k={k}": of("KMeans")(k, **RESTARTS).fit(X).inertia_ for k in K_ELBOW}
    model = of("KMeans")(5, init=GOOD_INIT, n_init=1).fit(X)
    found["inertia, the book's first centers"] = model.inertia_
    found["silhouette, the book's first centers"] = of("silhouette_score")(X, model.labels_)
    return found


@drawn_by(elbow)
def draw_elbow(fig, found):
    left, right = fig.subplots(1, 2)
    X = five_blobs()
    ElbowDisplay(np.array(K_ELBOW), np.array(list(found.values())[: len(K_ELBOW)])).plot(ax=left)
    model = shoal.KMeans(5, init=GOOD_INIT, n_init=1).fit(X)
    DecisionBoundaryDisplay.from_estimator(model, X, ax=right)


K_SCORES, K_DIAGRAMS = range(2, 9), (3, 4, 5, 6)


@section()
def silhouettes(of):
    """Mean silhouette over k, and the silhouettes of every row, sorted within clusters."""
    X, found = five_blobs(), {}
    for k in K_SCORES:
        labels = of("KMeans")(k, **RESTARTS).fit_predict(X)
        found[f"silhouette score, k={k}"] = of("silhouette_score")(X, labels)
        if k in K_DIAGRAMS:
            found[f"labels, k={k}"] = labels
            found[f"silhouettes, k={k}"] = of("silhouette_samples")(X, labels)
    return found


@drawn_by(silhouettes)
def draw_silhouettes(fig, found):
    for ax, k in zip(fig.subplots(2, 2).flat, K_DIAGRAMS, strict=True):
        display = SilhouetteDisplay(found[f"silhouettes, k={k}"], found[f"labels, k={k}"])
        display.plot(ax=ax).ax_.set_title(f"k={k}")


K_BATCHES = range(1, 101)


@section()
def minibatch(of):
    """Mini-batches against all rows for k = 1 to 100: inertia and seconds."""
    X, found = five_blobs(), {}
    for name in ("KMeans", "MiniBatchKMeans"):
        inertia, begun = [], time.perf_counter()
        for k in K_BATCHES:
            inertia.append(of(name)(k, random_state=42).fit(X).inertia_)
        SECONDS[of.__name__, name] = time.perf_counter() - begun
        found[f"{name}: inertia over k"] = np.array(inertia)
        found[f"{name}: inertia, k=100"] = inertia[-1]
    return found


SECONDS = {}  # of each library and class, as measured last


@drawn_by(minibatch)
def draw_minibatch(fig, found):
    left, right = fig.subplots(1, 2)
    for name in ("KMeans", "MiniBatchKMeans"):
        left.plot(K_BATCHES, found[f"{name}: inertia over k"], label=name)
    left.set(xlabel="k", ylabel="inertia", yscale="log")
    left.legend()
    names = {"theirs": "scikit-learn", "ours": "shoal"}
    labels = [f"{names[library]}, {name}" for library, name in SECONDS]
    bars = right.barh(labels, list(SECONDS.values()), color="#0072B2")
    right.bar_label(bars, fmt="%.2f", padding=3)
    right.set_xlabel("seconds for k = 1 to 100")


@section()
def memmap(of):
    """Rows in a file, mapped: mini-batches of it, and all of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npy"
        np.save(path, np.tile(load_digits().data, (20, 1)))
        X = np.load(path, mmap_mode="r")
        small = of("MiniBatchKMeans")(10, batch_size=1000, random_state=42).fit(X)
        full = of("KMeans")(10, random_state=42).fit(X)
        return {
            "mini-batches: inertia": small.inertia_,
            "mini-batches: steps": small.n_steps_,
            "all rows: inertia": full.inertia_,
            "labels": full.labels_,
        }


@drawn_by(memmap)
def draw_memmap(fig, found):
    model = shoal.KMeans(10, random_state=42).fit(load_digits().data)
    CentersDisplay.from_estimator(model, image_shape=(8, 8), ax=fig.subplots())


K_COLOURS = (10, 8, 6, 4, 2)


@cache
def photograph():
    return load_sample_image("china.jpg")[::2, ::2] / 255


@section(needs="PIL")
def segmentation(of):
    """Colours of a photograph, each replaced by its cluster's mean."""
    X, found = photograph().reshape(-1, 3), {}
    for k in K_COLOURS:
        model = of("KMeans")(k, random_state=42).fit(X)
        found[f"inertia, k={k}"] = model.inertia_
        found[f"labels, k={k}"] = model.labels_
    return found


@drawn_by(segmentation)
def draw_segmentation(fig, found):
    picture = photograph()
    axes = fig.subplots(2, 3).flat
    axes[0].imshow(picture)
    axes[0].set_title("as it is")
    for ax, k in zip(axes[1:], K_COLOURS, strict=True):
        model = shoal.KMeans(k, random_state=42).fit(picture.reshape(-1, 3))
        pixels = model.cluster_centers_[model.labels_].reshape(picture.shape)
        ax.imshow(np.clip(pixels, 0, 1))
        ax.set_title(f"{k} colours")
    for ax in fig.axes:
        ax.set_axis_off()


def split_digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, random_state=42)


def one_against_rest():
    """What the book writes as LogisticRegression(multi_class="ovr")."""
    return OneVsRestClassifier(LogisticRegression(max_iter=5000, random_state=42))


@section(
    book={
        "accuracy without clusters": 0.9688888888888889,
        "accuracy, k=50": 0.9777777777777777,
        "best k": 99,
        "accuracy, best k": 0.9822222222222222,
    }
)
def digits_pipeline(of):
    """Distances to clusters as features of a classifier of digits, and a grid over k."""
    train, test, y_train, y_test = split_digits()
    pipeline = make_pipeline(of("KMeans")(50, **RESTARTS), one_against_rest())
    found = {
        "accuracy without clusters": one_against_rest().fit(train, y_train).score(test, y_test),
        "accuracy, k=50": pipeline.fit(train, y_train).score(test, y_test),
    }
    grid = GridSearchCV(pipeline, {"kmeans__n_clusters": list(SETTINGS.grid)}, cv=3)
    grid.fit(train, y_train)
    found["best k"] = grid.best_params_["kmeans__n_clusters"]
    found["accuracy, best k"] = grid.score(test, y_test)
    found["(accuracies of the grid)"] = grid.cv_results_["mean_test_score"]
    return found


@drawn_by(digits_pipeline)
def draw_digits_pipeline(fig, found):
    ax = fig.subplots()
    ax.plot(SETTINGS.grid, found["(accuracies of the grid)"], "o-", color="#0072B2")
    ax.axvline(found["best k"], color="black", linestyle="--", linewidth=1)
    ax.set(xlabel="number of clusters k", ylabel="accuracy in cross-validation")


FEW = 50


@section(
    book={
        "accuracy of 50 labels": 0.7481108312342569,
        "of 50 representative labels": 0.8488664987405542,
        "labels propagated to all": 0.8942065491183879,
        "propagated to the nearest": 0.9093198992443325,
        "share of these that is right": 0.9755555555555555,
    }
)
def few_labels(of):
    """Semi-supervised: 50 labels, of which each is given to the rows of a cluster."""
    X, y = load_digits(return_X_y=True)
    train, test, y_train, y_test = X[:1400], X[1400:], y[:1400], y[1400:]

    def accuracy(rows, labels):
        return LogisticRegression(max_iter=10_000).fit(rows, labels).score(test, y_test)

    found = {"accuracy of 50 labels": accuracy(train[:FEW], y_train[:FEW])}
    kmeans = of("KMeans")(FEW, **RESTARTS)
    distances = kmeans.fit_transform(train)
    chosen = distances.argmin(axis=0)
    found["representatives"] = chosen
    found["of 50 representative labels"] = accuracy(train[chosen], y_train[chosen])
    propagated = y_train[chosen][kmeans.labels_]
    found["labels propagated to all"] = accuracy(train, propagated)
    own = distances[np.arange(len(train)), kmeans.labels_]
    is_near = np.zeros(len(train), bool)
    for j in range(FEW):
        mine = kmeans.labels_ == j
        is_near[mine] = own[mine] <= np.percentile(own[mine], 50)
    found["propagated to the nearest"] = accuracy(train[is_near], propagated[is_near])
    found["share of these that is right"] = np.mean(propagated[is_near] == y_train[is_near])
    return found


@drawn_by(few_labels)
def draw_few_labels(fig, found):
    train = load_digits().data[:1400]
    CentersDisplay(train[found["representatives"]], image_shape=(8, 8)).plot(ax=fig.subplots())
