"""Rows to put in files, and the estimators that take them from there."""

import os

import numpy as np
import pytest

import shoal
from helpers.outcomes import assert_state, snapshot
from trials.problems import blobs

MIB = 2**20
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX's signals and limits")


def problem(n, d, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = 20 * blobs(rng, n, d)
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        X = np.clip(X, info.min, info.max) if info.bits < 64 else X
        return (
            X.astype(dtype) if np.dtype(dtype).kind == "i" else np.abs(X).clip(0, 200).astype(dtype)
        )
    return (X > 0) if np.dtype(dtype) == bool else X.astype(dtype)


def assert_same_fit(ours, expected):
    state = snapshot(expected)
    assert_state(ours, state)


MODELS = {
    "lloyd": lambda k: shoal.KMeans(k, random_state=0),
    "elkan": lambda k: shoal.KMeans(k, random_state=0, algorithm="elkan"),
    "random": lambda k: shoal.KMeans(k, random_state=0, init="random", n_init=2, max_iter=4),
    "minibatch": lambda k: shoal.MiniBatchKMeans(k, random_state=0, max_iter=3, batch_size=100),
    "tolerant": lambda k: shoal.MiniBatchKMeans(k, random_state=0, tol=1e-3, n_init=2),
}
