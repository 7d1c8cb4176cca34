"""scikit-learn's callbacks (1.9 and later), called as the tasks of a fit, a tree, begin and end.

Without callbacks no tasks are created. One watcher may follow all fits of the process besides
(accel/bars.py).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks."""


class Level(Protocol):
    """A watcher's view of a task."""

    def subtask(self, name: str, max_subtasks: int | None) -> "Level":
        """The next task within this one begins."""

    def end(self) -> None:
        """The task ends."""


class Watcher(Protocol):
    """Follows all fits of the process, in their threads."""

    def fit(self, estimator: Any) -> AbstractContextManager:
        """Within it, the estimator is fitted."""

    def begin_tasks(self, max_subtasks: int | None) -> Level | None:
        """The fit that this thread is in begins with its tasks; None: they are of no interest."""


_watchers: list[Watcher] = []  # one at most


def set_watcher(watcher: Watcher | None) -> None:
    """Let a watcher, or none, follow all fits from now on."""
    _watchers[:] = [] if watcher is None else [watcher]


def watcher() -> Watcher | None:
    """Who follows all fits, if anyone."""
    return _watchers[0] if _watchers else None


class Task:
    """A fit, one of its runs, or one of their iterations.

    Parameters
    ----------
    estimator : estimator
    context : CallbackContext or None
        None where the estimator has no callbacks.
    data : dict
        X, y and metadata of the fit.
    level : Level or None
        None where nobody watches.
    """

    def __init__(
        self, estimator: Any, context: Any, data: dict, level: Level | None = None
    ) -> None:
        self._estimator, self._context, self._data = estimator, context, data
        self._level = level
        if context is not None:
            context.call_on_fit_task_begin(estimator=estimator, **data)

    def subtask(self, name: str, max_subtasks: int | None = 0) -> "Task":
        """The next task within this one."""
        if self._context is None and self._level is None:
            return self
        context, level = self._context, self._level
        if context is not None:
            context = context.subcontext(task_name=name, max_subtasks=max_subtasks)
        if level is not None:
            level = level.subtask(name, max_subtasks)
        return Task(self._estimator, context, self._data, level)

    def end(self, attributes: Callable[[], dict] | None = None) -> bool:
        """Call the callbacks at the end of the task; whether one stops the tasks at its level.

        `attributes` returns the fitted attributes with which an estimator can predict as if
        the fit ended here.
        """
        if self._level is not None:
            self._level.end()
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
    level = _watchers[0].begin_tasks(max_subtasks) if _watchers else None
    data = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
    return Task(estimator, context, data, level)
