"""A first look: `python -m shoal [--plot FILE]` sets shoal beside scikit-learn on real data."""

import argparse
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits, load_iris, load_sample_image
from threadpoolctl import threadpool_limits

import shoal
from shoal.core.memory import added_by

ENGINES = ("scikit-learn", "shoal")
MIB = 2**20
# where it can be, forked from a process that has imported everything and used no thread
CHILDREN = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)


class Row(NamedTuple):
    """One line of the table: an estimator, its parameters and the data it is fitted to."""

    data: str  # a key of DATA
    module: str  # where scikit-learn keeps the estimator; in shoal it is at the top
    name: str
    params: dict
    k: str  # what the columns `k` and `algorithm` say
    algorithm: str
    score: str  # the fitted attribute compared besides the labels

    def model(self, engine):
        home = shoal if engine == "shoal" else import_module(self.module)
        made = getattr(home, self.name)
        return Silhouettes(made) if self.name == "silhouette_samples" else made(**self.params)


class Silhouettes:
    """Which images lie nearer to those of their own digit than to another's, as a clustering."""

    def __init__(self, function):
        self.function, self.digits = function, load_digits().target

    def fit_predict(self, X):
        found = self.function(X, self.digits[: len(X)])
        self.score_ = found.mean()
        return found > 0


class Result(NamedTuple):
    row: Row
    shape: tuple
    differing: int  # labels that are not scikit-learn's
    own: int  # labels that scikit-learn changes itself on one thread; counted if any differ
    score_error: float  # relative
    seconds: dict  # of each engine
    added: dict  # bytes, or None, of each engine

    @property
    def ratio(self):
        return self.seconds["scikit-learn"] / self.seconds["shoal"]


def china():
    """Return the 273,280 pixels of scikit-learn's sample photograph, colours from 0 to 1."""
    return load_sample_image("china.jpg").reshape(-1, 3) / 255


def colours():
    """Return every third pixel of the photograph."""
    return np.ascontiguousarray(china()[::3])


DATA = {
    "iris": lambda: load_iris().data,
    "digits": lambda: load_digits().data,
    "china.jpg": china,
    "colours": colours,
}


def kmeans(data, k, algorithm="lloyd"):
    params = {"n_clusters": k, "algorithm": algorithm, "random_state": 0}
    return Row(data, "sklearn.cluster", "KMeans", params, str(k), f"KMeans {algorithm}", "inertia_")


def spectral(data, k, gamma):
    params = {"n_clusters": k, "gamma": gamma, "random_state": 0}
    score = "affinity_matrix_"
    return Row(data, "sklearn.cluster", "SpectralClustering", params, str(k), "Spectral", score)


def agglomerative(data, k, linkage):
    """Compare heights by their sum."""
    params = {"n_clusters": k, "linkage": linkage, "compute_distances": True}
    return Row(
        data, "sklearn.cluster", "AgglomerativeClustering", params, str(k), linkage, "distances_"
    )


def dbscan(data, eps, min_samples):
    params = {"eps": eps, "min_samples": min_samples}
    return Row(data, "sklearn.cluster", "DBSCAN", params, "", f"DBSCAN {eps:.2g}", "components_")


def hdbscan(data, min_cluster_size):
    """With core distances of zero: scikit-learn's answer depends on the order of rows otherwise."""
    params = {"min_cluster_size": min_cluster_size, "min_samples": 1, "copy": True}
    words = f"HDBSCAN {min_cluster_size}"
    return Row(data, "sklearn.cluster", "HDBSCAN", params, "", words, "probabilities_")


def mixture(data, k, covariance_type):
    params = {"n_components": k, "covariance_type": covariance_type, "random_state": 0}
    params |= {"reg_covar": 1e-2, "tol": 1e-2}
    words = f"GM {covariance_type}"
    return Row(data, "sklearn.mixture", "GaussianMixture", params, str(k), words, "lower_bound_")


ROWS = (
    kmeans("iris", 3),
    kmeans("digits", 10),
    kmeans("china.jpg", 8),
    kmeans("china.jpg", 64),
    kmeans("colours", 64, "elkan"),
    spectral("digits", 10, 0.0005),
    Row("digits", "sklearn.metrics", "silhouette_samples", {}, "10", "silhouettes", "score_"),
    agglomerative("digits", 10, "ward"),
    dbscan("digits", 21.0, 8),
    dbscan("colours", 3 / 255, 10),
    hdbscan("digits", 20),
    mixture("iris", 3, "full"),
    mixture("digits", 10, "full"),
)


def compare(index):
    """Fit the row by both engines and return what is to be told of it."""
    row = ROWS[index]
    X = DATA[row.data]()
    models = {engine: row.model(engine) for engine in ENGINES}
    seconds, labels = race(models, X)
    theirs, ours = (getattr(models[engine], row.score) for engine in ENGINES)
    differing = count_differing(labels["shoal"], labels["scikit-learn"])
    own = 0
    if differing:
        with threadpool_limits(1):
            alone = models["scikit-learn"].fit_predict(X)
        own = count_differing(alone, labels["scikit-learn"])
    return Result(
        row,
        X.shape,
        differing,
        own,
        score_error(ours, theirs),
        seconds,
        memory_in_children(index),
    )


def score_error(ours, theirs):
    """Return the relative difference of two numbers, or of the sums of two arrays."""
    ours, theirs = float(np.sum(ours)), float(np.sum(theirs))
    return abs(ours - theirs) / abs(theirs)


def count_differing(a, b):
    return int(np.count_nonzero(a != b))


def race(models, X, seconds=0.3, least=2, most=30):
    """Fit the models in turn for about `seconds`; return each one's fastest time and labels."""
    best = dict.fromkeys(models, math.inf)
    labels = {}
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < least or (rounds < most and time.perf_counter() < deadline):
        for engine, model in models.items():
            time.sleep(0.01)  # the other engine's threads keep spinning for a moment
            start = time.perf_counter()
            labels[engine] = model.fit_predict(X)
            best[engine] = min(best[engine], time.perf_counter() - start)
        rounds += 1
    return best, labels


def memory_in_children(index):
    """Return the bytes, or None, that one fit of each engine adds at its peak.

    A process for each, as what a fit frees may stay with its process and serve the next.
    """
    with ProcessPoolExecutor(2, mp_context=CHILDREN, max_tasks_per_child=1) as pool:
        return dict(zip(ENGINES, pool.map(peak, [index] * 2, ENGINES), strict=True))


def peak(index, engine):
    """The child's part of memory_in_children."""
    row = ROWS[index]
    X = DATA[row.data]()
    some = X[:: 1 + len(X) // 500]
    row.model(engine).fit_predict(some)  # imports and thread pools are not the fit's
    return added_by(lambda: row.model(engine).fit_predict(X))


# heading (two lines), width, text of a result; numbers are aligned right, words left
COLUMNS = (
    ("", "data", -9, lambda r: r.row.data),
    ("", "n x d", 10, lambda r: f"{r.shape[0]} x {r.shape[1]}"),
    ("", "k", 3, lambda r: r.row.k),
    ("", "algorithm", -12, lambda r: r.row.algorithm),
    ("labels", "differing", 9, lambda r: str(r.differing)),
    ("score", "rel.diff", 8, lambda r: f"{r.score_error:.0e}" if r.score_error else "0"),
    ("time", "sklearn", 7, lambda r: f"{1e3 * r.seconds['scikit-learn']:.1f}"),
    ("in ms", "shoal", 7, lambda r: f"{1e3 * r.seconds['shoal']:.1f}"),
    ("times", "faster", 6, lambda r: f"{r.ratio:.1f}"),
    ("adds", "sklearn", 7, lambda r: mebibytes(r.added["scikit-learn"])),
    ("MiB", "shoal", 6, lambda r: mebibytes(r.added["shoal"])),
)


def mebibytes(number):
    return "n/a" if number is None else f"{number / MIB:.1f}"


def line(texts):
    """Join one text a column, padded to the columns' widths."""
    cells = zip(texts, (width for _, _, width, _ in COLUMNS), strict=True)
    return " ".join(f"{t:<{-w}}" if w < 0 else f"{t:>{w}}" for t, w in cells).rstrip()


def explain(result):
    """Say how many labels differ, beside how far scikit-learn is from itself."""
    row = result.row
    return (
        f"{row.data} k={row.k}, {row.algorithm}: {result.differing} of {result.shape[0]} labels "
        f"differ; scikit-learn on one thread changes {result.own} of its own."
    )


def closing(results):
    """Return the sentence that states the outcome."""
    ratios = [r.ratio for r in results]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    same = sum(r.differing == 0 for r in results)
    return (
        f"shoal found scikit-learn's labels in {same} of {len(results)} fits and was "
        f"{min(ratios):.1f} to {max(ratios):.1f} times\nas fast (geometric mean {mean:.1f})."
    )


def draw(results, path):
    """Draw the ratios, and the photograph beside its version of 8 colours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    axes = top.subplots()
    names = [f"{r.row.data} k={r.row.k}, {r.row.algorithm}" for r in results]
    bars = axes.barh(names, [r.ratio for r in results], color="tab:blue")
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as scikit-learn")
    X = china()
    model = shoal.KMeans(8, random_state=0).fit(X)
    shape = load_sample_image("china.jpg").shape
    pictures = {
        f"{len(np.unique(X, axis=0)):,} colours": X,
        "8 colours": model.cluster_centers_[model.labels_],
    }
    for ax, (title, pixels) in zip(bottom.subplots(1, 2), pictures.items(), strict=True):
        ax.imshow(np.clip(pixels, 0, 1).reshape(shape))
        ax.set_title(title)
        ax.set_axis_off()
    figure.savefig(path, dpi=120)


def arguments():
    parser = argparse.ArgumentParser(
        prog="python -m shoal",
        description="shoal beside scikit-learn on real data",
        epilog="python -m shoal [--report] [--progress] [--profile FILE] (script | -m module | "
        "-c code) runs code with scikit-learn patched instead",
    )
    names = sorted({row.data for row in ROWS})
    parser.add_argument("--only", choices=names, help="fit this data set alone")
    parser.add_argument("--plot", metavar="FILE", help="draw the outcome (.png, .svg, .pdf)")
    options = parser.parse_args()
    if options.plot and not (find_spec("matplotlib") and find_spec("PIL")):
        parser.error('--plot needs matplotlib and Pillow: pip install "shoal[plot]"')
    return options


def main():
    options = arguments()
    if CHILDREN.get_start_method() == "forkserver":
        CHILDREN.set_forkserver_preload(["shoal.first_look", "sklearn.cluster", "sklearn.mixture"])
    shoal.show_config()
    print("\nshoal beside scikit-learn, same parameters and random_state. Time: the fastest of")
    print("several fits, in turn. Memory: what one fit adds at its peak, in its own process.\n")
    for heading in range(2):
        print(line(column[heading] for column in COLUMNS))
    results = []
    for index, row in enumerate(ROWS):
        if options.only not in (None, row.data):
            continue
        if row.data in ("china.jpg", "colours") and not find_spec("PIL"):
            continue
        results.append(compare(index))
        print(line(text(results[-1]) for *_, text in COLUMNS), flush=True)
    if not find_spec("PIL"):
        print('china.jpg left out: reading it needs Pillow, pip install "shoal[plot]"')
    for result in results:
        if result.differing:
            print(explain(result))
    print(f"\n{closing(results)}")
    if options.plot:
        draw(results, options.plot)
        print(f"Drawn: {options.plot}")
