"""Our answers on one machine, asked for again on another.

In tests/, on one machine `python -m trials.replay record FOLDER --trials 300 --seed 7` runs the
trials of each family beside scikit-learn's, and keeps every call of ours with what it was given
and what it answered. On another machine, or with other kernels, `python -m trials.replay compare
FOLDER` makes the same calls, so that neither random data nor scikit-learn is computed twice.

Whole numbers, labels among them, must be equal, and others but for their last digits
(trials.surface.unlike). Where they are not, the other machine answers for rows that are moved by a
rounding: if that changes its answer as well, rounding decides. Else it answers with another order
wherever NumPy's own depends on the processor: of what argpartition puts after its place, by which
empty clusters get their rows, and of what is equal for argsort, by which mini-batch k-means picks
the clusters that it fills again. scikit-learn has NumPy's order there, and so has shoal. Spectral
clusters are not determined where eigenvalues coincide. What has none of these reasons is left:
`python -m trials.replay settle FOLDER` asks the first machine the same, whose libraries for
mathematics are others. What survives there too is a bug.
"""

import argparse
import collections
import contextlib
import importlib
import inspect
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import shoal
from helpers.outcomes import outcome, public_attributes
from trials import report
from trials.diagnosis import other_orders
from trials.spectral import eigengaps
from trials.surface import rounded, unlike

FAMILIES = (
    "kmeans", "minibatch", "bisecting", "dbscan", "hdbscan", "optics", "mixture", "agglomerative",
    "silhouette", "spectral",
)  # fmt: skip
METHODS = {"fit", "fit_predict", "partial_fit"}
CALLS_A_SEED = 4  # that are kept; what explains a difference may make many more
ROUNDINGS = 6
COINCIDING = 1e-12  # eigenvalues
SURVIVES = "BUG: another answer, which survives rounding of the rows"


class Recorder:
    """Keeps calls of the public functions and of the methods of estimators that fit.

    A call that another makes is not kept, nor one whose arguments can't be pickled.
    """

    def __init__(self, file):
        self._file, self._depth, self._left = file, 0, 0
        self.n_calls = self.n_lost = 0

    def begin_seed(self, seed):
        self._seed, self._left = seed, CALLS_A_SEED

    @contextlib.contextmanager
    def installed(self):
        with contextlib.ExitStack() as stack:
            for name in shoal.__all__:
                public = getattr(shoal, name)
                if inspect.isclass(public):
                    for method in METHODS & set(dir(public)):
                        self._wrap(stack, public, method, name)
                elif inspect.isfunction(public) and public.__module__.startswith("shoal."):
                    self._wrap(stack, shoal, name, None)
            yield

    def _wrap(self, stack, owner, attribute, estimator):
        usual = getattr(owner, attribute)

        def call(*args, **kwargs):
            if self._depth or not self._left:
                return usual(*args, **kwargs)
            try:
                given = pickle.dumps((estimator, attribute, args, kwargs))
            except Exception:
                self.n_lost += 1
                return usual(*args, **kwargs)
            self._depth += 1
            try:
                value, error = usual(*args, **kwargs), None
            except Exception as raised:
                value, error = None, raised
            finally:
                self._depth -= 1
            self._left -= 1
            self.n_calls += 1
            model = args[0] if estimator else None
            pickle.dump((self._seed, given, answer_of(model, value, error)), self._file)
            if error is not None:
                raise error
            return value

        own = attribute in vars(owner)
        setattr(owner, attribute, call)
        stack.callback(setattr, owner, attribute, usual) if own else stack.callback(
            delattr, owner, attribute
        )


def answer_of(model, value, error):
    """What a call answered, as values that any machine can read."""
    if error is not None:
        return {"error": type(error).__name__}
    found = {} if value is model else {"returned": value}
    if model is not None:
        found |= public_attributes(model)
    return {name: value for name, value in found.items() if is_plain(value)}


def is_plain(value):
    if isinstance(value, (tuple, list)):
        return all(map(is_plain, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiub"
    return sp.issparse(value) or isinstance(value, (int, float, np.generic))


def answer_again(given, change=None):
    """The answer to a kept call, on its rows or on changed ones."""
    estimator, attribute, args, kwargs = pickle.loads(given)
    at = 1 if estimator else 0
    if change is not None and len(args) > at:
        args = (*args[:at], change(args[at]), *args[at + 1 :])
    function = getattr(type(args[0]) if estimator else shoal, attribute)
    result = outcome(function, *args, **kwargs)
    if result.error is not None:
        return {"error": result.error[0].__name__}
    return answer_of(args[0] if estimator else None, result.value, None)


def explain(given, answer):
    """Why this machine's answer is another; "BUG" where no reason is found."""
    if "error" in answer:
        return "BUG: an error"
    for draw in range(ROUNDINGS):
        rng = np.random.default_rng(draw)
        if unlike(answer_again(given, lambda X, rng=rng: rounded(X, rng)), answer):
            return "rounding: rows moved by a rounding change this machine's own answer"
    with other_orders():
        if unlike(answer_again(given), answer):
            return "NumPy's order: another one changes this machine's own answer"
    model = pickle.loads(given)[2][0]
    if isinstance(model, shoal.SpectralClustering):
        k = model.n_components or model.n_clusters
        gap = eigengaps(answer["affinity_matrix_"], k).min()
        if gap < COINCIDING:
            return f"eigenvalues coincide: within {gap:.1e}, and have no vectors of their own"
    return SURVIVES


def record(family, path, n_trials, first_seed):
    """Run a family's trials and keep the calls; whether one has a bug."""
    check_seed = importlib.import_module(f"trials.{family}").check_seed
    with path.open("wb") as file:
        recorder = Recorder(file)

        def check(seed):
            recorder.begin_seed(seed)
            return check_seed(seed)

        with recorder.installed():
            bad = report.run(check, __doc__, ["--trials", str(n_trials), "--seed", str(first_seed)])
    print(f"{family}: {recorder.n_calls} calls kept, {recorder.n_lost} that can't be")
    return bad or not recorder.n_calls


def compare(family, path, n_trials):
    """Make the calls of a file again and leave to `settle` what rounding does not explain.

    Whether a call fails that did not, or none was made.
    """
    begun, n_calls, seeds, reasons = time.perf_counter(), 0, set(), collections.Counter()
    with path.open("rb") as file, left_of(path).open("wb") as left:
        for seed, given, expected in load_all(file):
            if seed not in seeds and len(seeds) == n_trials:
                break
            seeds.add(seed)
            n_calls += 1
            answer = answer_again(given)
            found = unlike(answer, expected)
            if found:
                reason = explain(given, answer)
                if reason == SURVIVES:
                    pickle.dump((seed, given, found[0]), left)
                    reason = "left"
                reasons[reason.split(":")[0]] += 1
                print(f"{family} {seed}: {found[0]}\n    why: {reason}", flush=True)
    seconds = time.perf_counter() - begun
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
    print(f"{family}: {len(seeds)} trials, {n_calls} calls in {seconds:.0f} s; differing: {counts}")
    return "BUG" in reasons or not n_calls


def settle(family, path):
    """Why another machine's answers are others, by this one's; whether one has a bug."""
    reasons = collections.Counter()
    with left_of(path).open("rb") as file:
        for seed, given, words in load_all(file):
            reason = explain(given, answer_again(given))
            reasons[reason.split(":")[0]] += 1
            print(f"{family} {seed}: {words}\n    why: {reason}", flush=True)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
    print(f"{family}: left: {counts}")
    return "BUG" in reasons


def left_of(path):
    return path.with_suffix(".left.pickle")


def load_all(file):
    with contextlib.suppress(EOFError):
        while True:
            yield pickle.load(file)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["record", "compare", "settle"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    bad = False
    for family in options.families:
        path = options.folder / f"{family}.pickle"
        if options.command == "record":
            bad |= record(family, path, options.trials, options.seed)
        elif options.command == "compare":
            bad |= compare(family, path, options.trials)
        else:
            bad |= settle(family, path)
    return bad


if __name__ == "__main__":
    sys.exit(main())
