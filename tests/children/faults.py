"""Faults that are made while every estimator fits: `python -m children.faults <command> ...`.

The commands print what went wrong, and how often the fault struck; `interrupts KMeans 1000 7` is
a thousand interrupts in the midst of fits, at random moments drawn from the seed 7, and `every
interrupts 1000 7` as many of every estimator. tests/test_faults.py makes a few. Memory is limited
for arrays of any size under
`MALLOC_MMAP_THRESHOLD_=4096 MALLOC_TRIM_THRESHOLD_=0 MALLOC_TOP_PAD_=0` (glibc's).
"""

import contextlib
import gc
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import shoal
from children.kmeans import digest
from helpers.memory import MemoryLimit, memory_of_process
from helpers.outcomes import snapshot

X = np.random.default_rng(0).normal(size=(4000, 8)) + 4 * np.random.default_rng(1).integers(
    0, 4, size=(4000, 1)
)
FITS = {  # an estimator and how many rows it gets: 5 to 100 ms each
    "KMeans": (lambda: shoal.KMeans(30, n_init=2, random_state=0), 4000),
    "elkan": (lambda: shoal.KMeans(30, algorithm="elkan", random_state=0), 4000),
    "MiniBatchKMeans": (lambda: shoal.MiniBatchKMeans(30, random_state=0), 4000),
    "BisectingKMeans": (lambda: shoal.BisectingKMeans(12, random_state=0), 4000),
    "DBSCAN": (lambda: shoal.DBSCAN(eps=2), 4000),
    "search": (lambda: shoal.DBSCAN(eps=0.5, metric="canberra"), 600),
    "HDBSCAN": (lambda: shoal.HDBSCAN(), 2000),
    "OPTICS": (lambda: shoal.OPTICS(), 800),
    "ward": (lambda: shoal.AgglomerativeClustering(4), 1500),
    "large ward": (lambda: shoal.AgglomerativeClustering(4), 2500),
    "average": (lambda: shoal.AgglomerativeClustering(4, linkage="average"), 1500),
    "single": (lambda: shoal.AgglomerativeClustering(4, linkage="single"), 3000),
    "FeatureAgglomeration": (lambda: shoal.FeatureAgglomeration(3), 4000),
    "SpectralClustering": (lambda: shoal.SpectralClustering(4, random_state=0, gamma=0.1), 400),
    "GaussianMixture": (lambda: shoal.GaussianMixture(4, random_state=0), 4000),
    "BayesianGaussianMixture": (
        lambda: shoal.BayesianGaussianMixture(n_components=4, random_state=0, max_iter=20),
        2000,
    ),
}


def rows_of(name):
    return X[: FITS[name][1]]


def bits(model):
    """A digest of what a fit found."""
    found = [value for key, value in sorted(vars(model).items()) if isinstance(value, np.ndarray)]
    return digest(*found)


def fitted(name, rows=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FITS[name][0]().fit(rows_of(name) if rows is None else rows)


def state(model):
    """Names and bits of all that an estimator holds."""
    values = snapshot(model).items()
    return {key: digest(v) if isinstance(v, np.ndarray) else repr(v)[:80] for key, v in values}


class Trial:
    """Fits of an estimator that was fitted to a few rows before: all of a fit, or nothing of it."""

    def __init__(self, name):
        self.name, self.struck, self.wrong = name, 0, []
        self.expected = bits(fitted(name))
        begun = time.perf_counter()
        fitted(name)  # once more: the first one imports
        self.seconds = time.perf_counter() - begun

    def fit(self, strike, errors):
        """A fit within `strike`, a context manager, that may raise one of the errors."""
        model = fitted(self.name, X[:90])
        before = state(model)
        try:
            with strike:
                model.fit(rows_of(self.name))
        except errors:
            self.struck += 1
        except Exception as error:
            if "_ArrayMemoryError" in str(error):  # which f2py before NumPy 2 fails to make
                self.struck += 1
            else:
                self.wrong.append(f"{type(error).__name__}: {error}")
        if state(model) != before and bits(model) != self.expected:
            self.wrong.append(f"neither as before nor fitted: {sorted(state(model))}")

    def result(self):
        return {"struck": self.struck, "wrong": sorted(set(self.wrong))}


class Alarm:
    """A signal after so many seconds, unless the block ends before."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __enter__(self):
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)


def interrupts(name, count, seed, error=KeyboardInterrupt):
    """What Ctrl-C raises, at random moments, until it came so often in the midst of a fit."""

    def strike(*_):
        raise error

    signal.signal(signal.SIGALRM, strike)
    trial, rng = Trial(name), np.random.default_rng(int(seed))
    latest = 1.2 * trial.seconds
    for _ in range(20 * int(count)):
        before = trial.struck
        trial.fit(Alarm(latest * rng.uniform(1e-3, 1)), error)
        # as long as fits take now: the machine may be busier, or less busy, than it was
        latest *= 1.02 if trial.struck > before else 0.95
        if trial.struck == int(count):
            break
    return trial.result()


def terminations(name, count, seed):
    """The same, as a handler of SIGTERM that ends the process by SystemExit."""
    return interrupts(name, count, seed, SystemExit)


def memory(name, count, seed):
    """Fits with little memory: MemoryError, and the estimator is as it was, or the same fit."""
    trial, rng = Trial(name), np.random.default_rng(int(seed))
    for _ in range(int(count)):
        gc.collect()
        trial.fit(MemoryLimit(int(rng.uniform(0, 1.5) ** 4 * 2**20)), MemoryError)
    return trial.result()


def stopped(name, count, seed):
    """SIGSTOP and SIGCONT, from another process, at random moments of fits."""
    trial, rng = Trial(name), np.random.default_rng(int(seed))
    moments = rng.uniform(0, trial.seconds, int(count))
    stopper = multiprocessing.get_context("spawn").Process(
        target=stop_and_continue, args=(os.getpid(), moments.tolist())
    )
    stopper.start()
    while stopper.is_alive():
        if bits(fitted(name)) != trial.expected:
            trial.wrong.append("other bits")
    return {"struck": int(count), "wrong": trial.wrong}


def stop_and_continue(process, moments):
    for moment in moments:
        time.sleep(moment)
        os.kill(process, signal.SIGSTOP)
        time.sleep(0.01)
        os.kill(process, signal.SIGCONT)


def cores(name, count, seed):
    """Each thread of this process is moved to other cores, again and again, while it fits."""
    trial, rng, allowed = Trial(name), np.random.default_rng(int(seed)), os.sched_getaffinity(0)
    ended = threading.Event()

    def move():
        while not ended.wait(1e-3):
            size = int(rng.integers(1, len(allowed) + 1))
            chosen = rng.choice(sorted(allowed), size, replace=False).tolist()
            for thread in os.listdir("/proc/self/task"):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), chosen)
            trial.struck += 1

    mover = threading.Thread(target=move)
    mover.start()
    for _ in range(int(count)):
        trial.fit(contextlib.nullcontext(), ())
    ended.set()
    mover.join()
    return trial.result()


class NotAllowed(Exception):
    """This process may not make control groups, or not with such a limit."""


class ControlGroup:
    """A control group that limits this process, as a container's does."""

    def __init__(self, controller):
        root = Path("/sys/fs/cgroup")
        self.has_version_1 = (root / controller).is_dir()
        self.parent = root / controller if self.has_version_1 else root
        self.folder = self.parent / f"shoal-{os.getpid()}"

    def __enter__(self):
        try:
            self.folder.mkdir()
        except OSError as error:
            raise NotAllowed from error
        try:
            self.limit("cgroup.procs", os.getpid())
        except NotAllowed:
            self.folder.rmdir()
            raise
        return self

    def __exit__(self, *_):
        (self.parent / "cgroup.procs").write_text(str(os.getpid()))
        self.folder.rmdir()

    def limit(self, name, value):
        try:
            (self.folder / name).write_text(str(value))
        except OSError as error:
            raise NotAllowed from error

    def limit_time(self, share):
        """Of one processor, in each tenth of a second; None for all of them."""
        if self.has_version_1:
            self.limit("cpu.cfs_quota_us", -1 if share is None else int(1e5 * share))
        else:
            self.limit("cpu.max", f"{'max' if share is None else int(1e5 * share)} 100000")


def quotas(name, count, seed):
    """The share of a processor that this process's control group has changes while it fits."""
    trial, rng, ended = Trial(name), np.random.default_rng(int(seed)), threading.Event()

    def change():
        while not ended.wait(rng.uniform(0, 0.02)):
            group.limit_time([0.05, 0.2, 1, None][rng.integers(4)])
            trial.struck += 1

    with ControlGroup("cpu") as group:
        group.limit_time(None)
        changer = threading.Thread(target=change)
        changer.start()
        for _ in range(int(count)):
            trial.fit(contextlib.nullcontext(), ())
        ended.set()
        changer.join()
    return trial.result()


@contextlib.contextmanager
def threads_of_user(most):
    import resource  # of POSIX alone

    if os.geteuid() == 0:  # whom the limit does not bind
        os.setresuid(*3 * [60_000 + os.getpid() % 5000])
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    yield


@contextlib.contextmanager
def threads_of_container(most):
    with ControlGroup("pids") as group:
        group.limit("pids.max", most)
        yield


def few_threads(name, allowed, whose="user"):
    """A fit that asks for more threads than a user who is not root, or a container, may have."""
    with threadpool_limits(1):  # starts none
        trial = Trial(name)
    limited = {"user": threads_of_user, "container": threads_of_container}[whose]
    with limited(len(os.listdir("/proc/self/task")) + int(allowed)):
        trial.fit(contextlib.nullcontext(), ())
        started = []
        with contextlib.suppress(RuntimeError):
            for _ in range(1 + int(allowed)):
                started.append(threading.Thread(target=time.sleep, args=(0.2,)))
                started[-1].start()
            trial.wrong.append("the limit does not hold")
    trial.struck = 1
    return trial.result()


def small_stack(name, kib):
    """A fit in a thread whose stack has so many KiB; that of scikit-learn needs 64."""
    trial = Trial(name)
    threading.stack_size(int(kib) * 1024)
    thread = threading.Thread(target=trial.fit, args=(contextlib.nullcontext(), ()))
    thread.start()
    thread.join()
    trial.struck = 1
    return trial.result()


def subinterpreters():
    """What an import says in another interpreter of this process, then in a new one."""
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    said = (
        "try:\n    import shoal\nexcept ImportError as error:\n"
        "    import os\n    os.write({}, str(error).encode())\n"
    )
    found = []
    for _ in range(2):
        end, start = os.pipe()
        interpreters.run_string(interpreters.create(), said.format(start))
        os.close(start)
        with os.fdopen(end) as file:
            found.append(file.read())
    return found


def differing(found, expected):
    return sorted(name for name in expected if found.get(name) != expected[name])


def all_bits(_=None):
    return {name: bits(fitted(name)) for name in FITS}


def elsewhere(how):
    """Fits of all estimators in a process that was forked after such fits, or made by loky."""
    expected = all_bits()
    if how == "loky":
        from joblib import Parallel, delayed

        found = Parallel(n_jobs=2)(delayed(all_bits)() for _ in range(2))
    else:
        with multiprocessing.get_context(how).Pool(2) as pool:
            found = pool.map(all_bits, range(2), chunksize=1)
    return [differing(each, expected) for each in found]


def at_once(count):
    """Fits of all estimators in so many threads at the same time."""
    expected, wrong = all_bits(), []
    names = [list(FITS)[i % len(FITS)] for i in range(int(count))]

    def fit(name):
        try:
            with np.errstate(all="ignore"):
                found = bits(FITS[name][0]().fit(rows_of(name)))
        except Exception as error:
            found = repr(error)
        if found != expected[name]:
            wrong.append(f"{name}: {found}")

    warnings.simplefilter("ignore")
    threads = [threading.Thread(target=fit, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def leaks(name, count):
    """Bytes that resident memory grows by over so many fits, a third of which fail."""
    model, rows = FITS[name][0](), X[:90].copy()
    bad = np.full((5, 2), np.nan)

    def fit(times):
        for i in range(times):
            try:
                model.fit(bad if i % 3 == 2 else rows)
            except ValueError:
                continue
        gc.collect()
        return memory_of_process("VmRSS")

    warnings.simplefilter("ignore")
    before = fit(int(count) // 2)
    return fit(int(count)) - before


def every(command, *arguments):
    """A command for each of the estimators, one after the other."""
    return {name: COMMANDS[command](name, *arguments) for name in FITS}


COMMANDS = {
    f.__name__: f
    for f in (
        interrupts,
        terminations,
        memory,
        stopped,
        cores,
        quotas,
        few_threads,
        small_stack,
        subinterpreters,
        elsewhere,
        at_once,
        leaks,
        every,
    )
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        found = COMMANDS[sys.argv[1]](*sys.argv[2:])
    except NotAllowed:
        found = None
    print(json.dumps(found))
