"""What tests of DBSCAN run in other processes: `python -m children.dbscan <command> ...`."""

import json
import multiprocessing
import os
import signal
import sys
import time
import warnings

import numpy as np

import shoal
from children.kmeans import digest
from helpers.memory import memory_of_process
from helpers.outcomes import assert_state, snapshot

SHAPES = [(3000, 1, 0.01), (6000, 2, 0.1), (4000, 3, 0.4), (2000, 9, 2.6), (1500, 30, 6.5)]


def blobs(n, d, dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    centers = 5 * rng.standard_normal((8, d))
    return (centers[rng.integers(8, size=n)] + rng.standard_normal((n, d))).astype(dtype)


def answers():
    """Digests of fits and predictions over shapes, types and metrics."""
    found = {}
    for n, d, eps in SHAPES:
        for dtype in ("f4", "f8"):
            X = blobs(n, d, dtype)
            for metric, factor in (("euclidean", 1), ("manhattan", d**0.5), ("chebyshev", 0.7)):
                model = shoal.DBSCAN(eps=eps * factor, min_samples=6, metric=metric).fit(X)
                parts = (model.labels_, model.core_sample_indices_, model.components_)
                found[f"{metric} {n}x{d} {dtype}"] = digest(*parts, model.predict(X[:200] + 0.1))
    return found


def fork():
    """Fit here, then in forked children, one of which forks again, then here once more."""
    X = blobs(20_000, 3)
    model = shoal.DBSCAN(eps=0.4)
    expected = digest(model.fit(X).labels_)
    context = multiprocessing.get_context("fork")

    def child(depth):
        assert digest(model.fit(X).labels_) == expected
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
    assert digest(model.fit(X).labels_) == expected
    return "done"


# No row ever has enough neighbours, and few boxes exclude any: all pairs are compared.
LONG = {
    "differences": (600_000, 12, 1.0),
    "products": (200_000, 100, 3.0),
    "predict": (10**5, 60, 9.0),
}


def interrupt(phase):
    """Start a long fit, and give the time when an interrupt ended it; the model is as before."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    n, d, eps = LONG[phase]
    X = np.random.default_rng(0).random((n, d), dtype="f4")
    model = shoal.DBSCAN(eps=eps, min_samples=2).fit(X[:1000])
    run = model.set_params(min_samples=n).fit
    if phase == "predict":
        model.set_params(min_samples=1, eps=0.01).fit(X[::-1]).set_params(eps=eps)
        X = np.random.default_rng(1).random((n, d), dtype="f4")
        run = model.predict
    before = snapshot(model)
    print("ready", flush=True)
    try:
        run(X)
    except KeyboardInterrupt:
        ended = time.monotonic()
        assert_state(model, before)
        return ended
    return sys.exit("it ended before the interrupt")


def memory(n, d, dtype, eps):
    """Bytes of the data, rows, and bytes by which a fit raised the peak of resident memory."""
    X = blobs(int(n), int(d), dtype)
    model = shoal.DBSCAN(eps=float(eps), min_samples=5)
    model.fit(X[:5000])
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = memory_of_process("VmRSS")
    model.fit(X)
    return {"data": X.nbytes, "rows": len(X), "added": memory_of_process("VmHWM") - before}


COMMANDS = {f.__name__: f for f in (answers, fork, interrupt, memory)}

if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    warnings.simplefilter("ignore")
    print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
