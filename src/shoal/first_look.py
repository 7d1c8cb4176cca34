"""A first look: `python -m shoal [--plot FILE]` sets shoal beside scikit-learn on real data."""

import argparse
import itertools
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
NEXT = """To try next, on rows X of your own:
  from shoal.cluster import KMeans; model = KMeans(8, random_state=0).fit(X)  # was: sklearn
  shoal.select_n_clusters(X, range(2, 11), random_state=0)  # how many clusters?
  shoal.plot.SilhouetteDisplay.from_estimator(model, X)  # how good are they? (import shoal.plot)"""
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
    setting: str  # what the columns `with` and `algorithm` say
    algorithm: str
    score: str  # the fitted attribute compared besides the labels

    @property
    def label(self):
        return f"{self.data}: {self.algorithm}, {self.setting}"

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
    words = f"KMeans {algorithm}"
    return Row(data, "sklearn.cluster", "KMeans", params, f"k={k}", words, "inertia_")


def spectral(data, k, gamma):
    params = {"n_clusters": k, "gamma": gamma, "random_state": 0}
    score = "affinity_matrix_"
    return Row(data, "sklearn.cluster", "SpectralClustering", params, f"k={k}", "Spectral", score)


def agglomerative(data, k, linkage):
    """Compare heights by their sum."""
    params = {"n_clusters": k, "linkage": linkage, "compute_distances": True}
    return Row(
        data, "sklearn.cluster", "AgglomerativeClustering", params, f"k={k}", linkage, "distances_"
    )


def dbscan(data, eps, min_samples):
    params = {"eps": eps, "min_samples": min_samples}
    return Row(data, "sklearn.cluster", "DBSCAN", params, f"eps={eps:.2g}", "DBSCAN", "components_")


def hdbscan(data, min_cluster_size):
    """With core distances of zero: scikit-learn's answer depends on the order of rows otherwise."""
    params = {"min_cluster_size": min_cluster_size, "min_samples": 1, "copy": True}
    setting = f"size={min_cluster_size}"
    return Row(data, "sklearn.cluster", "HDBSCAN", params, setting, "HDBSCAN", "probabilities_")


def mixture(data, k, covariance_type):
    params = {"n_components": k, "covariance_type": covariance_type, "random_state": 0}
    params |= {"reg_covar": 1e-2, "tol": 1e-2}
    words = f"GM {covariance_type}"
    return Row(data, "sklearn.mixture", "GaussianMixture", params, f"k={k}", words, "lower_bound_")


ROWS = (
    kmeans("iris", 3),
    kmeans("digits", 10),
    kmeans("china.jpg", 8),
    kmeans("china.jpg", 64),
    kmeans("colours", 64, "elkan"),
    spectral("digits", 10, 0.0005),
    Row("digits", "sklearn.metrics", "silhouette_samples", {}, "k=10", "silhouettes", "score_"),
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


# heading of several columns, heading, width, text of a result; words go left, numbers right
COLUMNS = (
    ("", "data", -9, lambda r: r.row.data),
    ("", "n x d", 10, lambda r: f"{r.shape[0]} x {r.shape[1]}"),
    ("", "algorithm", -12, lambda r: r.row.algorithm),
    ("", "with", -9, lambda r: r.row.setting),
    ("differ", "labels", 6, lambda r: str(r.differing)),
    ("differ", "score", 5, lambda r: f"{r.score_error:.0e}" if r.score_error else "0"),
    ("ms", "sklearn", 7, lambda r: f"{1e3 * r.seconds['scikit-learn']:.1f}"),
    ("ms", "shoal", 6, lambda r: f"{1e3 * r.seconds['shoal']:.1f}"),
    ("", "ratio", 5, lambda r: f"{r.ratio:.1f}"),
    ("MiB", "sklearn", 7, lambda r: mebibytes(r.added["scikit-learn"])),
    ("MiB", "shoal", 5, lambda r: mebibytes(r.added["shoal"])),
)


def mebibytes(number):
    return "n/a" if number is None else f"{number / MIB:.1f}"


def line(texts):
    """Join one text a column, padded to the columns' widths."""
    cells = zip(texts, (width for _, _, width, _ in COLUMNS), strict=True)
    return "  ".join(f"{t:<{-w}}" if w < 0 else f"{t:>{w}}" for t, w in cells).rstrip()


def headings():
    """Return the two lines above the table: what columns share, ruled over these, and theirs."""
    shared = []
    for group, columns in itertools.groupby(COLUMNS, lambda column: column[0]):
        width = sum(abs(column[2]) + 2 for column in columns) - 2
        shared.append(f" {group} ".center(width, "-") if group else " " * width)
    return "  ".join(shared).rstrip(), line(column[1] for column in COLUMNS)


def explain(result):
    """Say how many labels differ, beside how far scikit-learn is from itself."""
    row = result.row
    return (
        f"{row.label}: {result.differing} of {result.shape[0]} labels differ; scikit-learn on "
        f"one thread changes {result.own} of its own."
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
    """Draw the ratios, the photograph in 8 colours, and the digits' clusters."""
    from matplotlib.figure import Figure

    from shoal.plot import CentersDisplay, ElbowDisplay, SilhouetteDisplay

    figure = Figure(figsize=(9, 11), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(0.3 + 0.2 * len(results), 3, 3.2))
    draw_ratios(top.subplots(), results)
    X = china()
    model = shoal.KMeans(8, random_state=0).fit(X)
    shape = load_sample_image("china.jpg").shape
    pictures = {
        f"{len(np.unique(X, axis=0)):,} colours": X,
        "8 colours": model.cluster_centers_[model.labels_],
    }
    for ax, (title, pixels) in zip(middle.subplots(1, 2), pictures.items(), strict=True):
        ax.imshow(np.clip(pixels, 0, 1).reshape(shape))
        ax.set_title(title)
        ax.set_axis_off()
    digits = load_digits().data
    found = shoal.select_n_clusters(digits, range(2, 21), scores=["inertia"], random_state=0)
    model = found.estimators[list(found.n_clusters).index(10)]
    left, center, right = bottom.subplots(1, 3)
    CentersDisplay.from_estimator(model, image_shape=(8, 8), ax=left)
    SilhouetteDisplay.from_estimator(model, digits, ax=center)
    ElbowDisplay.from_selection(found, ax=right)
    left.set_title("1797 digits: 10 centers")
    center.set_title("their silhouettes")
    right.set_title("how many clusters?")
    figure.savefig(path, dpi=120)


def draw_ratios(ax, results):
    """Draw a bar a fit."""
    bars = ax.barh([r.row.label for r in results], [r.ratio for r in results], color="#0072B2")
    ax.bar_label(bars, fmt="%.1f", padding=3)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.margins(x=0.15)
    ax.set_xlabel("times as fast as scikit-learn")


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
    print("several fits, in turn. Memory: what one fit adds at its peak, in its own process.")
    print("Differ: labels, and the relative difference of inertia or the like.\n")
    for heading in headings():
        print(heading)
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
    print(f"\n{NEXT}")
