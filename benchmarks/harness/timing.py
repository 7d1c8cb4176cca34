"""Times of several ways to do the same, taken in turn."""

import gc
import math
import time
from statistics import median

SAMPLE = 0.005  # seconds: shorter calls are repeated to make up one sample


def in_turn(runs, rounds, limit, least, rest):
    """Time every run once a round, so that all of them meet the same moods of the machine.

    Parameters
    ----------
    runs : dict of {name: callable}
        Each has been called once already.
    rounds, limit, least : int, float, int
        Stop after `rounds` rounds, or after `limit` seconds but not before `least` rounds.
    rest : float
        Seconds between two samples. Thread pools go on spinning when their work is done,
        OpenBLAS's for 70 ms, and take a core from whoever comes next.

    Returns
    -------
    dict of {name: list of seconds a call}
    """
    times = {name: [] for name in runs}
    calls = {name: math.ceil(SAMPLE / sample(run, 1, 0)) for name, run in runs.items()}
    deadline = time.perf_counter() + limit
    for done in range(rounds):
        if done >= least and time.perf_counter() > deadline:
            break
        for name, run in runs.items():
            times[name].append(sample(run, calls[name], rest))
    return times


def sample(run, calls, rest):
    """Return the seconds that one of `calls` calls takes."""
    time.sleep(rest)
    gc.disable()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    seconds = time.perf_counter() - start
    gc.enable()
    return seconds / calls


def fastest(times, names):
    """Return the name, of those given, with the smallest time, or None if none has times."""
    return min((n for n in names if times.get(n)), key=lambda n: min(times[n]), default=None)


def ratio(slow, fast):
    """Ratio of the minima, and the least and the greatest ratio within a round."""
    each = [s / f for s, f in zip(slow, fast, strict=True)]
    return min(slow) / min(fast), min(each), max(each)


def summary(times):
    """Seconds, to five digits."""
    each = [float(f"{t:.5g}") for t in times]
    return {"min": min(each), "median": median(each), "all": each}


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))
