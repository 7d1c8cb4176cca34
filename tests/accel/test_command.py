"""`python -m shoal script.py` is plain Python but for the patch."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

FILES = {
    "plain.py": """
import sys
print(sys.argv, __name__, __file__, sys.path[0], sys.stdin.read(), __spec__, __package__)
print(sorted(name for name in globals() if name != "sys"))
""",
    "fails.py": """
def inner():
    raise ValueError("inner")

def outer():
    try:
        inner()
    except ValueError as error:
        raise KeyError("outer") from error

import threading, time
threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
outer()
""",
    "says.py": "import sys; sys.exit('words')",
    "seven.py": "import sys; sys.exit(7)",
    "wrong.py": "x = (",
    "ended.py": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "interrupted.py": """
import atexit, os, signal, time
atexit.register(print, "at exit")
os.kill(os.getpid(), signal.SIGINT)
time.sleep(30)
""",
    "hooked.py": """
import sys
sys.excepthook = lambda kind, *_: print("hook", kind, file=sys.stderr)
1 / 0
""",
    "pickles.py": """
import multiprocessing, pickle

class Mine:
    pass

def kind(value):
    return type(value).__qualname__

if __name__ == "__main__":
    assert b"__main__" in pickle.dumps(Mine())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(kind, [pickle.loads(pickle.dumps(Mine()))]))
""",
    "folder/__main__.py": "import sys; print(sys.argv, sys.path[0], __name__, __file__)",
    "package/__init__.py": "",
    "package/__main__.py": "import sys; print(sys.argv, __package__, __spec__.name); 1 / 0",
}
CASES = [
    ["plain.py", "a", "--report", "-c"],
    ["fails.py"],
    ["says.py"],
    ["seven.py"],
    ["wrong.py"],
    ["missing.py"],
    ["hooked.py"],
    ["pickles.py"],
    ["folder", "x"],
    ["-m", "package", "y", "--only"],
    ["-m", "no_such_module"],
    ["-c", "import sys; print(sys.argv, sys.path[0]); 1 / 0", "z"],
    ["-", "b"],
]
if os.name == "posix":
    CASES += [["ended.py"], ["interrupted.py"]]


def run(folder, *words):
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        input="print('in' + 'put')",
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def outcomes(folder):
    """Of each case, the plain process and ours."""
    with ThreadPoolExecutor(2) as pool:
        runs = [
            [pool.submit(run, folder, *prefix, *case) for prefix in ([], ["-m", "shoal"])]
            for case in CASES
        ]
        return {
            str(case): [f.result() for f in pair] for case, pair in zip(CASES, runs, strict=True)
        }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_plain_python(case, outcomes):
    """Exit code, output, tracebacks, to the letter."""
    plain, ours = outcomes[str(case)]
    assert ours.returncode == plain.returncode
    assert ours.stdout == plain.stdout
    assert ours.stderr == plain.stderr


WORK = """
import multiprocessing, os
import numpy as np
from children.accel import where_it_runs
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

if __name__ == "__main__":
    X = np.random.default_rng(0).random((400, 3))
    labels = KMeans(3, random_state=0).fit(X).labels_
    silhouette_score(X, labels)
    found = {"env": os.environ["SHOAL_PATCH"]}
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(1) as pool:
            found[method] = sorted(pool.apply(where_it_runs))
    import json
    print(json.dumps(found))
    raise SystemExit(5)
"""


def test_report_profile_and_workers(folder):
    (folder / "work.py").write_text(WORK)
    tests = os.path.dirname(os.path.dirname(__file__))
    path = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
    words = ["-m", "shoal", "--report", "--progress", "--profile", "kernels.json", "work.py"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 5, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("env") == "1"
    assert set(map(tuple, found.values())) == {("shoal",)}, found
    lines = done.stderr.splitlines()
    assert {line.split()[0] for line in lines[2:4]} == {"KMeans.fit", "silhouette_score"}
    assert lines[-1].startswith("shoal: 2 calls")

    profile = json.loads((folder / "kernels.json").read_text())
    frames = [frame["name"] for frame in profile["shared"]["frames"]]
    (main,) = [p for p in profile["profiles"] if p["name"] == "MainThread"]
    opened, at = [], 0.0
    for event in main["events"]:  # nested, and never back in time
        assert event["at"] >= at
        at = event["at"]
        if event["type"] == "O":
            opened.append(event["frame"])
        else:
            assert opened.pop() == event["frame"]
    assert opened == []
    assert at <= main["endValue"]
    assert frames[0].startswith("KMeans.fit 400 x 3")
    assert any(name.startswith("assign") for name in frames)


def test_options_without_code(folder):
    done = run(folder, "-m", "shoal", "--report")
    assert done.returncode == 1
    assert done.stderr.startswith("usage: python -m shoal ")
