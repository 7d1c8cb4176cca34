"""Clustering a file beside the plain sequential read of the same file, in the same run.

    python benchmarks/streaming.py                    a .npy file of 1 GiB
    python benchmarks/streaming.py --gib 10 --plot    and a picture of resident memory
    python benchmarks/streaming.py --formats parquet hdf5 zarr    and these, if installed

The file is made in --folder and removed at the end. `cold`: the system was told to forget the
file before each reading, so it comes from the disk; `warm`: it was read before. Speeds are
medians of --rounds, their least and largest behind; the plain read (blocks of 16 MiB, one thread)
alternates with ours. Parquet, HDF5 and zarr are read plainly by their own libraries, as
_formats.py tells, into nothing: no rows are made of columns. Of several passes in a row only
the first is cold where the file fits in memory. Disks that others use too want many rounds.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np

import shoal

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from benchmarks._formats import FORMATS  # noqa: E402

CLUSTERS, FEATURES = 8, 16
STATES = ("cold", "warm")
PICTURE = ROOT / "benchmarks" / "results" / "streaming.png"


def main():
    options = arguments()
    warnings.filterwarnings("ignore", message="X has feature names")  # which centers lack
    if hasattr(signal, "SIGTERM"):  # remove the file then too
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for name in options.formats:
        print(f"{name}: {FORMATS[name].words}", flush=True)
        table(name, options)


def table(name, options):
    """Make the file, print a line for each job and state, and remove the file."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        format = FORMATS[name](Path(folder))
        centers, blocks = rows_of(int(options.gib * 2**30) // (4 * FEATURES))
        format.write(blocks, int(options.gib * 2**30) // (4 * FEATURES))
        tasks, curves = jobs(centers), []
        for _, _, run in tasks:
            run(np.load(small(folder, centers)))
        print(f"{'GB/s':42}{'plain':>16}{'ours':>16}   ratio   peak MiB added   resident")
        for state in options.states:
            for task in tasks:
                curves.append(report(task, state, format, options))
        if options.plot and name == "npy":
            draw(curves[: len(tasks)], format.n)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=1)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["npy"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--states", nargs="+", choices=STATES, default=STATES)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--plot", action="store_true", help=f"draw {PICTURE.relative_to(ROOT)}")
    return parser.parse_args()


def rows_of(n):
    """Rows to start from, and n rows around CLUSTERS centers in blocks."""
    rng = np.random.default_rng(0)
    centers = 3 * rng.standard_normal((CLUSTERS, FEATURES), dtype="f4")
    size = 2**20
    one = (
        rng.standard_normal((size, FEATURES), dtype="f4")
        + centers[rng.integers(CLUSTERS, size=size)]
    )
    blocks = (np.roll(one, first % 1009, axis=0)[: n - first] for first in range(0, n, size))
    return one[:CLUSTERS].copy(), blocks


def small(folder, centers):
    """A file so small that what it costs is imports and thread pools."""
    path = Path(folder) / "small.npy"
    np.save(path, np.repeat(centers, 1000, axis=0))
    return path


def jobs(centers):
    """Name, passes over the file, and what is run."""
    fitted = shoal.KMeans(CLUSTERS, init=centers, n_init=1, max_iter=1, tol=0)
    fitted.fit(np.repeat(centers, 100, axis=0))

    def lloyd(path):
        # the mean; three iterations; the labels of the last centers; the inertia
        shoal.KMeans(CLUSTERS, init=centers, n_init=1, max_iter=3, tol=0).fit(path)

    def sequential(path):
        shoal.MiniBatchKMeans(
            CLUSTERS, init=centers, n_init=1, batch_size=2**17, compute_labels=False
        ).fit_sequential(path)

    return [
        ("KMeans.predict", 1, fitted.predict),
        ("KMeans.fit, 3 iterations (6 passes)", 6, lloyd),
        ("MiniBatchKMeans.fit_sequential", 1, sequential),
    ]


def forget(format):
    """Tell the system to drop its cache of the files."""
    for path in format.files():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(run, format, state):
    if state == "cold":
        forget(format)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def report(task, state, format, options):
    """Measure and print a line; return the name and the curve of the last round."""
    name, passes, run = task
    curve = Resident()
    size = format.n * FEATURES * 4 / 1e9
    read, ours = [], []
    added = 0
    for _ in range(options.rounds):
        read.append(size / seconds(format.plain, format, state))
        with curve:
            ours.append(passes * size / seconds(lambda: run(format.source()), format, state))
        added = max(added, curve.added)
    a, b = statistics.median(read), statistics.median(ours)
    print(
        f"{name:36}{state:6}{spread(read)}{spread(ours)} {b / a:7.2f}{added / 2**20:17.0f}"
        f"{max([0, *curve.values]) / 2**20:11.0f}",
        flush=True,
    )
    return name, curve.times, curve.values


def spread(speeds):
    """Median, least and largest in 16 letters."""
    return f"{statistics.median(speeds):6.2f} {min(speeds):.1f}-{max(speeds):.1f}".rjust(16)


class Resident:
    """Samples the resident memory of this process within a `with`."""

    def __enter__(self):
        self.times, self.values = [], []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._start, self._before = time.perf_counter(), resident()
        self._thread.start()

    def _sample(self):
        while not self._stop.wait(0.01):
            self.times.append(time.perf_counter() - self._start)
            self.values.append(resident())

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.added = max([0, *(value - self._before for value in self.values)])


def resident():
    """Bytes of this process in memory, mapped files included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def draw(curves, n):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for name, times, values in curves:
        axes.plot(times, np.array(values) / 2**20, label=name)
    axes.axhline(256 + 24 * n / 2**20, color="black", ls=":", label="256 MiB + 24 bytes a row")
    axes.axhline(256, color="gray", ls="--", label="256 MiB")
    axes.set_xlabel("seconds")
    axes.set_ylabel("resident memory, MiB")
    gib = 4 * FEATURES * n / 2**30
    axes.set_title(f"a file of {gib:.3g} GiB: {n:,} rows of {FEATURES} float32")
    axes.set_yscale("log")
    axes.set_ylim(50)
    axes.legend()
    figure.savefig(PICTURE, dpi=120)
    print(f"drawn: {PICTURE}")


if __name__ == "__main__":
    sys.exit(main())
