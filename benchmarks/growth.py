"""How the time and the memory of DBSCAN grow with the number of rows.

    python benchmarks/growth.py           10 thousand to 5 million rows of 2 features
    python benchmarks/growth.py --plot    and a picture

Clusters of equal density: their number grows with the rows, and so do the neighbours of a row
not. Every figure comes from a process of its own: the fastest of --rounds fits, and what the
first of them adds to the memory of the process at its peak. An engine that takes more than
--limit seconds is not asked for more rows.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # run as a file, this would be benchmarks/, whose profile.py hides Python's

from benchmarks.cases.dbscan import GRID, ONEDAL, SHOAL, SKLEARN, Problem, blobs  # noqa: E402
from benchmarks.peers import cores, installed  # noqa: E402

PICTURE = ROOT / "benchmarks" / "results" / "dbscan_growth.png"
ENGINES = {engine.name: engine for engine in (SHOAL, GRID, SKLEARN, ONEDAL)}
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000, 5_000_000)
ROWS_A_CLUSTER = 5000
MIB = 2**20


def main():
    options = arguments()
    if options.one:
        engine, n = options.one
        print(*one(ENGINES[engine], int(n), options.rounds))
        return
    found = {}
    print(f"{'rows':>9} {'engine':8} {'ms':>9} {'ns/row':>8} {'MiB':>9} {'bytes/row':>10}")
    for name, engine in ENGINES.items():
        if engine.peer not in installed():
            continue
        for n in options.sizes:
            seconds, added = measure(name, n, options.rounds)
            if seconds is None:
                break
            found.setdefault(name, []).append((n, seconds, added))
            print(
                f"{n:9} {name:8} {1e3 * seconds:9.1f} {1e9 * seconds / n:8.0f}"
                f" {added / MIB:9.1f} {added / n:10.0f}",
                flush=True,
            )
            if seconds > options.limit:
                break
    if options.plot:
        draw(found)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--plot", action="store_true", help=f"draw {PICTURE.relative_to(ROOT)}")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # in a child process
    return parser.parse_args()


def measure(name, n, rounds):
    """Seconds of the fastest fit and bytes that one adds, by a child process."""
    command = [sys.executable, __file__, "--one", name, str(n), "--rounds", str(rounds)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    words = child.stdout.split()[-2:]
    if child.returncode or len(words) < 2:
        print(f"{n:9} {name:8} failed: {child.stderr.strip().splitlines()[-1:]}")
        return None, None
    return float(words[0]), int(words[1])


def one(engine, n, rounds):
    """The child's part of measure."""
    from shoal.core.memory import added_by

    # other peers stay out of this process: some keep threads that spin
    engine.prepare(problem(1000))()  # imports and thread pools are not the fit's
    run = engine.prepare(problem(n))
    added = added_by(run)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times), added


def problem(n):
    k = max(1, n // ROWS_A_CLUSTER)
    X = blobs(n, 2, k, 10 * np.sqrt(k), np.random.default_rng(n))
    return Problem(X, 0.1, 10)


def draw(found):
    """Both curves, with lines that grow as n and as n log n."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, rows in found.items():
        n, seconds, added = np.array(rows, float).T
        left.loglog(n, seconds, marker="o", label=name)
        right.loglog(n, added / MIB, marker="o", label=name)
    n, seconds, _ = np.array(found["shoal"], float).T
    growth = n * np.log(n)
    left.loglog(n, growth * seconds[0] / growth[0], "k:", label="n log n")
    right.loglog(n, (64 + 16) * n / MIB, "k:", label="64 bytes a row and one copy")
    left.set_ylabel("seconds")
    right.set_ylabel("memory added, MiB")
    for axes in (left, right):
        axes.set_xlabel("rows of 2 features")
        axes.legend(fontsize=8)
    figure.suptitle(f"DBSCAN of clusters of equal density, {cores()} threads", fontsize=10)
    figure.savefig(PICTURE, dpi=120)
    print(f"drawn: {PICTURE}")


if __name__ == "__main__":
    sys.exit(main())
