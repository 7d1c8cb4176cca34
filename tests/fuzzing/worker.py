"""What a child process of fuzz.py does: some cases of a family, or making one case small.

It prints a line of JSON before and after each case, so that who reads them knows which case ended
the process or does not end.
"""

import faulthandler
import json
import os
import sys
import time
import warnings

from fuzzing.cases import Changes, run_case
from fuzzing.shrink import as_test, shrink

GRACE = 5  # seconds before the limit at which the stack of a case that hangs is printed
BATCH_SECONDS = 90  # after which a child ends, so that what leaks does not add up


def resident_mib():
    """The largest resident memory of this process so far, if the system tells."""
    try:
        import resource  # of POSIX alone
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


def run_cases(family, first, count, limit, say, changes=None):
    """Cases of successive seeds."""
    end = time.monotonic() + BATCH_SECONDS
    for seed in range(first, first + count):
        say(start=seed)
        faulthandler.dump_traceback_later(max(1, limit - GRACE))
        try:
            found = [(finding.kind, finding.words) for finding in run_case(family, seed, changes)]
        except Exception as error:
            found = [(f"BUG: {type(error).__name__} in the trial", repr(error))]
            sys.excepthook(*sys.exc_info())
        faulthandler.cancel_dump_traceback_later()
        say(seed=seed, found=found, resident=resident_mib())
        if time.monotonic() > end:
            break


def make_small(family, seed, kind, limit, say):
    """The smallest case with a finding of a kind, as changes and as a test."""
    changes = shrink(family, seed, kind, time.monotonic() + limit)
    say(changes=changes.__dict__, test=as_test(family, seed, changes))


def main(arguments):
    """`run FAMILY FIRST COUNT LIMIT`, `changed FAMILY SEED LIMIT CHANGES`, or `shrink ...`."""
    command, family, seed, *rest = arguments
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what cases print must not be among the lines
    faulthandler.enable()
    warnings.simplefilter("ignore")

    def say(**values):
        print(json.dumps(values, default=str), file=lines, flush=True)

    if command == "run":
        run_cases(family, int(seed), int(rest[0]), float(rest[1]), say)
    elif command == "changed":
        run_cases(family, int(seed), 1, float(rest[0]), say, Changes(**json.loads(rest[1])))
    else:
        make_small(family, int(seed), rest[0], float(rest[1]), say)


if __name__ == "__main__":
    main(sys.argv[1:])
