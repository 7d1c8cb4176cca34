"""Other processes that tests start: scripts beside them, which print their answer last."""

import json
import os
import subprocess
import sys

import pytest


def start(script, *arguments, **environment):
    """Run a module of this folder as a script, with changes to the environment."""
    return subprocess.Popen(
        [sys.executable, script.__file__, *map(str, arguments)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, timeout=120):
    """The last line that a process prints, as a value; its errors are the test's."""
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"the process hangs: {process.communicate()}")
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])
