"""Random cases of every family beside scikit-learn, for minutes or days.

`python tests/fuzz.py --minutes 10 --jobs 2` runs cases in child processes, which end after some of
them, and prints each kind of finding with a case made small, as a test to paste; and last a table
by family and kind. The trials in tests/trials/ draw problems and judge answers; here shoal gets
them in other layouts, with other threads, sizes and instruction sets (fuzzing/conditions.py), and
children that crash or hang are findings too. A line such as

    dbscan 12345 v3: BUG: ...

is run again by `SHOAL_ISA=v3 python tests/fuzz.py --only dbscan --seed 12345 --cases 1`.
Memory stays bounded however long it runs: of each kind, three cases are kept. `--coverage npy`
fuzzes a reader of files instead, guided by coverage.
"""

import argparse
import importlib.util
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS))

from fuzzing.cases import FAMILIES, available  # noqa: E402
from fuzzing.table import Tally  # noqa: E402
from shoal.core import cpu  # noqa: E402

BATCH = 40  # cases of a child
SHRINK_SECONDS = 120
START_SECONDS = 60  # in which a child has imported what it needs, on a busy machine
THREADS = "3"  # at most, of a fit


def child(*arguments, level, errors):
    """A child process, whose errors go to a file."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    changes = {"PYTHONPATH": path, "SHOAL_ISA": level, "OMP_NUM_THREADS": THREADS}
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "fuzzing.worker", *map(str, arguments)],
        env=os.environ | changes | {"OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process
    )


def lines_of(process, limit):
    """What a child says, as dicts; None, once, where it says nothing for `limit` seconds."""
    said = queue.Queue()

    def read():
        for line in process.stdout:
            said.put(line)
        said.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while (line := said.get(timeout=limit)) is not None:
            yield json.loads(line)
    except queue.Empty:
        process.kill()
        yield None
    reader.join()


def end_of(errors):
    errors.seek(0)
    return errors.read()[-6000:]


def kind_of_hang(said):
    """Whose code is at work in the stack that faulthandler printed, most recent call first."""
    for line in said.splitlines():
        path = line.replace(os.sep, "/")
        if "/sklearn/" in path:
            return "scikit-learn's own code takes longer than the limit"
        if "/shoal/" in path:
            break
    return "BUG: hangs"


def run_batch(family, first, count, level, limit, tally):
    """Run cases in a child; one that crashes or hangs is a finding. The seed after the last."""
    seed, is_running, has_started = first, False, False
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        child("run", family, first, count, limit, level=level, errors=errors) as process,
    ):
        for line in lines_of(process, limit + START_SECONDS):
            if line is None:
                said = end_of(errors)
                if not has_started:
                    tally.add(family, seed, level, [("no start: this machine is busy", said)])
                    return first
                tally.add(family, seed, level, [(kind_of_hang(said), said)])
                return seed + 1
            if "start" in line:
                seed, is_running, has_started = line["start"], True, True
            else:
                is_running = False
                tally.add(family, seed, level, line["found"], line["resident"])
        code = process.wait()
        if not has_started:
            raise OSError(f"a child process cannot start: {end_of(errors)}")
        if is_running or code:
            kind = f"BUG: the process ends with {code}"
            tally.add(family, seed, level, [(kind, end_of(errors))])
    return seed + 1


def make_small(finding):
    """The finding with a small case: `fuzzing.shrink` in a child."""
    family, seed, level, kind, _ = finding
    command = ("shrink", family, seed, kind, SHRINK_SECONDS)
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        child(*command, level=level, errors=errors) as process,
    ):
        small = [line for line in lines_of(process, 3 * SHRINK_SECONDS) if line is not None]
        if small:
            return f"{json.dumps(small[0]['changes'])}\n{small[0]['test']}"
        return f"(could not be made small)\n{end_of(errors)[-2000:]}"


class Schedule:
    """Which cases come next: families in turn, each with its own successive seeds."""

    def __init__(self, families, levels, seed, n_cases, deadline):
        self._families, self._levels, self._deadline = families, levels, deadline
        self._next = dict.fromkeys(families, seed)
        self._left = dict.fromkeys(families, n_cases)
        self._lock, self._turn = threading.Lock(), 0

    def stop(self):
        self._deadline = time.monotonic()

    def is_open(self):
        return time.monotonic() < self._deadline

    def next_batch(self):
        """Family, first seed, number of cases and level; None at the end."""
        with self._lock:
            for _ in self._families:
                family = self._families[self._turn % len(self._families)]
                level = self._levels[self._turn // len(self._families) % len(self._levels)]
                self._turn += 1
                count = min(BATCH, self._left[family])
                if count > 0 and self.is_open():
                    first = self._next[family]
                    self._next[family] += count
                    self._left[family] -= count
                    return family, first, count, level
        return None


def work(schedule, limit, tally):
    """What each job does until nothing is left; what it raises ends the others too."""
    try:
        do_batches(schedule, limit, tally)
    except OSError as error:
        schedule.stop()
        print(error, flush=True)


def do_batches(schedule, limit, tally):
    while (batch := schedule.next_batch()) is not None:
        family, first, count, level = batch
        stop = first + count
        while first < stop and schedule.is_open():
            first = run_batch(family, first, stop - first, level, limit, tally)
        for finding in tally.take_new(family):
            tally.show(finding, make_small(finding))


def fuzz_by_coverage(form, minutes, seed):
    """Whether an input fails; see fuzzing/coverage.py."""
    if importlib.util.find_spec("atheris") is None:
        sys.exit(
            "fuzzing by coverage needs atheris, which has wheels for Linux: pip install atheris"
        )
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "ignore", "-m", "fuzzing.coverage"]
    return subprocess.run(
        [*command, form, str(60 * minutes), str(seed % 2**31)],
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    ).returncode


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None, help="the first; of the clock by default")
    parser.add_argument("--jobs", type=int, default=2, help="child processes at a time")
    parser.add_argument("--only", action="append", choices=FAMILIES, help="a family; repeatable")
    parser.add_argument("--cases", type=int, default=2**40, help="of each family, at most")
    parser.add_argument("--limit", type=float, default=120, help="seconds of a case")
    parser.add_argument("--report", type=Path, help="a file that gets every finding as JSON")
    parser.add_argument("--coverage", choices=("npy", "parquet", "arrow", "zarr"), help="a reader")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = int(time.time()) % 10**6 * 1000
    if options.coverage:
        return fuzz_by_coverage(options.coverage, options.minutes, options.seed)
    families = [name for name in options.only or FAMILIES if available(name)]
    for name in sorted({*(options.only or FAMILIES)} - {*families}):
        print(f"{name} is left out: its formats are not installed")
    levels = [os.environ["SHOAL_ISA"]] if os.environ.get("SHOAL_ISA") else cpu.levels()[::-1]
    print(f"seed {options.seed}, instruction sets {', '.join(levels)}", flush=True)
    tally = Tally(options.report)
    schedule = Schedule(
        families, levels, options.seed, options.cases, time.monotonic() + 60 * options.minutes
    )
    jobs = [
        threading.Thread(target=work, args=(schedule, options.limit, tally), daemon=True)
        for _ in range(options.jobs)
    ]
    try:
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
    except KeyboardInterrupt:
        schedule.stop()
    print(tally.table(), flush=True)
    return tally.has_bugs()


if __name__ == "__main__":
    sys.exit(main())
