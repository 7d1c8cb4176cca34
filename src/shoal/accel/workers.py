"""Other processes: those that multiprocessing and joblib start do as this one.

A process that multiprocessing or loky starts anew (spawn, forkserver) receives the settings that
`multiprocessing.current_process()` keeps for its children. One of these is added, which acts
where it is unpickled, and so reaches children of children. A forked child is as its parent anyway.
"""

import multiprocessing
from importlib import import_module
from typing import Any

SETTING = "shoal"


class Inherited:
    """A setting of a process that calls functions in a process that receives it.

    Parameters
    ----------
    calls : frozenset of str
        Names of functions of `shoal`, called without arguments.
    """

    def __init__(self, calls: frozenset) -> None:
        self.calls = calls

    def __reduce__(self) -> Any:
        return inherit, (self.calls,)


def inherit(calls: frozenset) -> Inherited:
    """Do what the process that started this one asks of it."""
    for name in sorted(calls):
        getattr(import_module("shoal.accel"), name)()
    return Inherited(calls)


def tell_children(call: str, wanted: bool) -> None:
    """Whether processes started from now on call a function of `shoal` first."""
    settings = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    calls = settings[SETTING].calls if SETTING in settings else frozenset()
    settings[SETTING] = Inherited(calls | {call} if wanted else calls - {call})
