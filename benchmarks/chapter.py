"""A book's chapter on unsupervised learning, by shoal and beside scikit-learn.

    python benchmarks/chapter.py                     all sections; pictures as PNG; some minutes
    python benchmarks/chapter.py --only elbow dbscan
    python benchmarks/chapter.py --out figures --faces FILE.npy
    python benchmarks/chapter.py --grid 2 101        the pipeline's whole grid over k: long

The examples are those of chapter 9 of A. Géron, Hands-On Machine Learning (O'Reilly, second and
third edition). Each is computed twice from the same lines, by scikit-learn and by shoal, and
drawn by shoal's displays. The numbers that the text discusses are printed beside each other and
beside the book's own where these are known; those were computed with earlier versions of
scikit-learn and other solvers, so they need not be today's. k-means has the ten restarts that
were the default then. The exit status is 1 if a number or any labels of shoal and scikit-learn
differ.
"""

import argparse
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from book import DIFFERENT, SECTIONS, SETTINGS, difference, ours, theirs
from matplotlib.figure import Figure

for module in ("kmeans", "density", "mixtures", "exercises"):
    import_module(f"book.{module}")

OUT = Path(__file__).resolve().parent / "results" / "chapter"


def text(value):
    return "" if value is None else f"{value:.6g}"


def show(name, out):
    """Compute a section by both, print their numbers, draw ours; whether anything differs."""
    section = SECTIONS[name]
    seconds, found = {}, {}
    for library in (theirs, ours):
        start = time.perf_counter()
        found[library] = section.compute(library)
        seconds[library] = time.perf_counter() - start
    print(f"\n{name}: {section.title}")
    print(f"{'':40} {'book':>10} {'scikit-learn':>14} {'shoal':>14}")
    wrong = False
    for what, value in found[theirs].items():
        if what.startswith("("):
            continue
        other = found[ours][what]
        mark = difference(value, other)
        wrong |= mark == DIFFERENT
        if np.ndim(value) == 0:
            book = text(section.book.get(what))
            print(f"{what:40} {book:>10} {value:14.6g} {other:14.6g}  {mark}".rstrip())
        elif mark:
            print(f"{what:40} {np.sum(value != other)} of {np.size(value)} values  {mark}")
    print(f"{'milliseconds':51} {1e3 * seconds[theirs]:14.0f} {1e3 * seconds[ours]:14.0f}")
    if found[ours]:
        picture = Figure(figsize=(10, 6.5), layout="constrained")
        section.draw(picture, found[ours])
        picture.savefig(out / f"{name}.png", dpi=110)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the pictures")
    parser.add_argument("--faces", type=Path, help=".npy of images, or .npz of images and target")
    parser.add_argument(
        "--grid", nargs=2, type=int, metavar=("FIRST", "END"), help="k of the digits' grid"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    SETTINGS.faces = options.faces
    if options.grid:
        SETTINGS.grid = tuple(range(*options.grid))
    wrong = []
    for name in options.only:
        needs = SECTIONS[name].needs
        if needs and not find_spec(needs):
            print(f"\n{name}: left out, it needs {needs}")
        elif show(name, options.out):
            wrong.append(name)
    print(f"\n{len(options.only)} sections in {options.out}")
    sys.exit(f"different: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
