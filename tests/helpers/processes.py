"""Other processes that tests start: modules of children/, which print their answer last."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def start(script, *arguments, **environment):
    """Run a module as a script, with changes to the environment."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", script.__name__, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_in_pairs(calls):
    """Futures of what `finish` gives for some calls of `start`, two processes at a time.

    For children that measure nothing which another process changes: bits, or their own memory.

    Parameters
    ----------
    calls : dict of tuple
        For each key, the arguments of `start`, the last of them a dict of the environment.
    """
    with ThreadPoolExecutor(2) as pool:
        return {
            key: pool.submit(
                lambda words, changes: finish(start(*words, **changes)), words, changes
            )
            for key, (*words, changes) in calls.items()
        }


def finish(process, timeout=120):
    """The last line that a process prints, as a value; its errors are the test's."""
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"the process hangs: {process.communicate()}")
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])
