"""Lines and branches of the kernels that were reached, by gcov's counts of a build with them.

    python .ci/kernel_coverage.py BUILD [--missing]

A kernel is compiled for two types and several instruction sets: a line counts as reached where any
of them reached it, and of its branches those count that were taken in the build in which most were.
Lines are those of functions in .pyx, .pxd and .h files: what Cython writes to make a module is left
out. `--missing` lists the lines that no build reached.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "src"
AT_ONCE = 20  # files that a process of gcov reads


def main():
    build, found = Path(sys.argv[1]), defaultdict(dict)
    data = sorted(map(str, build.rglob("*.gcda")))
    for start in range(0, len(data), AT_ONCE):
        command = ["gcov", "--json-format", "--stdout", "--branch-probabilities"]
        text = subprocess.run(
            [*command, *data[start : start + AT_ONCE]],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        ).stdout
        for report in text.splitlines():
            for file in json.loads(report)["files"]:
                _, _, name = file["file"].rpartition("shoal/")
                if "/kernels/" in name and (SOURCES / "shoal" / name).exists():
                    add_lines(found[name], file["lines"])
    total = [0] * 4
    for name in sorted(found):
        counts = count(name, found[name])
        total = [a + b for a, b in zip(total, counts, strict=True)]
        print(f"{name:48}{in_words(counts)}")
    print(f"{'all kernels':48}{in_words(total)}")


def add_lines(known, lines):
    """Merge the lines of one build into those known: number -> count, branches taken, branches."""
    for line in lines:
        taken = sum(branch["count"] > 0 for branch in line["branches"])
        new = line["count"], taken, len(line["branches"])
        old = known.get(line["line_number"], (0, 0, 0))
        best = max(old, new, key=lambda each: (each[1] / max(1, each[2]), each[2]))
        known[line["line_number"]] = max(old[0], new[0]), *best[1:]


def count(name, lines):
    """Lines, those reached, branches, those taken; of functions alone."""
    source, counts = (SOURCES / "shoal" / name).read_text().splitlines(), [0] * 4
    for number, (times, taken, branches) in sorted(lines.items()):
        text = source[number - 1] if number <= len(source) else ""
        if not text.startswith(" ") or "PyCapsule_New" in text:
            continue
        if not times and "--missing" in sys.argv:
            print(f"{name}:{number}: {text}")
        counts = [a + b for a, b in zip(counts, (1, times > 0, branches, taken), strict=True)]
    return counts


def in_words(counts):
    lines, reached, branches, taken = counts
    return (
        f"{reached:6} of {lines:5} lines, {100 * reached / max(1, lines):5.1f} %"
        f"{taken:8} of {branches:5} branches, {100 * taken / max(1, branches):5.1f} %"
    )


if __name__ == "__main__":
    main()
