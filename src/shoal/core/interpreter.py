"""Refuses interpreters that are not the process's main one; imported before all else.

Some of SciPy's modules (1.17: scipy.spatial) wait there for ever, at their import, for a lock that
the interpreter holds. What is compiled here can be loaded into one interpreter of a process alone,
so that this must be told before anything of it is loaded.
"""

from importlib import import_module


def is_main() -> bool:
    """Whether this is the process's main interpreter; yes where Python has no others."""
    for name in ("_interpreters", "_xxsubinterpreters"):  # from 3.13 on, and before
        try:
            interpreters = import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True


if not is_main():
    raise ImportError(
        "shoal works in a process's main interpreter alone: NumPy and SciPy do not support others. "
        "Use processes; under mod_wsgi, set WSGIApplicationGroup %{GLOBAL}."
    )
