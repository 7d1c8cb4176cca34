"""The script around every family's trials.

A family's module gives a function of a seed, whose results tell where our answer to the problem
of that seed differs from scikit-learn's, and why. `run` calls it for many seeds, prints each
difference, and counts the reasons; reasons that begin with "BUG" have no excuse.
"""

import argparse
import collections


def run(check_seed, description, arguments=None):
    """Run trials from a seed on; whether a difference is a bug.

    Parameters
    ----------
    check_seed : callable
        `check_seed(seed)` returns None where both answers agree, else (trial, differences,
        reason), or a list of (name, trial, differences, reason), whose reasons are counted by
        name. Differences are in words: a string, a list or a dict's values.
    description : str
        Help of the command line: `--trials` and `--seed`.
    arguments : list of str or None
        Of the command line; the process's own by default.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    reasons = collections.Counter()
    for seed in range(options.seed, options.seed + options.trials):
        for name, trial, differences, reason in as_list(check_seed(seed)):
            reasons[name, reason.split(":")[0]] += 1
            head = f"{name} {trial}" if name else str(trial)
            print(f"{head}\n    differs: {in_words(differences)}\n    why: {reason}", flush=True)
    print(f"{options.trials} trials, {sum(reasons.values())} differences")
    for (name, reason), count in sorted(reasons.items()):
        print(f"    {name + ': ' if name else ''}{count} {reason}")
    return any(reason.startswith("BUG") for _, reason in reasons)


def as_list(results):
    """What a check returned, as a list of (name, trial, differences, reason)."""
    if results is None:
        return []
    return results if isinstance(results, list) else [("", *results)]


def in_words(differences):
    """Differences as one string."""
    if isinstance(differences, str):
        return differences
    return "; ".join(differences.values() if isinstance(differences, dict) else differences)
