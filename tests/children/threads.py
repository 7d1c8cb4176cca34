"""What the tests of threads let other processes do: `python -m children.threads <command> ...`."""

import hashlib
import json
import os
import signal
import sys
import threading
import time

import numpy as np
from threadpoolctl import threadpool_limits

import shoal
from helpers.memory import MemoryLimit
from shoal.core import parallel

X = np.random.default_rng(0).random((6000, 6), dtype="f4")


def answer():
    """Bits of two fits whose kernels have many blocks."""
    parallel.MIN_WORK = 10_000
    model = shoal.KMeans(9, n_init=1, max_iter=8, tol=0, random_state=0).fit(X)
    mixture = shoal.GaussianMixture(3, max_iter=3, random_state=0, tol=1e-1).fit(X[:2000])
    found = hashlib.sha256(model.labels_.tobytes())
    for value in (model.cluster_centers_, mixture.means_, np.float64(model.inertia_)):
        found.update(value.tobytes())
    return found.hexdigest()


def threads():
    """The number of threads, and an answer with them."""
    return {"threads": parallel.count_threads(), "answer": answer()}


def affinity():
    """On one core, chosen after the import and a fit."""
    before = answer()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return {"threads": parallel.count_threads(), "same": answer() == before}


def run_children(count, expected):
    """Fork so many children one after the other, each of which fits; the number that did well."""
    good = 0
    for _ in range(count):
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # ends a child that hangs
            os._exit(0 if answer() == expected else 1)
        good += os.waitpid(child, 0)[1] == 0
    return good


def forks(count):
    """Fork while other threads fit; children that fork again."""
    expected, stop = answer(), threading.Event()

    def keep_fitting():
        while not stop.is_set():
            assert answer() == expected

    fitting = [threading.Thread(target=keep_fitting) for _ in range(3)]
    for thread in fitting:
        thread.start()
    good = run_children(int(count), expected)
    stop.set()
    for thread in fitting:
        thread.join()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if answer() == expected and run_children(1, expected) == 1 else 1)
    good += os.waitpid(child, 0)[1] == 0
    return good


def without_threads():
    """Where no thread can be started: there is no room for a stack."""
    with threadpool_limits(1):
        answer()  # so that all else has its memory
    with MemoryLimit(2**20):
        try:
            threading.Thread(target=int).start()
            started = True
        except RuntimeError:
            started = False
        found = answer()
    return {"started": started, "answer": found, "again": answer()}


def many_at_once(count):
    """Fits from so many threads at the same time; the different answers."""
    found = [None] * int(count)

    def fit(i):
        found[i] = answer()

    fitting = [threading.Thread(target=fit, args=(i,)) for i in range(len(found))]
    for thread in fitting:
        thread.start()
    for thread in fitting:
        thread.join()
    return sorted(set(found))


def signals(seconds):
    """Fits under a storm of signals, which Python's handler counts in the main thread."""
    heard, expected = [], answer()
    signal.signal(signal.SIGUSR1, lambda *_: heard.append(threading.current_thread().name))
    signal.signal(signal.SIGALRM, lambda *_: heard.append(threading.current_thread().name))
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert answer() == expected
    signal.setitimer(signal.ITIMER_REAL, 0)
    return {"heard": len(heard), "by": sorted(set(heard))}


def exit_while_fitting():
    """End while a daemon thread fits."""

    def keep_fitting():
        while True:
            answer()

    threading.Thread(target=keep_fitting, daemon=True).start()
    time.sleep(0.2)
    return "ended"


COMMANDS = {
    "threads": threads,
    "affinity": affinity,
    "forks": forks,
    "without_threads": without_threads,
    "many_at_once": many_at_once,
    "signals": signals,
    "exit_while_fitting": exit_while_fitting,
}

if __name__ == "__main__":
    print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
