"""Peak memory one call adds, each in a process of its own.

python -m benchmarks.harness.memory GROUP ROW ENGINE N THREADS
"""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.cases import find
from benchmarks.peers import limited

ROOT = Path(__file__).resolve().parents[2]


def added(group, row, engine, n, threads):
    """Return the bytes one call of the engine adds at its peak, or None where unknown."""
    command = [sys.executable, "-m", __name__, group.key, row.label, engine.name, n, threads]
    # huge pages, that NumPy asks for where arrays are large, would be counted whole
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    child = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        print(f"{engine.name}: {child.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    last = child.stdout.split()[-1:]
    return int(last[0]) if child.returncode == 0 and last and last[0].isdigit() else None


def measure(key, label, name, n, threads):
    """Print what one call adds, in bytes. This is the child's part."""
    from shoal.core.memory import added_by

    group, row = find(key, label)
    engine = next(engine for engine in group.engines if engine.name == name)
    with limited(threads):
        engine.prepare(row.build(row.least))()  # imports and thread pools are not the call's
        run = engine.prepare(row.build(n))
        print(added_by(run))


if __name__ == "__main__":
    measure(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]))
