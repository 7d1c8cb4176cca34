"""Examples of scikit-learn's gallery, plain and under `python -m shoal`: the same, and how fast?

    python benchmarks/validate_gallery.py FOLDER
    python benchmarks/validate_gallery.py FOLDER --only cluster mixture --table results.md

FOLDER holds Python scripts, as the folder `examples` of scikit-learn's source does. Those that
import anything of sklearn.cluster, .mixture or .metrics are run, each in two processes of its
own, with figures kept as files. What they print is compared line by line, and figures pixel by
pixel; lines and figures that tell the time a fit took are known by running the plain script
twice. Needs matplotlib. Exit code 1 where a script fails under the patch alone.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

TOUCHES = re.compile(r"sklearn\.(cluster|mixture|metrics)|sklearn import (cluster|mixture|metrics)")
NETWORK = re.compile(r"fetch_(?!file)\w+\(")
# put before a script: figures become files, in the order in which they are shown
PREFIX = """
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as _plt
import os as _os
def _keep(*args, **kwargs):
    for number in _plt.get_fignums():
        _keep.count += 1
        _plt.figure(number).savefig(_os.path.join({folder!r}, f"{{_keep.count:03}}.png"), dpi=50)
    _plt.close("all")
_keep.count = 0
_plt.show = _keep
import atexit as _atexit
_atexit.register(_keep)
"""
REPORTED = re.compile(r"^shoal: (\d+) calls, (\S+) s, scikit-learn: (\d+) calls, (\S+) s", re.M)
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


class Run(NamedTuple):
    """What a script did."""

    code: int
    seconds: float
    lines: list
    errors: str
    pictures: list
    calls: str  # what the report says of them
    in_calls: float  # seconds within them, of shoal's and of scikit-learn's code


def main():
    options = arguments()
    scripts = sorted(find(options.folder, options.only))
    rows = []
    for script in scripts:
        rows.append(compare(script, options))
        print("  ".join(map(str, rows[-1])), flush=True)
    text = table(rows)
    print(f"\n{text}")
    if options.table:
        options.table.write_text(text + "\n")
    sys.exit(any(row[1] == "fails" for row in rows))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="folders or parts of names")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for a script")
    parser.add_argument("--table", type=Path, help="write the table, as markdown")
    return parser.parse_args()


def find(folder, only):
    for path in folder.rglob("*.py"):
        text = path.read_text()
        name = str(path.relative_to(folder))
        is_wanted = not only or any(part in name for part in only)
        if is_wanted and TOUCHES.search(text) and not NETWORK.search(text):
            yield path


def compare(script, options):
    """A row of the table: script, outcome, seconds plain, patched, in calls; calls, why."""
    name = f"{script.parent.name}/{script.name}"
    plain = run(script, [], options.timeout)
    if plain.code:
        return name, "fails plain", plain.seconds, 0.0, 0.0, "", last(plain.errors)
    ours = run(script, ["-m", "shoal", "--report"], options.timeout)
    if ours.code:
        return name, "fails", plain.seconds, ours.seconds, 0.0, "", last(ours.errors)
    different = differences(plain, ours)
    outcome, why = "same", ""
    if different:
        again = differences(plain, run(script, [], options.timeout))
        left = [what for what in different if what not in again]
        outcome = "differs" if left else "same"
        why = "; ".join(left) if left else "but for what differs between plain runs"
    return name, outcome, plain.seconds, ours.seconds, ours.in_calls, ours.calls, why


def last(errors):
    lines = errors.strip().splitlines()
    return lines[-1][:150] if lines else "no output"


def run(script, prefix, timeout):
    """Run a script with figures kept, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / script.name
        text = PREFIX.format(folder=folder) + f"__file__ = {str(script)!r}\n"
        copy.write_text(f"exec(compile({text!r}, 'prefix', 'exec'))\n" + script.read_text())
        environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}
        begun = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, *prefix, str(copy)],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Run(124, timeout, [], "timeout", [], "", 0.0)
        seconds = time.perf_counter() - begun
        pictures = [read_picture(path) for path in sorted(Path(folder).glob("[0-9]*.png"))]
    text, in_calls = "", 0.0
    for ours, time_ours, theirs, time_theirs in REPORTED.findall(done.stderr):
        text, in_calls = f"{ours} calls, {theirs} left", float(time_ours) + float(time_theirs)
    lines = done.stdout.splitlines()
    return Run(done.returncode, seconds, lines, done.stderr, pictures, text, in_calls)


def read_picture(path):
    from matplotlib.image import imread

    return imread(path)


def differences(a, b):
    """What two runs tell differently, a word for each line and figure."""
    found = []
    if len(a.lines) != len(b.lines):
        found.append("number of lines")
    for number, (x, y) in enumerate(zip(a.lines, b.lines, strict=False), 1):
        if x != y and not nearly(x, y):
            found.append(f"line {number}")
    if len(a.pictures) != len(b.pictures):
        found.append("number of figures")
    for number, (x, y) in enumerate(zip(a.pictures, b.pictures, strict=False), 1):
        if x.shape != y.shape or np.mean(np.abs(x - y).max(axis=-1) > 0.1) > 1e-4:
            found.append(f"figure {number}")
    return found


def nearly(x, y):
    """Whether two lines are the same but for the last digits of numbers."""
    if NUMBER.sub("#", x) != NUMBER.sub("#", y):
        return False
    pairs = zip(NUMBER.findall(x), NUMBER.findall(y), strict=True)
    return all(abs(float(p) - float(q)) <= 1e-5 * abs(float(p)) + 1e-12 for p, q in pairs)


def table(rows):
    titles = ("script", "outcome", "plain s", "patched s", "of which in calls s", "calls by shoal")
    lines = [f"| {' | '.join(titles)} | what differs |", "|---|---|---:|---:|---:|---|---|"]
    for name, outcome, *seconds, calls, why in rows:
        times = " | ".join(f"{s:.1f}" for s in seconds)
        lines.append(f"| {name} | {outcome} | {times} | {calls} | {why} |")
    done = [row for row in rows if row[1] in ("same", "differs")]
    sums = " | ".join(f"{sum(row[column] for row in done):.1f}" for column in (2, 3, 4))
    lines.append(f"| **{len(done)} scripts** | | {sums} | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
