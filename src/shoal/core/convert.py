"""Estimators here and scikit-learn's own: each as the other, parameters and fitted state.

Fitted attributes have scikit-learn's names, private ones included, so a conversion is a copy of
the attributes, without those that hold objects of this package. A class says what else there is
to do in `_to_sklearn_state`.
"""

import copy
import functools
from importlib import import_module
from typing import Any, Self

PACKAGE = __name__.partition(".")[0]
FACES = ("cluster", "mixture", "metrics")  # modules with the names of scikit-learn's


def sklearn_counterpart(ours: type) -> type:
    """scikit-learn's class of the same name; a subclass has that of its base class here.

    Raises
    ------
    TypeError
        If scikit-learn has none.
    """
    for base in ours.__mro__:
        package, _, face = base.__module__.partition(".")
        if package == PACKAGE and face in FACES:
            theirs = getattr(import_module(f"sklearn.{face}"), base.__name__, None)
            if theirs is not None:
                return theirs
    raise TypeError(f"scikit-learn has no {ours.__name__}")


def is_ours(value: Any) -> bool:
    """Whether a value is an object of a class of this package."""
    return _is_our_class(type(value))


@functools.lru_cache(maxsize=1000)  # asked of each attribute after each patched fit
def _is_our_class(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == PACKAGE


@functools.cache
def parameter_names(estimator: type) -> frozenset:
    """Names of the parameters of a class; scikit-learn finds them anew at each call."""
    return frozenset(estimator._get_param_names())  # type: ignore[attr-defined]


class Convertible:
    """Mixin of every estimator: `to_sklearn`, and what a class may say of its state."""

    # methods that scikit-learn has too, but that need what `_to_sklearn_state` leaves out
    _needs_own_state: frozenset = frozenset()
    # attributes that fitting on changes in place, so that two estimators cannot share them
    _changed_in_place: frozenset = frozenset()

    def to_sklearn(self) -> Any:
        """This estimator as scikit-learn's own, with parameters and what was fitted.

        What knows scikit-learn's classes alone (ONNX converters, explainers, skops), and
        readers of pickles without this package, take the result. It shares its arrays with
        this estimator, but for those that fitting on changes in place.

        Returns
        -------
        estimator : object
            Of scikit-learn's class of the same name. Parameters and attributes that
            scikit-learn does not have are left out.

        Raises
        ------
        TypeError
            If scikit-learn has no such class.
        """
        theirs = sklearn_counterpart(type(self))
        names = parameter_names(theirs)
        made = theirs(**{name: getattr(self, name) for name in names if hasattr(self, name)})
        vars(made).update(self._to_sklearn_state())
        self._part(made)
        return made

    @classmethod
    def _part(cls, made: Any) -> None:
        """Give an estimator made from another its own copies of what changes in place."""
        for name in cls._changed_in_place & vars(made).keys():
            vars(made)[name] = copy.deepcopy(vars(made)[name])

    def _to_sklearn_state(self) -> dict:
        """Attributes other than parameters, as scikit-learn's fitted estimator has them."""
        params = parameter_names(type(self))
        return {
            name: value
            for name, value in vars(self).items()
            if name not in params and not is_ours(value)
        }

    @classmethod
    def _from_sklearn(cls, theirs: Any) -> Self:
        """An estimator with the parameters and attributes of scikit-learn's."""
        made = cls()
        unknown = parameter_names(type(theirs)) - parameter_names(cls)
        state = {name: value for name, value in vars(theirs).items() if name not in unknown}
        vars(made).update(state)
        cls._part(made)
        return made
