"""Faulty files on disk: errors name the file, and the model is unchanged."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import children.files
import shoal
from helpers.files import MIB, MODELS, posix, problem
from helpers.outcomes import assert_state, snapshot
from helpers.processes import finish, start


def write(path, X):
    np.save(path, X)
    return path


def cut_off(path):
    write(path, problem(100, 3, "f8"))
    os.truncate(path, 1000)


def added_to(path):
    write(path, problem(100, 3, "f8"))
    with path.open("ab") as file:
        file.write(bytes(24))


def text(path):
    path.write_text("a,b\n1,2\n")


def no_header(path):
    path.write_bytes(b"\x93NUMPY\x01\x00")


FAULTS = {
    "cut off": (cut_off, ValueError, "cut off"),
    "longer than its header tells": (added_to, ValueError, "fewer rows than it has"),
    "text": (text, ValueError, "not a .npy file"),
    "no header": (no_header, ValueError, "not a .npy file"),
    "empty": (lambda path: path.write_bytes(b""), ValueError, "not a .npy file"),
    "objects": (
        lambda path: np.save(path, np.array([[1, None]]), allow_pickle=True),
        ValueError,
        "not real numbers",
    ),
    "structured": (
        lambda path: np.save(path, np.zeros((3, 2), [("a", "f8")])),
        ValueError,
        "not real numbers",
    ),
    "complex": (lambda path: np.save(path, np.eye(3) * 1j), ValueError, "not real numbers"),
    "Fortran": (
        lambda path: np.save(path, np.asfortranarray(problem(9, 3, "f8"))),
        ValueError,
        "Fortran order",
    ),
    "one dimension": (lambda path: np.save(path, np.arange(9.0)), ValueError, "rows of features"),
    "no rows": (lambda path: np.save(path, np.empty((0, 3))), ValueError, "0 sample"),
    "no features": (lambda path: np.save(path, np.empty((3, 0))), ValueError, "0 feature"),
    "few rows": (lambda path: np.save(path, np.eye(2)), ValueError, "should be >= n_clusters=3"),
    "directory": (lambda path: path.mkdir(), OSError, None),
    "missing": (lambda path: None, FileNotFoundError, None),
}


@pytest.mark.parametrize("Model", [shoal.KMeans, shoal.MiniBatchKMeans])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault, Model, tmp_path):
    """An error that names the file; the model is unchanged."""
    make, error, message = FAULTS[fault]
    path = tmp_path / "rows.npy"
    make(path)
    model = Model(3, random_state=0).fit(problem(30, 3, "f8"))
    before = snapshot(model)
    with pytest.raises(error, match=message) as caught:
        model.fit(path)
    assert "rows.npy" in str(caught.value) or fault == "few rows"
    assert_state(model, before)


@pytest.mark.parametrize("function", [shoal.k_means, shoal.kmeans_plusplus])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_functions(fault, function, tmp_path):
    make, error, message = FAULTS[fault]
    make(tmp_path / "rows.npy")
    with pytest.raises(error, match=message):
        function(tmp_path / "rows.npy", 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe(tmp_path):
    """Reading a pipe would block forever."""
    os.mkfifo(tmp_path / "rows.npy")
    with pytest.raises(ValueError, match=r"rows\.npy is a device or a pipe"):
        shoal.KMeans(3).fit(tmp_path / "rows.npy")


@posix
def test_no_permission():
    """The child gives up root's rights, if it has them."""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        path = write(folder / "rows.npy", problem(30, 3, "f8"))
        path.chmod(0)
        errors = finish(start(children.files, "unreadable", path))
        assert errors == [f"[Errno 13] Permission denied: '{path}'"] * 3
    finally:
        shutil.rmtree(folder)


def test_vanished(tmp_path):
    """A file that is removed is gone for the next fit, but not from the fit that reads it."""
    X = problem(300, 3, "f8")
    path = write(tmp_path / "rows.npy", X)

    def remove(X, k, random_state):
        path.unlink(missing_ok=True)
        return X[:k]

    expected = shoal.KMeans(3, init=lambda X, k, random_state: X[:k]).fit(X)
    model = shoal.KMeans(3, init=remove).fit(path)
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    before = snapshot(model)
    with pytest.raises(FileNotFoundError, match=r"rows\.npy"):
        model.fit(path)
    assert_state(model, before)


def test_other_number_of_features(tmp_path):
    model = shoal.KMeans(3, random_state=0).fit(problem(30, 3, "f8"))
    with pytest.raises(ValueError, match=r"rows\.npy: X has 5 features, but KMeans is expecting 3"):
        model.predict(write(tmp_path / "rows.npy", problem(30, 5, "f8")))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", [*MODELS, "sequential"])
def test_not_finite(name, value, dtype, tmp_path):
    """The error names the row, whichever pass reads it first; the model is unchanged."""
    X = problem(3000, 3, dtype)
    model = MODELS.get(name, MODELS["minibatch"])(4).fit(X[:100])
    before = snapshot(model)
    X[-1, 1] = value
    path = write(tmp_path / "rows.npy", X)
    fit = model.fit_sequential if name == "sequential" else model.fit
    for call in (fit, model.predict, model.transform, model.score):
        with pytest.raises(ValueError, match=r"row 2999 of .*rows\.npy"):
            call(path)
        assert_state(model, before)


@posix
@pytest.mark.parametrize("kind", ["path", "mapped", "columns", "batch", "seeds"])
def test_shortened_while_it_is_read(kind, tmp_path):
    """Errors that name the file, and no signal (SIGBUS) that ends the process."""
    path = write(tmp_path / "rows.npy", problem(200_000, 8, "f8"))
    errors = finish(start(children.files, "shorten", path, kind))
    assert errors
    assert all("rows.npy" in message for message in errors), errors


@pytest.mark.parametrize("function", [shoal.k_means, shoal.kmeans_plusplus, "partial_fit"])
def test_not_finite_elsewhere(function, tmp_path):
    X = problem(3000, 3, "f4")
    X[-1, 1] = np.nan
    path = write(tmp_path / "rows.npy", X)
    if function == "partial_fit":
        function = shoal.MiniBatchKMeans(4, random_state=0).partial_fit
    with pytest.raises(ValueError, match=r"row 2999 of .*rows\.npy"):
        function(path, 4)


@posix
def test_file_size_limit(tmp_path):
    error = finish(start(children.files, "limited_disk", tmp_path / "out.npy", 2 * MIB))
    assert str(tmp_path / "out.npy") in error


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_full_disk(small_disk):
    """transform to a disk without room for the result."""
    error = finish(start(children.files, "limited_disk", small_disk / "out.npy", -1))
    assert "No space left on device" in error
    assert str(small_disk / "out.npy") in error


@posix
def test_interrupt(tmp_path):
    path = write(tmp_path / "rows.npy", np.random.default_rng(0).random((200_000, 16)))
    process = start(children.files, "long_fit", path)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert finish(process) - sent < 1
    finally:
        process.kill()
