"""`python -m shoal`: a first look, or code of the user's with scikit-learn patched.

    python -m shoal [--report] [--progress] [--profile FILE] [--hdbscan] script.py arguments
    python -m shoal [options] -m module arguments
    python -m shoal [options] -c code arguments
    python -m shoal                        the first look (first_look.py)

The code runs as under plain Python: `sys.argv`, `sys.path`, `__main__` and what is pickled from
it, standard input, exit codes, tracebacks and signals are the same.
"""

import atexit
import io
import os
import pkgutil
import runpy
import signal
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

USAGE = (
    "usage: python -m shoal [--report] [--progress] [--profile FILE] [--hdbscan] "
    "(script | -m module | -c code) [args]"
)


class Command(NamedTuple):
    """A command line: options, then what to run and its arguments."""

    report: bool
    progress: bool
    profile: str | None
    hdbscan: bool
    kind: str  # "script", "-m" or "-c"
    target: str
    args: list[str]


def main(argv: list[str]) -> None:
    """Run what a command line asks for."""
    command = parse(argv)
    if command is None:
        from shoal.first_look import main as first_look

        first_look()
    else:
        run(command)


def parse(argv: list[str]) -> Command | None:
    """The command; None for the first look, which knows its own options."""
    report = progress = hdbscan = False
    profile = None
    rest = list(argv)
    while rest:
        options = (report, progress, profile, hdbscan)
        word = rest.pop(0)
        if word == "--report":
            report = True
        elif word == "--progress":
            progress = True
        elif word == "--hdbscan":
            hdbscan = True
        elif word == "--profile" and rest:
            profile = rest.pop(0)
        elif word.startswith("--profile="):
            profile = word.partition("=")[2]
        elif word in ("-m", "-c") and rest:
            return Command(*options, word, rest[0], rest[1:])
        elif word[:2] in ("-m", "-c") and len(word) > 2:
            return Command(*options, word[:2], word[2:], rest)
        elif word == "-" or not word.startswith("-"):
            return Command(*options, "script", word, rest)
        else:
            break
    if report or progress or profile or hdbscan:
        sys.exit(f"{USAGE}\nshoal: name a script, a module or code to run")
    return None


def run(command: Command) -> NoReturn:
    """Patch, run and exit as Python does."""
    from shoal.accel.patching import patch

    interrupted: list[bool] = []
    # what is registered first is called last: after the code's own handlers and threads
    atexit.register(_end, os.getpid(), interrupted, _outputs(command))
    os.environ["SHOAL_PATCH"] = "1"  # for Python processes that are set up to look for it
    try:
        patch(hdbscan=command.hdbscan)
    except ImportError as error:  # no hdbscan
        sys.exit(f"shoal: {error}")
    main_module = ModuleType("__main__")
    main_module.__builtins__ = sys.modules["builtins"]  # type: ignore[attr-defined]
    main_module.__annotations__ = {}
    main_module.__spec__ = None
    sys.modules["__main__"] = main_module
    start = {"script": _run_script, "-m": _run_module, "-c": _run_code}[command.kind]
    try:
        start(command, main_module)
    except SystemExit:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            interrupted.append(True)
        traceback = error.__traceback__
        while traceback and traceback.tb_frame.f_code.co_filename in (__file__, _STARTED_BY):
            traceback = traceback.tb_next
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        sys.exit(1)
    sys.exit(0)


_STARTED_BY = str(Path(__file__).parents[1] / "__main__.py")


def _run_script(command: Command, main_module: ModuleType) -> None:
    path = command.target
    sys.argv[:] = [path, *command.args]
    if path == "-":
        code: Any = compile(sys.stdin.read(), "<stdin>", "exec", dont_inherit=True)
        _first_on_path("")
    elif os.path.isdir(path) or zipfile.is_zipfile(path):
        _first_on_path(os.path.abspath(path))
        # as Python itself runs a folder or an archive with a __main__.py
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    else:
        full = os.path.abspath(path)
        try:
            source = Path(full).read_bytes()
        except OSError as error:
            message = f"{sys.executable}: can't open file '{full}': [Errno {error.errno}]"
            print(f"{message} {error.strerror}", file=sys.stderr)
            sys.exit(2)
        _first_on_path(os.path.dirname(os.path.realpath(full)))
        main_module.__file__ = full
        main_module.__cached__ = None  # type: ignore[attr-defined]
        main_module.__loader__ = SourceFileLoader("__main__", full)
        code = pkgutil.read_code(io.BytesIO(source))  # a .pyc
        if code is None:
            code = compile(source, full, "exec", dont_inherit=True)
    exec(code, vars(main_module))


def _run_module(command: Command, main_module: ModuleType) -> None:
    sys.argv[:] = ["-m", *command.args]
    # as Python itself runs -m; the folder that it is called in is on the path already
    runpy._run_module_as_main(command.target)  # type: ignore[attr-defined]


def _run_code(command: Command, main_module: ModuleType) -> None:
    sys.argv[:] = ["-c", *command.args]
    _first_on_path("")
    exec(compile(command.target, "<string>", "exec", dont_inherit=True), vars(main_module))


def _first_on_path(folder: str) -> None:
    """Put a folder where -m has put the one that it is called in, unless Python is told not to."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _outputs(command: Command) -> list[Callable[[], None]]:
    """What is to be done when the code has ended."""
    outputs: list[Callable[[], None]] = []
    if command.progress:
        from shoal.accel.bars import progress

        progress()
    if command.profile:
        from shoal.accel.kernels import start_profile

        outputs.append(start_profile(command.profile))
    if command.report:
        from shoal.accel.calls import report

        outputs.append(lambda: print(report(), file=sys.stderr))
    return outputs


def _end(process: int, interrupted: list, outputs: list) -> None:
    """The last thing that happens, but not in forked children."""
    if os.getpid() != process:
        return
    with suppress(AttributeError, OSError, ValueError):  # closed: Python says so itself
        sys.stdout.flush()
    for output in outputs:
        output()
    if interrupted and os.name == "posix":  # a shell must see that Ctrl-C ended the process
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
