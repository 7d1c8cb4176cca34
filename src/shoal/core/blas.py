"""One thread for NumPy's and SciPy's BLAS, where a product is a small step of a fit."""

import os
from functools import cache
from threading import Lock
from types import TracebackType

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


class _OneThread:
    """Within it, BLAS computes by the thread that calls it; 16 µs in and out.

    Threads of OpenBLAS spin for up to 30 ms after a product, in case another one follows. What
    runs next is a kernel on the package's own threads, which that would slow by up to a half.

    BLAS has one number of threads for the process. It is set by the first who enters and set
    back by the last who leaves: were each to set back what it met, two who overlap could leave
    one thread for good.
    """

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave_in_child)

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._limit = _controller().limit(limits=1, user_api="blas")
            self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._limit.restore_original_limits()
                self._limit = None

    def _forget(self) -> None:
        self._lock, self._depth, self._limit = Lock(), 0, None

    def _leave_in_child(self) -> None:
        """A forked process has none of the threads that were within."""
        limit = self._limit
        self._forget()
        if limit is not None:
            limit.restore_original_limits()


one_blas_thread = _OneThread()
