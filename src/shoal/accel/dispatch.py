"""One patched call: by ours where it can be, else by scikit-learn's.

A patched class stays scikit-learn's; methods of it are replaced. For a call, an object of our
class is made that has the very dictionary of scikit-learn's estimator as its attributes: what
our method reads and writes are the attributes of that estimator, which bear the same names.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils._param_validation import InvalidParameterError

from shoal.accel.calls import Recorded
from shoal.accel.table import FITS, Pair, Signature
from shoal.core.convert import Convertible, is_ours, parameter_names


class _Here(threading.local):
    """Of this thread: whether code of ours is running, whose calls mean scikit-learn's own.

    `asked` is the name of such a call, if there was one.
    """

    is_ours = False
    asked = ""


_here = _Here()

# What subclasses may have of their own without an effect on any method here.
HARMLESS = {"get_params", "set_params", "get_feature_names_out", "get_metadata_routing"}
HARMLESS |= {"set_output", "_sklearn_auto_wrap_output_keys", "_abc_impl", "_repr_html_"}
HARMLESS |= {"_repr_html_inner", "_repr_mimebundle_"}
# and which of Python's own methods have one
SPECIAL = {"__getattr__", "__getattribute__", "__setattr__", "__delattr__", "__sklearn_tags__"}


def overrides(cls: type, theirs: type, method: str) -> str | None:
    """A name that a subclass of scikit-learn's class has its own of and the method may use."""
    found = set()
    for base in cls.__mro__[: cls.__mro__.index(theirs)]:
        found |= {name for name in vars(base) if hasattr(theirs, name)}
    for name in sorted(found - HARMLESS - {method}):
        if name.startswith("set_") and name.endswith("_request"):
            continue  # made by scikit-learn for every class
        if name.startswith("__") and name not in SPECIAL:
            continue
        is_public = not name.startswith("_")
        fits = name in FITS
        if is_public and method not in ("fit_transform", "fit_predict"):
            if fits and method not in FITS:
                continue  # what is fitted already is not fitted again
            if not fits and method in FITS:
                continue
        return name
    return None


@functools.cache
def twin_class(cls: type, ours: type) -> type:
    """A subclass of ours under the name of `cls`, with defaults for what `cls` does not have."""
    defaults = vars(ours())
    extra = {name: defaults[name] for name in parameter_names(ours) - parameter_names(cls)}
    return type(cls.__name__, (ours,), {"__module__": cls.__module__, **extra})


def describe_data(data: Any) -> str | None:
    """Why data are none that ours may be given; None where they are."""
    if isinstance(data, (str, os.PathLike)):
        return "X is no array"
    if hasattr(data, "__dlpack__") and get_config().get("array_api_dispatch"):
        return "arrays of another library"
    return None


class Patched:
    """What stands in the place of a function or method of scikit-learn's."""

    def __init__(self, original: Callable, signature: Signature) -> None:
        self.original, self.signature = original, signature

    def check_arguments(self, args: tuple, kwargs: dict) -> str | None:
        """Why arguments are none for ours; None where they are."""
        if not self.signature.serves(args, kwargs):
            return "arguments that one of both does not have"
        data = args[0] if args else kwargs.get("X")
        return None if type(data) is np.ndarray else describe_data(data)

    def run_ours(self, record: Recorded, ours: Callable, args: tuple, kwargs: dict) -> Any:
        """The result of ours; the record has an obstacle if it is scikit-learn's turn.

        It is where a parameter is unknown to us. What both refuse is refused by scikit-learn.
        """
        _here.is_ours, _here.asked = True, ""
        try:
            result = ours(*args, **kwargs)
        except InvalidParameterError as error:
            record.obstacle = str(error).partition(". Got ")[0]
            return None
        finally:
            _here.is_ours = False
        record.asked = _here.asked
        return result

    def run_original(self, args: tuple, kwargs: dict) -> Any:
        """What code of ours that is running means by a call."""
        _here.asked = self.original.__name__
        return self.original(*args, **kwargs)


class Method(Patched):
    """What stands in the place of a method of scikit-learn's class."""

    def __init__(self, pair: Pair, name: str, original: Callable, signature: Signature) -> None:
        without_self = signature._replace(n_positional=signature.n_positional - 1)
        super().__init__(original, without_self)
        self.theirs, self.ours, self.name = pair.theirs, pair.ours, name
        self.obstacle = pair.obstacle
        self.ours_method = getattr(pair.ours, name)
        self.params = parameter_names(pair.theirs)
        self.fits = name in FITS
        self.restates = pair.ours._to_sklearn_state is not Convertible._to_sklearn_state
        self._obstacles: dict[type, str | None] = {pair.theirs: None}

    def wrapper(self) -> Callable:
        """The function that is put into the class."""

        @functools.wraps(self.original)
        def method(estimator: Any, *args: Any, **kwargs: Any) -> Any:
            if _here.is_ours:
                return self.run_original((estimator, *args), kwargs)
            return self.call(estimator, args, kwargs)

        return mark(method)

    def find_obstacle(self, estimator: Any, args: tuple, kwargs: dict) -> str | None:
        """Why this call is left to scikit-learn; None where it is not."""
        if self.obstacle:
            return self.obstacle
        cls = type(estimator)
        if cls not in self._obstacles:
            name = overrides(cls, self.theirs, self.name)
            self._obstacles[cls] = name and f"{cls.__name__} has its own {name}"
        if self._obstacles[cls]:
            return self._obstacles[cls]
        if not self.params <= vars(estimator).keys():
            return "parameters that are no attributes"
        return self.check_arguments(args, kwargs)

    def call(self, estimator: Any, args: tuple, kwargs: dict) -> Any:
        """Run ours on an object of our class with the attributes of the estimator."""
        name = f"{type(estimator).__name__}.{self.name}"
        obstacle = self.find_obstacle(estimator, args, kwargs)
        with Recorded(name, obstacle, args, kwargs) as record:
            if obstacle is None:
                twin = object.__new__(twin_class(type(estimator), self.ours))
                twin.__dict__ = vars(estimator)
                result = self.run_ours(record, self.ours_method, (twin, *args), kwargs)
                if record.obstacle is None:
                    if self.fits:
                        self._leave_sklearn_state(twin)
                    return estimator if result is twin else result
            return self.original(estimator, *args, **kwargs)

    def _leave_sklearn_state(self, twin: Any) -> None:
        """Make attributes those that scikit-learn's fit leaves, as pickles must hold no others."""
        attributes = vars(twin)
        if self.restates:
            state = twin._to_sklearn_state()
            for name in attributes.keys() - state.keys() - self.params:
                del attributes[name]
            attributes.update(state)
        else:
            for name in [name for name, value in attributes.items() if is_ours(value)]:
                del attributes[name]


class Function(Patched):
    """What stands in the place of a function of a package."""

    package = "scikit-learn"

    def __init__(self, name: str, original: Callable, ours: Callable, signature: Signature) -> None:
        super().__init__(original, signature)
        self.name, self.ours = name, ours

    def wrapper(self) -> Callable:
        """The function that is put into modules."""

        @functools.wraps(self.original)
        def function(*args: Any, **kwargs: Any) -> Any:
            if _here.is_ours:
                return self.run_original(args, kwargs)
            return self.call(args, kwargs)

        return mark(function)

    def call(self, args: tuple, kwargs: dict) -> Any:
        """Run ours unless something is in the way."""
        obstacle = self.check_arguments(args, kwargs)
        with Recorded(self.name, obstacle, args, kwargs, self.package) as record:
            if obstacle is None:
                result = self.run_ours(record, self.ours, args, kwargs)
                if record.obstacle is None:
                    return result
            return self.original(*args, **kwargs)


def mark(wrapper: Callable) -> Callable:
    """Make a wrapper known as one."""
    wrapper._is_shoal_wrapper = True  # type: ignore[attr-defined]
    return wrapper


def is_wrapper(function: Any) -> bool:
    """Whether it stands in the place of scikit-learn's."""
    return getattr(function, "_is_shoal_wrapper", False)
