"""The packages compared: which are installed, which version, and how their threads are limited."""

import os
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import threadpoolctl

# distribution: the module whose import loads its thread pool
PEERS = {
    "scikit-learn": "sklearn.cluster",
    "scikit-learn-intelex": "sklearnex.cluster",
    "dbscan": "dbscan",
    "faiss-cpu": "faiss",
    "fast-hdbscan": "fast_hdbscan",
    "fastcluster": "fastcluster",
    "genieclust": "genieclust",
    "hdbscan": "hdbscan",
    "superkmeans": "superkmeans",
    "shoal": "shoal",
}


@cache
def installed():
    """Return {distribution: version} of the peers that are there."""
    there = (name for name, module in PEERS.items() if find_spec(module.partition(".")[0]))
    return {name: _version(name) for name in there}


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:  # found on the path, not installed
        return import_module(PEERS[name]).__version__


def cores():
    """Number of CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def limited(threads):
    """Let every peer use this many threads.

    OpenMP serves scikit-learn and faiss, and shoal's own pool is limited with it; oneDAL has a
    pool of its own too, whose size scikit-learn-intelex derives from OpenMP's at each call.
    """
    for name in installed():  # a limit reaches only libraries that are loaded
        import_module(PEERS[name])
    with threadpoolctl.threadpool_limits(threads):
        if "faiss-cpu" in installed():
            import_module("faiss").omp_set_num_threads(threads)
        if "fast-hdbscan" in installed():
            import_module("numba").set_num_threads(threads)
        yield
