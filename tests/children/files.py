"""Child processes of the tests of files: `python -m children.files <command> ...`."""

import json
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np

import shoal
from helpers.memory import memory_of_process


def centers_of(path, k):
    return np.array(np.load(path, mmap_mode="r")[:k])


def estimator(kind, path):
    init = centers_of(path, 5)
    if kind == "KMeans":
        return shoal.KMeans(5, init=init, n_init=1, max_iter=3, tol=0)
    return shoal.MiniBatchKMeans(
        5, init=init, n_init=1, max_iter=1, compute_labels=False, batch_size=50_000
    )


def memory(path, kind, method):
    """Bytes by which a method called with a file raises the peak of resident memory."""
    small = np.random.default_rng(0).random((5000, 32), dtype="f4")
    model = estimator(kind, path).set_params(init="random").fit(small)
    model.set_params(init=centers_of(path, 5)).predict(small)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = memory_of_process("VmRSS")
    X = path if kind == "KMeans" else np.load(path, mmap_mode="r")
    if method == "transform":
        n = np.load(path, mmap_mode="r").shape[0]
        out = np.lib.format.open_memmap(path + ".out.npy", "w+", "f4", (n, 5))
        model.transform(X, out=out)
    else:
        getattr(model, method)(X)
    return {"added": memory_of_process("VmHWM") - before}


def open_stored(path, kind):
    if kind == "hdf5":
        import h5py

        return h5py.File(path)["x"]
    if kind == "zarr":
        import zarr

        return zarr.open_array(path, mode="r")
    return sorted(Path(path).iterdir()) if kind == "list" else path


def stored_memory(path, kind):
    """Bytes by which a prediction, and a fit by batches, raise the peak of resident memory."""
    X = shoal.open_rows(open_stored(path, kind))
    small = X[:5000]
    model = shoal.KMeans(5, init=small[:5], n_init=1, max_iter=2).fit(small)
    batches = shoal.MiniBatchKMeans(5, init=small[:5], compute_labels=False, batch_size=50_000)
    batches.fit_sequential(small)
    warnings.simplefilter("ignore")  # of names that the centers do not have
    found = {}
    for name, call in (("predict", model.predict), ("sequential", batches.fit_sequential)):
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = memory_of_process("VmRSS")
        call(open_stored(path, kind))
        found[name] = memory_of_process("VmHWM") - before
    return found


def fit_short(X, k):
    shoal.KMeans(k, init="random", n_init=1, max_iter=2, random_state=0).fit(X)


def fit_batch(X, k):
    shoal.MiniBatchKMeans(k, init="random", n_init=1, random_state=0).partial_fit(X)


def shorten(path, kind):
    """Truncate and extend the file repeatedly while it is read; the errors raised."""
    size = os.path.getsize(path)
    stop = threading.Event()

    def cut():
        while not stop.is_set():
            os.truncate(path, size // 3)
            time.sleep(0.002)
            os.truncate(path, size)
            time.sleep(0.002)

    X = path if kind == "path" else np.load(path, mmap_mode="r")
    X = X[:, 1:] if kind == "columns" else X
    call = {"batch": fit_batch, "seeds": shoal.kmeans_plusplus}.get(kind, fit_short)
    thread = threading.Thread(target=cut)
    thread.start()
    errors = set()
    try:
        for _ in range(60):
            try:
                call(X, 3)
            except (OSError, ValueError) as error:
                errors.add(f"{type(error).__name__}: {error}")
    finally:
        stop.set()
        thread.join()
    return sorted(errors)


def unreadable(path):
    """The errors of three calls with a file that this process may not read."""
    model = shoal.KMeans(2).fit(np.eye(3))
    if os.geteuid() == 0:
        os.seteuid(65534)
    errors = []
    for call in (model.fit, model.predict, lambda path: shoal.k_means(path, 2)):
        try:
            call(path)
        except PermissionError as error:
            errors.append(str(error))
    return errors


def limited_disk(path, limit):
    """The error of transform to a file limited to so many bytes, or, if -1, to a full disk."""
    import resource  # of POSIX alone

    X = np.random.default_rng(0).random((200_000, 4))
    model = shoal.KMeans(8, init=X[:8], n_init=1, max_iter=1).fit(X)
    out = np.lib.format.open_memmap(path, "w+", "f8", (len(X), 8))
    if int(limit) >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        model.transform(X, out=out)
    except OSError as error:
        return str(error)
    return "no error"


class Checkpoint:
    """Writes the centers of each iteration to a file; after some of them kills the process."""

    def __init__(self, path, kill_after=None):
        self.path, self.kill_after, self.n_iterations = Path(path), kill_after, 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name != "iteration":
            return False
        part = self.path.with_suffix(".part.npy")
        np.save(part, fitted_estimator.cluster_centers_)
        os.replace(part, self.path)  # atomic
        self.n_iterations += 1
        if self.n_iterations == self.kill_after:
            os.kill(os.getpid(), 9)
        return False


def killed_fit(path, checkpoint, kill_after):
    """A fit of a file whose process is killed in an iteration."""
    model = shoal.KMeans(12, init=centers_of(path, 12), n_init=1, tol=0)
    model.set_callbacks(Checkpoint(checkpoint, int(kill_after))).fit(path)
    return "still alive"


def long_fit(path):
    """Fit a file until interrupted, for longer than a test; the model must be unchanged."""
    model = shoal.KMeans(40, init="random", n_init=1000, tol=0, random_state=0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run unattended
    print("ready", flush=True)
    try:
        model.fit(path)
    except KeyboardInterrupt:
        ended = time.monotonic()
        assert not [name for name in vars(model) if name.endswith("_")]
        return ended
    return sys.exit("the fit ended before the interrupt")


COMMANDS = {
    f.__name__: f
    for f in (memory, stored_memory, shorten, unreadable, limited_disk, killed_fit, long_fit)
}

if __name__ == "__main__":
    print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
