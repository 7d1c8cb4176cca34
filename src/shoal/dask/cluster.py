"""A fit as its client drives it: one task a worker and step.

Tasks are plain functions of futures that the scheduler can compute again: of a part, which it
makes from the collection's own graph, and of the steps to take. They prefer the worker that holds
the part, and any other will do. A part that was made again has no machines; its answer says so,
and is asked for again with all steps, which the client keeps: k centers a step, in a temporary
file beyond 16 MiB.
"""

import math
import pickle
import tempfile
import uuid
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dask
import numpy as np
from distributed import Client, Future, wait

from shoal.core.answers import Answer, merge_answers
from shoal.dask.parts import call, pass_on, run_steps, use_machine

MAX_STEPS_IN_MEMORY = 2**24  # bytes
INLINE_BYTES = 2**14  # of steps that are sent with every task
MAX_SENT_BYTES = 2**26  # of steps that are sent at a time
MAX_PATIENCE = 600  # seconds that fetching answers may take
PATIENCE = 5  # seconds after which the scheduler is asked whether tasks are stuck
SEND_INTERVAL = 1e-3  # seconds between two messages of the client to the scheduler
MAX_PAUSE = 60  # seconds, after which nothing is expected of workers that are all paused
FAN_IN = 8  # answers that are merged by one task, where there are more parts than that


def wait_for(client: Client, tasks: list[Future]) -> list:
    """What tasks give, when they have ended.

    Where all workers were gone or paused at one time, the scheduler lets tasks wait for the worker
    that they prefer, though others could take them: it is told to take any.

    Raises
    ------
    MemoryError
        All workers have been paused for a while, because their memory is full.
    """
    n_paused, patience = 0, PATIENCE
    while True:
        with suppress(TimeoutError):
            wait(tasks, timeout=PATIENCE)
            # what workers lose before it is fetched is computed again, as other tasks are
            now, patience = patience, min(2 * patience, MAX_PATIENCE)  # longer, to fetch much
            return client.sync(
                lambda: client.gather(tasks, asynchronous=True), callback_timeout=now
            )
        n_paused = n_paused + 1 if client.run_on_scheduler(free_waiting_tasks) else 0
        if n_paused * PATIENCE >= MAX_PAUSE:
            raise MemoryError(
                f"all workers have been paused for {n_paused * PATIENCE} seconds, because their "
                "memory is full: more workers, or a larger memory_limit of each, are needed"
            )


def hurry(client: Client) -> None:
    """Let a client send tasks at once.

    It collects what it has to say for 10 ms, so that thousands of tasks go together. A step of a
    fit has few, whose answers it waits for, and the word of those that it needs no more would
    hold back the next ones.
    """
    stream = getattr(client, "scheduler_comm", None)
    if getattr(stream, "interval", 0) > SEND_INTERVAL:
        stream.interval = SEND_INTERVAL


def free_waiting_tasks(dask_scheduler: Any) -> bool:
    """Let tasks that wait for a worker that is gone or paused run on any.

    Whether all workers are paused.
    """
    workers = dask_scheduler.workers.values()
    running = {worker.address for worker in workers if worker.status.name == "running"}
    chosen = {}
    for task in list(dask_scheduler.unrunnable):
        wanted = task.worker_restrictions or set()
        if task.loose_restrictions and not wanted & running:
            task.worker_restrictions = set()
            chosen[task.key] = "waiting"
    if chosen and running:
        dask_scheduler.transitions(chosen, stimulus_id="shoal-free")
    return bool(workers) and all(worker.status.name == "paused" for worker in workers)


class Steps:
    """All steps of a fit, as they are sent."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(MAX_STEPS_IN_MEMORY)  # noqa: SIM115
        self._ends = [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, method: str, args: tuple) -> None:
        """Add a step: the call of a method of the machines."""
        self._file.seek(self._ends[-1])
        self._file.write(pickle.dumps((method, args), protocol=5))
        self._ends.append(self._file.tell())

    def read(self, first: int, most: float | None = None) -> list[bytes]:
        """Steps `first` and following, of so many bytes in all, or of one step where that has more.

        By default, as many as are sent at a time.
        """
        most = MAX_SENT_BYTES if most is None else most
        found: list[bytes] = []
        for begin, end in zip(self._ends[first:], self._ends[first + 1 :], strict=False):
            if found and end - self._ends[first] > most:
                break
            self._file.seek(begin)
            found.append(self._file.read(end - begin))
        return found

    def close(self) -> None:
        """Free the file."""
        self._file.close()


class Parts:
    """The parts of a collection, as futures.

    Parameters
    ----------
    client : Client
    futures : list of Future
        One of each part.
    workers : list of str
        The address of the worker that each was made for.
    starts : ndarray of int
        First row of each part, and at the end the number of rows.
    weights : list of Future, optional
        Weights of the rows of each.
    """

    def __init__(
        self,
        client: Client,
        futures: list[Future],
        workers: list[str],
        starts: np.ndarray,
        weights: list[Future] | None = None,
    ) -> None:
        self.client, self.futures, self.workers, self.starts = client, futures, workers, starts
        self.weights = weights or [None] * len(futures)
        self.forgotten: list[str] = []  # fits whose machines are to be freed
        hurry(client)

    def __len__(self) -> int:
        return len(self.futures)

    def submit(self, function: Callable, part: int | None, *args: Any) -> Future:
        """A task on a worker, if it is of a part on that part's."""
        where = {}
        if part is not None:
            where = {"workers": [self.workers[part]], "allow_other_workers": True}
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
            return self.client.submit(function, *args, pure=False, **where)

    def results(self, tasks: list[Future]) -> list:
        """What tasks give, when they have ended."""
        return wait_for(self.client, tasks)

    def call(self, function: Callable, *args: Any) -> Any:
        """function(parts, weights, *args) with all parts, on one worker."""
        task = self.submit(call, None, function, self.futures, self.weights, *args)
        return self.results([task])[0]

    def call_on_weights(self, function: Callable, *args: Any) -> Any:
        """function(weights, *args) with the weights of all parts, on one worker; no rows go there.

        The weights are a list of None where rows have none.
        """
        return self.results([self.submit(function, None, self.weights, *args)])[0]

    def merge(self, answers: list[Future]) -> Answer:
        """The answer of all parts: merged on workers where there are many."""
        while len(answers) > FAN_IN:
            answers = [
                self.submit(merge_answers, None, answers[i : i + FAN_IN])
                for i in range(0, len(answers), FAN_IN)
            ]
        return merge_answers(self.results(answers))


class Fit:
    """A machine on each part, and the steps that all of them take.

    Parameters
    ----------
    parts : Parts
    maker : callable
        maker(part, weights, *args) makes a machine.
    *args
        The same for all parts.
    """

    def __init__(self, parts: Parts, maker: Callable, *args: Any) -> None:
        self.parts, self._maker, self.name = parts, maker, uuid.uuid4().hex
        self._steps = Steps()
        self._steps.append("", args)
        self._n_taken = [0] * len(parts)  # steps of each part's machine
        # the list, not the parts: so the parts' last user frees them
        weakref.finalize(self, _forget, parts.forgotten, self.name, self._steps)

    def step(self, method: str, *args: Any) -> Answer:
        """Let all machines take a step; what they answer."""
        self._steps.append(method, args)
        return self._ask_all(None, range(len(self.parts)))

    def note(self, method: str, *args: Any) -> None:
        """A step that machines take before the next one."""
        self._steps.append(method, args)

    def ask(self, method: str, *args: Any, of: Any = None, carried: Any = None) -> Answer:
        """What the machines of some parts answer to a call that changes none of them.

        `carried` holds for each part what is its first argument, as a future.
        """
        query = pickle.dumps((method, args), protocol=5)
        return self._ask_all(query, range(len(self.parts)) if of is None else of, carried)

    def _ask_all(self, query: bytes | None, of: Any, carried: Any = None) -> Answer:
        sent: Any = query
        if query is not None and len(query) > INLINE_BYTES and len(of) > 1:
            sent = self.parts.submit(pass_on, None, query)
        while True:
            answer = self.parts.merge(self.submit(sent, of, carried))
            if not self.note_missing(answer, of):
                return answer

    def chain(self, method: str, first: Any, *args: Any) -> Any:
        """What becomes of a value that every part's machine changes, in the order of the rows.

        It goes from worker to worker: `method(value, *args)` is called on each.
        """
        query, of = pickle.dumps((method, args), protocol=5), range(len(self.parts))
        while True:
            carried: Any = first
            for part in of:
                carried = self.submit(query, [part], carried)[0]
            (answer,) = self.parts.results([carried])
            if not self.note_missing(answer, of):
                return answer.counts

    def gather_on_one(self, method: str, function: Callable, *args: Any) -> Any:
        """function(answers, *args) with what all machines answer, on one worker."""
        query, of = pickle.dumps((method, ()), protocol=5), range(len(self.parts))
        while True:
            task = self.parts.submit(function, None, self.submit(query, of), *args)
            (found,) = self.parts.results([task])
            if not (isinstance(found, Answer) and self.note_missing(found, of)):
                return found

    @property
    def n_steps(self) -> int:
        """Steps that there have been."""
        return len(self._steps)

    def steps_since(self, first: int) -> Any:
        """Steps `first` and following, as an argument of one task of each part."""
        return self._send(self._steps.read(first, most=math.inf), len(self.parts))

    def map_machines(self, function: Callable, *args: Any) -> list[Future]:
        """function(machine, part, weights, *args) on each part; None for a machine that is lost."""
        parts = self.parts
        for part, n_taken in enumerate(self._n_taken):
            self._catch_up(part, n_taken)
        return [
            parts.submit(
                use_machine,
                part,
                parts.futures[part],
                parts.weights[part],
                self.name,
                self._maker,
                self._n_taken[part],
                self._steps.read(self._n_taken[part]),
                function,
                *args,
            )
            for part in range(len(parts))
        ]

    def note_missing(self, answer: Answer, of: Any) -> bool:
        """Whether machines are to be made again; those of the others have taken all steps."""
        for part in of:
            self._n_taken[part] = len(self._steps)
        for part, n_taken in answer.missing.items():
            self._catch_up(part, n_taken)
        return bool(answer.missing)

    def _catch_up(self, part: int, n_taken: int) -> None:
        """Let the machine of a part take the steps that it misses, but for the last ones."""
        while n_taken + len(steps := self._steps.read(n_taken)) < len(self._steps):
            (answer,) = self.parts.results([self._submit_one(part, n_taken, steps, None)])
            n_taken = (answer.missing if answer else {}).get(part, n_taken + len(steps))
        self._n_taken[part] = n_taken

    def submit(self, query: Any, of: Any, carried: Any = None) -> list[Future]:
        """A task on each of these parts."""
        tasks, sent = [], {}
        for part in of:
            if self._n_taken[part] not in sent:
                self._catch_up(part, self._n_taken[part])
            n_before = self._n_taken[part]
            if n_before not in sent:
                sent[n_before] = self._send(self._steps.read(n_before), len(of))
            first = carried[part] if isinstance(carried, list) else carried
            tasks.append(self._submit_one(part, n_before, sent[n_before], query, first))
        return tasks

    def _send(self, steps: list[bytes], count: int) -> Any:
        """Steps as an argument of so many tasks."""
        if count > 1 and sum(map(len, steps)) > INLINE_BYTES:
            return self.parts.submit(pass_on, None, steps)
        return steps

    def _submit_one(
        self, part: int, n_before: int, steps: Any, query: Any, carried: Any = None
    ) -> Future:
        parts = self.parts
        return parts.submit(
            run_steps,
            part,
            parts.futures[part],
            parts.weights[part],
            self.name,
            self._maker,
            n_before,
            steps,
            query,
            carried,
            tuple(parts.forgotten[-8:]),
        )


def _forget(forgotten: list[str], name: str, steps: Steps) -> None:
    """Let the next task free what a fit has left on the workers."""
    forgotten.append(name)
    steps.close()
