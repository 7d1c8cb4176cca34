"""Random fits of rows that are kept elsewhere, compared with fits of the same rows in memory.

In tests/, `python -m trials.sources --trials 500 --seed 7`: all bits must be equal, whatever the
format, its chunks, the type of the values, weights, threads, and the sizes of blocks and buffers.
"""

import contextlib
import itertools
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import shoal
from helpers.outcomes import outcome, public_attributes
from helpers.stores import STORES
from shoal.core import parallel, sources, stored
from shoal.kmeans import sampling
from trials import report
from trials.problems import KINDS

CONSTANTS = {  # what decides how rows are read, each with several values
    (parallel, "BLOCK_BYTES"): (2**10, 2**14, 2**22),
    (parallel, "MIN_WORK"): (1000, 4_000_000),
    (stored, "SPAN_BYTES"): (1, 2**13, 2**24),
    (stored, "GATHER_BYTES"): (1, 2**10, 2**16),
    (sources, "HELD_BYTES"): (0, 2**13, 2**16, 2**28),
    (sampling, "AHEAD_BYTES"): (1, 2**16, 2**26),
}
DTYPES = ("f4", "f8", "i2", "i8", "u1", "?", "f2")
SWAPPED = (">f4", ">f8")  # which tables do not have


@dataclass(frozen=True)
class Trial:
    """One problem; what has no field here is drawn from the seed."""

    seed: int
    n: int
    d: int
    kind: str
    dtype: str
    store: str
    model: str
    weighted: bool
    threads: int
    constants: tuple


def draw_trial(seed):
    rng = np.random.default_rng([seed, 17])
    store = str(rng.choice(list(STORES)))
    swapped = rng.random() < 0.1 and store in ("npy", "npy_list", "hdf5", "zarr_array", "slices")
    return Trial(
        seed=seed,
        n=int(np.exp(rng.uniform(np.log(40), np.log(4000)))),
        d=int(np.exp(rng.uniform(0, np.log(40)))),
        kind=str(rng.choice(list(KINDS))),
        dtype=str(rng.choice(SWAPPED if swapped else DTYPES, p=None if swapped else P_DTYPES)),
        store=store,
        model=str(rng.choice(list(MODELS))),
        weighted=bool(rng.random() < 0.4),
        threads=int(rng.integers(1, 4)),
        constants=tuple(int(rng.choice(values)) for values in CONSTANTS.values()),
    )


P_DTYPES = (0.35, 0.25, 0.1, 0.1, 0.08, 0.06, 0.06)


def data(trial):
    rng = np.random.default_rng(trial.seed)
    X = KINDS[trial.kind](rng, trial.n, trial.d)
    if trial.dtype in ("i2", "i8", "u1", "?", "f2"):
        X = np.clip(X, -100, 100)
        X = np.abs(X) if trial.dtype == "u1" else X
        X = X > 0 if trial.dtype == "?" else X
    weights = rng.random(trial.n) + 0.01 if trial.weighted else None
    return np.ascontiguousarray(X.astype(trial.dtype)), weights


def fit_kmeans(algorithm, init):
    def fit(X, weights, seed):
        settings = {"algorithm": algorithm, "init": init, "n_init": 1, "max_iter": 8}
        model = shoal.KMeans(1 + seed % 9, random_state=seed, **settings)
        model.fit(X, sample_weight=weights)
        return model, model.predict(X), model.transform(X), model.score(X, sample_weight=weights)

    return fit


def fit_minibatch(X, weights, seed):
    model = shoal.MiniBatchKMeans(
        1 + seed % 7, random_state=seed, max_iter=5, batch_size=1 + seed % 150, tol=seed % 2 * 1e-3
    )
    model.fit(X, sample_weight=weights)
    return model, model.predict(X), model.partial_fit(X).cluster_centers_


def fit_sequential(X, weights, seed):
    model = shoal.MiniBatchKMeans(1 + seed % 7, random_state=seed, batch_size=40 + seed % 150)
    return (model.fit_sequential(X, sample_weight=weights, n_passes=1 + seed % 2),)


def fit_mixture(X, weights, seed):
    init = ("kmeans", "k-means++", "random", "random_from_data")[seed % 4]
    covariance = ("full", "tied", "diag", "spherical")[seed // 4 % 4]
    model = shoal.GaussianMixture(
        1 + seed % 3, covariance_type=covariance, init_params=init, random_state=seed, max_iter=4,
        reg_covar=1e-3,
    )  # fmt: skip
    model.fit(X, sample_weight=weights)
    answers = model.predict(X), model.predict_proba(X), model.score_samples(X), model.score(X)
    return model, *answers, model.fit_predict(X)


def fit_bayesian(X, weights, seed):
    model = shoal.BayesianGaussianMixture(
        n_components=2, random_state=seed, max_iter=3, reg_covar=1e-3
    )
    return model.fit(X, sample_weight=weights), model.predict(X), model.score_samples(X)


def seeds(X, weights, seed):
    return shoal.kmeans_plusplus(X, 1 + seed % 8, sample_weight=weights, random_state=seed)


def k_means(X, weights, seed):
    return shoal.k_means(X, 1 + seed % 8, sample_weight=weights, random_state=seed, max_iter=3)


MODELS = {
    "lloyd": fit_kmeans("lloyd", "k-means++"),
    "elkan": fit_kmeans("elkan", "k-means++"),
    "random": fit_kmeans("lloyd", "random"),
    "minibatch": fit_minibatch,
    "sequential": fit_sequential,
    "mixture": fit_mixture,
    "bayesian": fit_bayesian,
    "seeds": seeds,
    "k_means": k_means,
}


def parts(found):
    """Every array and number of an answer, in the form that tells bits apart."""
    for value in found:
        if hasattr(value, "get_params"):
            attributes = public_attributes(value)
            attributes.pop("feature_names_in_", None)  # tables have names, arrays have none
            yield from ((name, as_bits(v)) for name, v in sorted(attributes.items()))
        else:
            yield "answer", as_bits(value)


def as_bits(value):
    value = np.asarray(value)
    return value.dtype.str, value.shape, value.tobytes()


@contextlib.contextmanager
def constants(values):
    before = [getattr(module, name) for module, name in CONSTANTS]
    try:
        for (module, name), value in zip(CONSTANTS, values, strict=True):
            setattr(module, name, value)
        yield
    finally:
        for (module, name), value in zip(CONSTANTS, before, strict=True):
            setattr(module, name, value)


def answers(trial, X, weights):
    """Of the array in memory, and of the rows put away."""
    fit, store = MODELS[trial.model], STORES[trial.store]
    with tempfile.TemporaryDirectory() as folder, constants(trial.constants):
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")
            kept = store(Path(folder), X, np.random.default_rng(trial.seed))
            if hasattr(kept, "dtype"):  # zarr keeps no byte order
                X = X.astype(kept.dtype)
            plain = X if X.dtype.isnative and X.dtype.char in "fd" else X.astype("f8")
            plain = X if trial.model == "seeds" else plain  # centers in the type of the rows
            expected = outcome(lambda: list(parts(fit(plain, weights, trial.seed))))
        with threadpool_limits(trial.threads):
            found = outcome(lambda: list(parts(fit(kept, weights, trial.seed))))
        file = getattr(kept, "file", None)  # of h5py: Windows does not remove open files
        if file is not None:
            file.close()
    return found, expected


def check_seed(seed):
    """None where all bits are equal, else (trial, differences, verdict)."""
    trial = draw_trial(seed)
    found, expected = answers(trial, *data(trial))
    if (found.error or (None,))[0] != (expected.error or (None,))[0]:
        return trial, f"{found.error} against {expected.error}", "BUG: other errors"
    if found.error is not None:
        return None
    differing = [
        (name, a[:2], b[:2])
        for (name, a), (other, b) in itertools.zip_longest(
            found.value, expected.value, fillvalue=(None, None)
        )
        if name != other or a != b
    ]
    return (trial, str(differing), "BUG: other bits") if differing else None


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
