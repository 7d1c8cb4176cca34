"""scikit-learn's callbacks (1.9 and later), called as the tasks of a fit, a tree, begin and end.

Without callbacks no tasks are created.
"""

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks."""


class Task:
    """A fit, one of its runs, or one of their iterations.

    Parameters
    ----------
    estimator : estimator
    context : CallbackContext or None
        None where the estimator has no callbacks.
    data : dict
        X, y and metadata of the fit.
    """

    def __init__(self, estimator: Any, context: Any, data: dict) -> None:
        self._estimator, self._context, self._data = estimator, context, data
        if context is not None:
            context.call_on_fit_task_begin(estimator=estimator, **data)

    def subtask(self, name: str, max_subtasks: int | None = 0) -> "Task":
        """The next task within this one."""
        if self._context is None:
            return self
        context = self._context.subcontext(task_name=name, max_subtasks=max_subtasks)
        return Task(self._estimator, context, self._data)

    def end(self, attributes: Callable[[], dict] | None = None) -> bool:
        """Call the callbacks at the end of the task; whether one stops the tasks at its level.

        `attributes` returns the fitted attributes with which an estimator can predict as if
        the fit ended here.
        """
        if self._context is None:
            return False
        return self._context.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=attributes, **self._data
        )


def begin_fit(estimator: Any, X: Any, y: Any, sample_weight: Any, max_subtasks: int | None) -> Task:
    """The task of a whole fit."""
    context = None
    if getattr(estimator, "_skl_callbacks", None):
        context = estimator._init_callback_context(max_subtasks=max_subtasks)
    return Task(estimator, context, {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}})
