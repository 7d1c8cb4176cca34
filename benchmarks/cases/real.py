"""Real data: patches of photographs, texts, digits. What blobs show of a method is little."""

import numpy as np

from benchmarks.cases import Group, Row, _real
from benchmarks.cases import _kmeans as kmeans
from benchmarks.cases import agglomerative as trees
from benchmarks.cases import dbscan as density
from benchmarks.cases import kmeans_predict as predict
from benchmarks.cases import spectral as graphs


def first_rows(name, n, k, load, iterations=10, dtype="f4", memory=True):
    """Declare a fit or a prediction whose centers are rows drawn at random."""

    def build(n):
        X = np.ascontiguousarray(load(n), dtype=dtype)
        centers = kmeans.first_centers(X, k, np.random.default_rng(k))
        return kmeans.Problem(X, k, centers, iterations, 0.0)

    return Row(f"{name} k={k} {dtype}", n, max(2 * k, 1000), build, memory)


def patches16(n):
    return _real.patches(n, 16)


def patches8(n):
    return _real.patches(n, 8)


def texts256(n):
    return _real.dense_texts(n, 256)


def texts64(n):
    return _real.dense_texts(n, 64)


def digits(n):
    return _real.digits()[:n]


KMEANS_ROWS = (
    first_rows("patches 60000x768", 60000, 1000, patches16),
    first_rows("patches 100000x192", 100000, 256, patches8),
    first_rows("patches 100000x192", 100000, 1000, patches8),
    first_rows("texts 40000x256", 40000, 200, texts256),
    first_rows("texts 40000x256", 40000, 1000, texts256),
    first_rows("texts 40000x256", 40000, 8000, texts256),
    first_rows("texts 15000x64", 15000, 300, texts64),
    first_rows("texts 40000x256", 40000, 1000, texts256, dtype="f8"),
    first_rows("patches 20000x768", 20000, 500, patches16, dtype="f8"),
)
PREDICT_ROWS = (
    first_rows("patches 60000x768", 60000, 500, patches16, 1, memory=False),
    first_rows("texts 40000x256", 40000, 1000, texts256, 1, memory=False),
    first_rows("patches 100000x192", 100000, 256, patches8, 1, memory=False),
)


def tree_row(name, n, linkage, load):
    def build(n):
        return trees.Problem(load(n), linkage)

    return Row(f"{linkage} {name}", n, min(n, 1000), build, memory=False)


def dbscan_row(name, n, eps, load):
    def build(n):
        return density.Problem(load(n), eps, 5)

    return Row(f"{name} eps={eps}", n, min(n, 1000), build, memory=False)


def graph_row(name, n, load, **params):
    def build(n):
        return graphs.Problem(load(n), params)

    return Row(f"{name} neighbors", n, min(n, 1000), build, memory=False)


def group(key, title, module, engines, rows, **options):
    rivals = tuple(engine.name for engine in engines[:-1])
    return Group(key, title, engines, rivals, rows, module.check, module.work, **options)


def kmeans_group(key, title, rows):
    engines = (kmeans.LLOYD, kmeans.ELKAN, kmeans.ONEDAL, kmeans.FAISS, kmeans.SUPERKMEANS)
    engines += (kmeans.SHOAL,)
    return group(key, title, kmeans, engines, rows, settle=kmeans.as_many_iterations)


def predict_group(key, title, rows):
    engines = (predict.SKLEARN, predict.ONEDAL, predict.FAISS, predict.SHOAL)
    return group(key, title, predict, engines, rows)


GROUPS = (
    kmeans_group(
        "real-kmeans", "KMeans.fit on real data: same initial centers, 10 iterations", KMEANS_ROWS
    ),
    predict_group("real-predict", "KMeans.predict on real data, same centers", PREDICT_ROWS),
    group(
        "real-dbscan",
        "DBSCAN.fit on real data",
        density,
        (density.SKLEARN, density.ONEDAL, density.SHOAL),
        (
            dbscan_row("texts 15000x64", 15000, 0.5, texts64),
            dbscan_row("texts 10000x256", 10000, 0.7, texts256),
            dbscan_row("patches 10000x192", 10000, 2.0, patches8),
        ),
    ),
    group(
        "real-single",
        "Single linkage of real data, where many distances tie",
        trees,
        (trees.SKLEARN, trees.VECTOR, trees.GENIE, trees.SHOAL),
        (
            tree_row("texts 10000x64", 10000, "single", texts64),
            tree_row("texts 10000x256", 10000, "single", texts256),
            tree_row("patches 10000x192", 10000, "single", patches8),
        ),
    ),
    group(
        "real-spectral",
        "SpectralClustering.fit on real data, by nearest neighbors",
        graphs,
        (graphs.SKLEARN, graphs.SHOAL),
        (
            graph_row("digits", 1797, digits, n_clusters=10, affinity="nearest_neighbors"),
            graph_row("texts", 4000, texts64, n_clusters=10, affinity="nearest_neighbors"),
            graph_row("patches", 6000, patches8, n_clusters=8, affinity="nearest_neighbors"),
        ),
    ),
)
