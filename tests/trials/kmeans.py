"""Random fits compared with scikit-learn's.

In tests/, `python -m trials.kmeans --trials 1000 --seed 7` prints every trial whose answer
differs from scikit-learn's, with the reason (see diagnosis.py), and counts them.
"""

import sys

import scipy.sparse as sp
import sklearn.cluster

import shoal
from helpers.outcomes import fit_differences
from trials import report
from trials.diagnosis import explain_fit, explain_seeding
from trials.problems import draw_trial, fitted, seeding_differences, seeds


def fit_both(trial):
    X, weight = trial.data()
    params = trial.params(X)
    theirs = fitted(sklearn.cluster, params, X, weight, trial.seed)
    before = X.data.tobytes() if sp.issparse(X) else X.tobytes()
    ours = fitted(shoal, params, X, weight, trial.seed)
    after = X.data.tobytes() if sp.issparse(X) else X.tobytes()
    differences = fit_differences(ours, theirs, X, weight)
    if before != after:
        differences["data"] = "the data were changed"
    return differences, ours, theirs


def check_fit(trial):
    """None where both agree, else (differences, verdict); "BUG..." means a bug of shoal."""
    differences, ours, theirs = fit_both(trial)
    if not differences:
        return None
    return differences, explain_fit(trial, differences, ours, theirs)


def check_seeding(trial):
    """check_fit for kmeans_plusplus."""
    X, weight = trial.data()
    n_local_trials = [None, None, 1, 4][trial.seed % 4]
    args = (trial, X, weight, n_local_trials)
    ours, theirs = seeds(shoal, *args), seeds(sklearn.cluster, *args)
    differences = seeding_differences(ours, theirs)
    if not differences:
        return None
    return differences, explain_seeding(trial, n_local_trials, differences, ours, theirs)


CHECKS = {"fit": check_fit, "seeding": check_seeding}


def check_seed(seed):
    """All checks on one trial: a list of (name of the check, trial, differences, verdict)."""
    trial = draw_trial(seed)
    results = ((name, check(trial)) for name, check in CHECKS.items())
    return [(name, trial, *result) for name, result in results if result is not None]


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
