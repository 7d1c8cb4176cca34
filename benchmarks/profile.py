"""Where the time of one fit goes, kernel by kernel.

    python benchmarks/profile.py --rows 200000 --features 32 --clusters 256 --dtype float32
    python benchmarks/profile.py --data patches16 --rows 60000 --clusters 1000 --iterations 10
    python benchmarks/profile.py --data my_embeddings.npy --clusters 1000

To look inside a kernel (one thread makes the picture simple; build with debug symbols):

    perf record -g -- python benchmarks/profile.py --threads 1 --repeats 20
    perf report --no-children           which function
    perf annotate                       which instruction
    perf stat -d -- python ...          instructions a cycle, cache misses

    valgrind --tool=callgrind python benchmarks/profile.py --threads 1 --rows 5000 --repeats 1
    callgrind_annotate callgrind.out.*  exact counts of instructions, cache aside

Valgrind knows no AVX-512, so there shoal takes its AVX2 build; SHOAL_ISA forces one elsewhere.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

# Run as a file, this would be benchmarks/, where this very file hides Python's own `profile`.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.cases import _kmeans as kmeans  # noqa: E402
from benchmarks.cases import real  # noqa: E402
from benchmarks.peers import cores, limited  # noqa: E402
from shoal import KMeans, show_config  # noqa: E402
from shoal.core import parallel  # noqa: E402

REAL = {load.__name__: load for load in (real.patches16, real.patches8, real.texts256)}


def main():
    options = arguments()
    show_config()
    problem = load(options)
    model = KMeans(
        problem.k,
        init=options.init or problem.init,
        n_init=1,
        max_iter=problem.max_iter,
        tol=0,
        algorithm=options.algorithm,
        random_state=0,
    )
    with limited(options.threads):
        model.fit(problem.X[: 2 * problem.k])  # starts the threads
        seconds, runs = min((traced(model, problem.X) for _ in range(options.repeats)), key=first)
    print(
        f"\n{problem.X.shape[0]} x {problem.X.shape[1]} {options.dtype}, k={options.clusters}, "
        f"{options.algorithm}: {model.n_iter_} iterations, fastest of {options.repeats} fits\n"
    )
    print_table(seconds, runs)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", help=f"{', '.join(REAL)}, or a .npy file; blobs by default")
    parser.add_argument("--rows", type=int, default=200_000, help="at most")
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--clusters", type=int, default=256)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--algorithm", choices=("lloyd", "elkan"), default="lloyd")
    parser.add_argument("--init", choices=("k-means++", "random"), help="default: given centers")
    parser.add_argument("--iterations", type=int, default=20, help="at most; tol is 0")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def load(options):
    """The problem: blobs, or data with rows drawn at random as first centers."""
    if options.data is None:
        shape = (options.rows, options.features, options.clusters)
        return kmeans.row(*shape, options.dtype, options.iterations).build(options.rows)
    if options.data in REAL:
        X = REAL[options.data](options.rows)
    else:
        X = np.load(options.data, mmap_mode="r")[: options.rows]
    X = np.ascontiguousarray(X, options.dtype)
    drawn = np.random.default_rng(0).choice(len(X), options.clusters, replace=False)
    return kmeans.Problem(X, options.clusters, X[np.sort(drawn)], options.iterations, 0.0)


def first(pair):
    return pair[0]


def traced(model, X):
    """Fit once; return the seconds it took and the kernels' runs."""
    with parallel.trace_runs() as runs:
        start = time.perf_counter()
        model.fit(X)
        return time.perf_counter() - start, runs


def print_table(seconds, runs):
    """Print a line for each kernel, longest first, and one for what is not in a kernel."""
    by_kernel = {}
    for kernel, *rest in runs:
        by_kernel.setdefault(kernel, []).append(rest)
    print(f"{'kernel':24}{'calls':>7}{'blocks':>8}{'threads':>9}{'ms':>10}{'share':>8}")
    rows = [(sum(took for *_, took in each), name, each) for name, each in by_kernel.items()]
    for took, name, each in sorted(rows, reverse=True):
        blocks, threads = (max(column) for column in list(zip(*each, strict=True))[:2])
        print(f"{name:24}{len(each):7}{blocks:8}{threads:9}{share(took, seconds)}")
    rest = seconds - sum(took for took, *_ in rows)
    print(f"{'Python and the rest':48}{share(rest, seconds)}")
    print(f"{'the whole fit':48}{share(seconds, seconds)}")


def share(part, whole):
    return f"{1e3 * part:10.3f}{100 * part / whole:6.1f} %"


if __name__ == "__main__":
    main()
