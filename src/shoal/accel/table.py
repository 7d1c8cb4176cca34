"""What is patched: the classes and functions that scikit-learn and the faces here both have.

Nothing is listed by name. A name in `__all__` of a face (`shoal.cluster` and its like) is
patched where scikit-learn's module of the same name has it with a signature that ours serves.
"""

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

from shoal.core.convert import FACES, PACKAGE, parameter_names

FITS = frozenset({"fit", "fit_predict", "fit_transform", "partial_fit"})  # methods that fit


class Signature(NamedTuple):
    """What a call may hold so that our function means by it what scikit-learn's does."""

    n_positional: int  # at most
    foreign: frozenset  # keywords that one of both does not have

    def serves(self, args: tuple, kwargs: dict) -> bool:
        """Whether ours may be called with these."""
        return len(args) <= self.n_positional and self.foreign.isdisjoint(kwargs)


class Pair(NamedTuple):
    """A class or function of scikit-learn, and ours."""

    name: str
    theirs: Any
    ours: Any
    obstacle: str | None  # why scikit-learn's has to do all that it is asked to

    @property
    def is_class(self) -> bool:
        """Whether these are classes."""
        return inspect.isclass(self.theirs)


def pairs() -> Iterator[Pair]:
    """All that the installed scikit-learn and this package share."""
    for face in FACES:
        ours_module, theirs_module = (import_module(f"{p}.{face}") for p in (PACKAGE, "sklearn"))
        for name in ours_module.__all__:
            ours, theirs = getattr(ours_module, name), getattr(theirs_module, name, None)
            if theirs is not None and inspect.isclass(theirs) == inspect.isclass(ours):
                yield Pair(name, theirs, ours, _find_obstacle(theirs, ours))


def _find_obstacle(theirs: Any, ours: Any) -> str | None:
    if not inspect.isclass(theirs):
        return None if match(theirs, ours) else "another signature in this scikit-learn"
    unknown = sorted(parameter_names(theirs) - parameter_names(ours))
    if unknown:
        return f"parameters that shoal does not know: {', '.join(unknown)}"
    return None


def methods(pair: Pair) -> Iterator[tuple[str, Callable, Signature]]:
    """Methods of a class here that stand for scikit-learn's: name, scikit-learn's, signature."""
    for name in dir(pair.ours):
        ours = inspect.getattr_static(pair.ours, name)
        theirs = inspect.getattr_static(pair.theirs, name, None)
        if (
            name.startswith("_")
            or name in pair.ours._needs_own_state
            or not (inspect.isfunction(ours) and inspect.isfunction(theirs))
            or not inspect.unwrap(ours).__module__.startswith(f"{PACKAGE}.")
        ):
            continue
        signature = match(theirs, ours)
        if signature is not None:
            yield name, theirs, signature


def match(theirs: Callable, ours: Callable) -> Signature | None:
    """How ours may be called in place of scikit-learn's; None where it never may.

    It may where scikit-learn's parameters that can be given by their place are ours in the
    same order, and defaults are equal.
    """
    a, b = (dict(inspect.signature(function).parameters) for function in (theirs, ours))
    places = [name for name, p in a.items() if p.kind in _BY_PLACE]
    if places != [name for name, p in b.items() if p.kind in _BY_PLACE][: len(places)]:
        return None
    if any(a[name].default != b[name].default for name in a.keys() & b.keys()):
        return None
    return Signature(len(places), frozenset(a.keys() ^ b.keys()))


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
