"""Compare shoal with every installed peer, in one process and in turn.

    python benchmarks/compare.py            everything: the better part of an hour
    python benchmarks/compare.py --quick    a small part of the data, under a minute
    python benchmarks/compare.py --only "equal*784*"
    python benchmarks/compare.py --data FILE.npy    k-means of anyone's own rows
    python benchmarks/compare.py --only "minibatch*" --streaming 1    and files, as streaming.py

Before a row is timed, the answers must agree: shoal's labels with scikit-learn's, the peers'
inertia within a tolerance (cases/_kmeans.py states both). What disagrees is named and not timed.

`limit` is the time a brute-force method needs at least, whichever is longer: its flops at the
speed of a large matrix product, or its bytes at the speed of reading memory, both measured here.
Where the data fit the caches or distances are pruned, more than 100 % of it can be reached.
"""

import argparse
import fnmatch
import json
import os
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # run as a file, this would be benchmarks/, whose profile.py hides Python's

from benchmarks import cases, streaming  # noqa: E402
from benchmarks.harness import machine, memory, plot, report, timing  # noqa: E402
from benchmarks.peers import PEERS, cores, installed, limited  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def main():
    options = arguments()
    if options.data:
        os.environ[cases.DATA_VARIABLE] = str(options.data.resolve())
        options.only = "own-*" if options.only == "*" else options.only
    groups = chosen(options.only)
    if not groups:
        sys.exit(f"no row matches {options.only}")
    there = installed()
    for name in PEERS.keys() - there.keys():
        print(f"{name}: not installed, left out")
    about = machine.describe()
    print(f"{about['processor']}, {about['cores']} cores")
    print(", ".join(f"{name} {version}" for name, version in there.items()))
    if options.quick:
        print(f"--quick: 1/{cases.QUICK} of the rows of data named")
    results = []
    try:
        for group in groups:
            run_group(group, options, results)
    except KeyboardInterrupt:
        print("\ninterrupted; what was measured so far:")
    print(report.means(groups, results))
    if options.streaming:
        streaming.table(options.streaming, options.rounds)
    save(options, about, groups, results)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less data, fewer repeats")
    parser.add_argument("--data", type=Path, metavar="FILE.npy", help="these rows instead")
    parser.add_argument("--only", metavar="PATTERN", default="*", help='of "GROUP ROW"; * and ?')
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cores()}))
    parser.add_argument("--rounds", type=int, help="repeats at most (default 9, quick 3)")
    parser.add_argument("--no-memory", action="store_true", help="do not measure peak memory")
    parser.add_argument(
        "--streaming", type=float, metavar="GIB", help="rows in a file so large too"
    )
    parser.add_argument("--json", type=Path, help="default: in results/, if all is run")
    parser.add_argument("--plot", type=Path, nargs="?", const=RESULTS / "compare.png")
    options = parser.parse_args()
    quick = options.quick
    options.rounds = options.rounds or (3 if quick else 9)
    options.limit, options.least = (0.2, 2) if quick else (40.0, 3)  # seconds, rounds
    options.rest = 0.02 if quick else 0.1  # seconds
    options.matrix = 1500 if quick else 3000  # rows of the product that measures flops
    return options


def chosen(pattern):
    """Return the groups with only the rows that match."""
    found = []
    for group in cases.groups():
        rows = [r for r in group.rows if fnmatch.fnmatch(f"{group.key} {r.label}", pattern)]
        if rows:
            found.append(replace(group, rows=rows))
    return found


def run_group(group, options, results):
    """Measure and print the group's rows, appending to results."""
    mine = []
    print(report.heading(group, options.rounds))
    for row in group.rows:
        for threads in options.threads:
            result = measure(group, row, threads, options)
            results.append(result)
            mine.append(result)
            print(report.line(group, result), flush=True)
        if row.memory and wants_memory(options, results):
            result["memory"] = added_memory(group, row, result)
    for text in (report.caveats(group, mine), report.memory(group, mine)):
        if text:
            print(text)


def measure(group, row, threads, options):
    """Solve the row by every engine, check the answers, time those that agree."""
    n = row.rows_of_data(options.quick)
    result = {"group": group.key, "row": row.label, "n": n, "threads": threads}
    result |= {"agreement": {}, "notes": {}, "caveats": {}, "times": {}, "memory": {}}
    problem = row.build(n)
    with limited(threads):
        runs, work = agreeing(group, problem, result)
        if "shoal" in runs:
            times = timing.in_turn(runs, options.rounds, options.limit, options.least, options.rest)
            result["times"] = {name: timing.summary(each) for name, each in times.items()}
    result |= {"passes": work.passes, "data_bytes": work.data_bytes}
    result["limit"] = machine.limit(work, threads, options.matrix)
    return result


def agreeing(group, problem, result):
    """Return {name: run} of the engines whose answers agree, and the work done.

    The first engine is the reference. Without shoal among them, the row is not timed.
    """
    runs, reference = {}, None
    for engine in group.engines:
        if engine.peer not in installed():
            continue
        try:
            run = engine.prepare(problem)
            answer = run()
        except Exception as error:  # one engine's trouble must not end a run of an hour
            if reference is None:
                raise
            result["notes"][engine.name] = f"FAILED, {error!r}"
            continue
        if reference is None:
            reference = answer
            problem = group.settle(problem, reference)
        found = group.check(problem, reference, answer, engine.name == "shoal")
        result["agreement"][engine.name] = vars(found)
        if found.complaint:
            result["notes"][engine.name] = f"NOT TIMED, {found.complaint}"
        else:
            runs[engine.name] = run
            if found.remark:
                result["notes"][engine.name] = found.remark
        if caveat := engine.caveat(problem):
            result["caveats"][engine.name] = caveat
    return runs, group.work(problem, reference)


def wants_memory(options, results):
    """--quick measures one row only: a process for each engine takes seconds."""
    return not options.no_memory and not (options.quick and any(r["memory"] for r in results))


def added_memory(group, row, result):
    """Return {engine: bytes} at the result's number of rows and threads."""
    engines = [engine for engine in group.engines if engine.name in result["times"]]
    return {
        engine.name: memory.added(group, row, engine, result["n"], result["threads"])
        for engine in engines
    }


def save(options, about, groups, results):
    """Write JSON and picture where asked to; JSON also when everything was run."""
    path = options.json
    if path is None and options.only == "*" and not options.quick:
        path = RESULTS / (re.sub(r"\W+", "-", about["processor"]).lower().strip("-") + ".json")
    if path:
        settings = {k: v for k, v in vars(options).items() if k not in ("json", "plot", "data")}
        date = datetime.now(UTC).date().isoformat()
        whole = {"date": date, "machine": about, "settings": settings, "results": results}
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(whole, indent=1) + "\n")
        print(f"written: {path}")
    if options.plot:
        RESULTS.mkdir(exist_ok=True)
        plot.draw(groups, results, about, options.plot)
        print(f"drawn: {options.plot}")


if __name__ == "__main__":
    main()
