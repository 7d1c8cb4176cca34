"""Parameters of estimators: scikit-learn's checks without what they cost a fit of a few rows."""

import functools
from collections.abc import Callable
from numbers import Integral
from typing import Any, TypeVar, cast

import numpy as np
import sklearn.utils
from numpy.random.bit_generator import ISeedSequence
from sklearn.utils import _param_validation
from sklearn.utils._param_validation import make_constraint

from shoal.core.convert import Convertible

F = TypeVar("F", bound=Callable)


def validate_params(constraints: dict, *, prefer_skip_nested_validation: bool) -> Callable[[F], F]:
    """scikit-learn's decorator of that name, for type checkers: a function keeps its signature."""
    decorate = _param_validation.validate_params(
        constraints, prefer_skip_nested_validation=prefer_skip_nested_validation
    )
    return cast("Callable[[F], F]", decorate)


@functools.cache
def _constraints_by_name(estimator: type) -> list[tuple[str, list]]:
    """The constraints of each parameter that has some, as objects."""
    constraints = estimator._parameter_constraints
    return [
        (name, [make_constraint(constraint) for constraint in constraints[name]])
        for name in estimator._get_param_names()
        if constraints.get(name, "no_validation") != "no_validation"
    ]


class CheckedParameters(Convertible):
    """Mixin before BaseEstimator: constraints are made once a class, not once a fit.

    What they find fault with scikit-learn checks again, to raise its own error.
    """

    def _validate_params(self) -> None:
        for name, constraints in _constraints_by_name(type(self)):
            value = getattr(self, name)
            if not any(constraint.is_satisfied_by(value) for constraint in constraints):
                super()._validate_params()  # type: ignore[misc]
                return


class _NoEntropy(ISeedSequence):
    """For a generator that is seeded after it is made."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        return np.zeros(n_words, dtype)


def check_random_state(seed: Any) -> np.random.RandomState:
    """scikit-learn's check_random_state; for an integer in a third of the time.

    NumPy's RandomState fills its state from the system's entropy first, which takes longer than
    a fit of a few rows. Its state after a seed is the same. Not for one that is kept: pickles
    would name the class above.
    """
    if not isinstance(seed, Integral):
        return sklearn.utils.check_random_state(seed)
    state = np.random.RandomState(np.random.MT19937(_NoEntropy()))
    state.seed(seed)
    return state
