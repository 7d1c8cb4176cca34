"""What tests run in other processes: `python -m children.kmeans <command> <arguments>`."""

import gc
import hashlib
import itertools
import json
import multiprocessing
import os
import signal
import sys
import time
import warnings

import numpy as np
import scipy.sparse as sp

import shoal
from helpers.memory import memory_of_process
from helpers.outcomes import assert_state, snapshot
from trials.problems import blobs

SHAPES = [(9000, 3, 7), (20000, 2, 20), (1500, 40, 30), (900, 130, 5)]


def problems():
    """Name, X, weight and parameters of fits over dtypes, algorithms, layouts and shapes."""
    choices = itertools.product(["f4", "f8"], ["lloyd", "elkan"], ["dense", "csr"], SHAPES)
    for number, (dtype, algorithm, layout, (n, d, k)) in enumerate(choices):
        rng = np.random.default_rng(number)
        X = blobs(rng, n, d).astype(dtype)
        if layout == "csr":
            X = sp.csr_array(np.where(rng.random(X.shape) < 0.5, X, 0))
        weight = rng.random(n).astype(dtype) if number % 2 else None
        params = {"n_clusters": k, "algorithm": algorithm, "random_state": number, "max_iter": 12}
        params |= {"init": "random", "n_init": 2} if number % 3 == 0 else {}
        yield f"{dtype} {algorithm} {layout} {n}x{d} k={k}", X, weight, params


def digest(*values):
    found = hashlib.sha256()
    for value in values:
        found.update(np.asarray(value).tobytes())
    return found.hexdigest()[:16]


def answer(X, weight, params):
    """Digests of a fit: of its labels, and of every bit of it and of the other methods."""
    model = shoal.KMeans(**params).fit(X, sample_weight=weight)
    centers, indices = shoal.kmeans_plusplus(X, 5, sample_weight=weight, random_state=1)
    rest = model.cluster_centers_, model.inertia_, model.predict(X), model.score(X), centers
    return {
        "labels": digest(model.labels_, model.n_iter_, indices),
        "bits": digest(model.labels_, model.n_iter_, indices, *rest),
    }


def answers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: answer(*problem) for name, *problem in problems()}


def fork():
    """Fit here, then in forked children, one of which forks again, then here once more."""
    _, *problem = next(iter(problems()))
    expected = answer(*problem)
    context = multiprocessing.get_context("fork")

    def child(depth):
        assert answer(*problem) == expected
        if depth:
            run_child(depth - 1)

    def run_child(depth):
        process = context.Process(target=child, args=(depth,))
        process.start()
        process.join(60)
        if process.exitcode is None:
            process.kill()
            sys.exit("a fit in a forked child hangs")
        assert process.exitcode == 0

    for depth in (0, 1):
        run_child(depth)
    assert answer(*problem) == expected
    return "done"


LONG = {
    "lloyd": {"n_clusters": 200, "init": "random", "n_init": 1000, "tol": 0, "max_iter": 10**6},
    "elkan": {"n_clusters": 200, "init": "random", "n_init": 1000, "tol": 0, "algorithm": "elkan"},
    "csr": {"n_clusters": 200, "init": "random", "n_init": 1000, "tol": 0, "max_iter": 10**6},
    "seeding": {"n_clusters": 20000},
    "one iteration": {"n_clusters": 8000, "tol": 0},
}


def long_problem(phase):
    """Data and parameters of a fit that takes far longer than any test may."""
    rng = np.random.default_rng(0)
    n, d, dtype = (300_000, 64, "f8") if phase == "one iteration" else (200_000, 16, "f4")
    X = rng.random((n, d), dtype=dtype)
    params = dict(LONG[phase], random_state=0)
    if phase == "one iteration":
        params["init"] = X[: params["n_clusters"]]
    return (sp.csr_array(X[:50_000]) if phase == "csr" else X), params


def interrupt(phase):
    """Start a long fit, and return when an interrupt ended it; the model must be as before."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    X, params = long_problem(phase)
    model = shoal.KMeans(3, random_state=0).fit(np.eye(5)).set_params(**params)
    before = snapshot(model)
    print("ready", flush=True)
    try:
        model.fit(X)
    except KeyboardInterrupt:
        ended = time.monotonic()
        assert_state(model, before)
        return ended
    return sys.exit("the fit ended before the interrupt")


def memory(dtype, algorithm, layout, init):
    """Bytes of the data, rows, and bytes by which a fit raised the peak of resident memory."""
    n, d = (500_000, 64) if dtype == "float32" else (250_000, 64)
    rng = np.random.default_rng(0)
    X = rng.random((n, d), dtype=dtype)
    if layout == "csr":
        X[X < 0.6] = 0
        X = sp.csr_array(X)
        size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    else:
        size = X.nbytes
    params = {"n_clusters": 20, "algorithm": algorithm, "init": init, "n_init": 1, "max_iter": 5}
    model = shoal.KMeans(**params, random_state=0)
    model.fit(X[:5000])
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = memory_of_process("VmRSS")
    model.fit(X)
    return {"data": size, "rows": n, "added": memory_of_process("VmHWM") - before}


COMMANDS = {f.__name__: f for f in (answers, fork, interrupt, memory)}

if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    warnings.simplefilter("ignore")
    print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
