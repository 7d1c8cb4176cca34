"""Instructions that small fits take in two commits, counted by callgrind.

    python benchmarks/instructions.py main HEAD             every case
    python benchmarks/instructions.py v0.1.0 . --only "kmeans*"     "." is the working tree

Counts do not depend on what else the machine does, so that changes far below the noise of times
show: two counts of the same build differed by 0.2 % (k-means of 150 rows). They say nothing of
waiting for memory or of threads: one thread is used, and the instruction set is AVX2 (valgrind has
no AVX-512). Needs valgrind and a C compiler; each commit is built once, into a folder that is kept
for the next time.
"""

import argparse
import ctypes
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = Path(tempfile.gettempdir()) / f"shoal-instructions-{os.getuid()}"
SWITCH = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void stop(void) { CALLGRIND_DUMP_STATS; CALLGRIND_STOP_INSTRUMENTATION; }
"""


def cases():
    """Name and function of each case; all are fits that take milliseconds."""
    import numpy as np

    import shoal

    rng = np.random.default_rng(0)
    few = rng.standard_normal((150, 4))
    more = rng.standard_normal((4000, 16)) + 3 * rng.integers(0, 4, (4000, 1))
    long = (rng.standard_normal((1500, 128)) + rng.integers(0, 5, (1500, 1))).astype(np.float32)
    plane = rng.random((3000, 2))
    labels = rng.integers(0, 6, len(more))
    kmeans = shoal.KMeans(20, random_state=0).fit(more)
    settings = {"init": more[:20], "n_init": 1, "max_iter": 10, "tol": 0}
    return {
        "kmeans 150x4 k=3": lambda: shoal.KMeans(3, random_state=0).fit(few),
        "kmeans 4000x16 k=20": lambda: shoal.KMeans(20, **settings).fit(more),
        "kmeans 1500x128 k=100 float32": lambda: shoal.KMeans(100, random_state=0).fit(long),
        "kmeans++ 4000x16 k=20": lambda: shoal.kmeans_plusplus(more, 20, random_state=0),
        "kmeans predict 1x16": lambda: kmeans.predict(more[:1]),
        "minibatch 4000x16 k=20": lambda: shoal.MiniBatchKMeans(20, random_state=0).fit(more),
        "bisecting 4000x16 k=8": lambda: shoal.BisectingKMeans(8, random_state=0).fit(more),
        "dbscan 3000x2": lambda: shoal.DBSCAN(eps=0.03).fit(plane),
        "dbscan 4000x16": lambda: shoal.DBSCAN(eps=3.0).fit(more),
        "hdbscan 3000x2": lambda: shoal.HDBSCAN(min_cluster_size=20).fit(plane),
        "optics 1000x2": lambda: shoal.OPTICS(min_samples=10).fit(plane[:1000]),
        "bayesian 4000x16 k=4": lambda: shoal.BayesianGaussianMixture(
            n_components=4, tol=1e9, max_iter=5, random_state=0
        ).fit(more),
        "mixture 4000x16 k=4": lambda: shoal.GaussianMixture(
            4, tol=1e9, max_iter=5, random_state=0
        ).fit(more),
        "ward 3000x2": lambda: shoal.ward_tree(plane),
        "single 3000x2": lambda: shoal.linkage_tree(plane, linkage="single"),
        "average 1500x128": lambda: shoal.linkage_tree(long[:600], linkage="average"),
        "silhouettes 4000x16 k=6": lambda: shoal.silhouette_samples(more, labels),
        "spectral 300x2 k=3": lambda: shoal.SpectralClustering(3, random_state=0).fit(plane[:300]),
    }


def count_here(pattern, switch):
    """Run the cases in this process, which valgrind watches; write the order of their names."""
    switch = ctypes.CDLL(switch)
    chosen = [(n, run) for n, run in cases().items() if fnmatch.fnmatch(n, pattern)]
    for _, run in chosen:
        run()  # imports, caches
        switch.start()
        run()
        switch.stop()
    print(json.dumps([name for name, _ in chosen]))


def build(commit):
    """The folder of a commit's build."""
    if commit == ".":
        source, site = ROOT, Path(tempfile.mkdtemp()) / "site"
    else:
        name = git("rev-parse", "--short=12", commit)
        source, site = KEPT / f"{name}-source", KEPT / name
        if site.exists():
            return site
        KEPT.mkdir(mode=0o700, exist_ok=True)
        git("worktree", "add", "--detach", "--force", str(source), commit)
    try:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        subprocess.run([*command, str(site), str(source)], check=True)
    finally:
        if commit != ".":
            git("worktree", "remove", "--force", str(source))
    return site


def git(*arguments):
    found = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


def count(site, pattern):
    """Instructions of each case, by name."""
    with tempfile.TemporaryDirectory() as folder:
        source, switch = Path(folder) / "switch.c", Path(folder) / "switch.so"
        source.write_text(SWITCH)
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", switch, source], check=True)
        environment = os.environ | {
            "PYTHONPATH": str(site),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "SHOAL_ISA": "v3",
        }
        out = Path(folder) / "callgrind.out"
        watch = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={out}",
        ]
        here = [sys.executable, str(Path(__file__)), "--count", str(switch), "--only", pattern]
        found = subprocess.run(
            [*watch, "--quiet", *here], env=environment, capture_output=True, text=True
        )
        if found.returncode:
            sys.exit(found.stderr)
        names = json.loads(found.stdout.splitlines()[-1])
        return {name: total(f"{out}.{i}") for i, name in enumerate(names, 1)}


def total(path):
    """The sum that a dump states."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(("totals:", "summary:")):
            return int(line.split()[1])
    raise ValueError(f"{path} states no total")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commits", nargs="*", help="two commits, or one and the working tree, '.'")
    parser.add_argument("--only", default="*", help="names of cases, with * and ?")
    parser.add_argument("--site", nargs=2, help="two folders with shoal in place of commits")
    parser.add_argument("--count", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count:
        count_here(options.only, options.count)
        return
    if len(options.commits) != 2 and not options.site:
        parser.error("name two commits")
    before, after = (
        count(site, options.only) for site in options.site or map(build, options.commits)
    )
    print(f"{'thousands of instructions':32} {'before':>12} {'after':>12} {'change':>9}")
    for name in before:
        change = 100 * (after[name] / before[name] - 1) if name in after else float("nan")
        mark = "  *" if abs(change) >= 1 else ""
        new = after.get(name, 0)
        print(f"{name:32} {before[name] / 1e3:12.1f} {new / 1e3:12.1f} {change:+8.2f}%{mark}")


if __name__ == "__main__":
    main()
