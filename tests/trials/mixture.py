"""Random fits of mixtures compared with scikit-learn's.

In tests/, `python -m trials.mixture --trials 1000 --seed 7` prints every trial whose
answer differs from scikit-learn's, with the reason, and counts them. The reasons:

- float32: scikit-learn's own answer for the same data in float64 is ours. It sums and
  subtracts in float32.
- cancelled: scikit-learn's E[x²] - E[x]² and its x²/σ² - 2 xμ/σ² + μ²/σ² have lost the digits
  that decide: with sums of deviations (`WithoutCancellation`), scikit-learn gives our answer.
- rounding: scikit-learn gives another answer when its data is perturbed by one rounding, so
  the difference proves nothing. Long runs and components about to collapse are like that.
- narrow: in float32, scikit-learn's answer is not its own of the same data in float64, and
  there ours is the same.
- basis: samples only, from covariances with equal eigenvalues, whose vectors are any.
- tie: several runs (n_init) end at the same bound, and rounding says which is the best.
"""

import contextlib
import sys
from dataclasses import dataclass
from functools import partial
from unittest import mock

import numpy as np
import sklearn.mixture
from sklearn.mixture import _bayesian_mixture, _gaussian_mixture

import shoal
from helpers.outcomes import outcome, public_attributes
from shoal.core.releases import MIXTURES_KEEP_FLOAT32
from trials import report
from trials.problems import KINDS

RTOL = {"f4": 1e-4, "f8": 1e-8}
COMPARED = ("weights_", "means_", "covariances_", "lower_bound_", "lower_bounds_")
TYPES = ("full", "tied", "diag", "spherical")
INITS = ("kmeans", "k-means++", "random", "random_from_data")


@dataclass(frozen=True)
class Trial:
    """One random problem; the seed gives everything that is not given here."""

    seed: int
    name: str
    n: int
    d: int
    kind: str
    dtype: str
    layout: str
    params: tuple

    def data(self):
        rng = np.random.default_rng(self.seed)
        X = KINDS[self.kind](rng, self.n, self.d).astype(self.dtype)
        return np.asfortranarray(X) if self.layout == "F" else np.ascontiguousarray(X)


def draw_trial(seed):
    rng = np.random.default_rng(seed)
    n = int(np.exp(rng.uniform(np.log(2), np.log(1500))))
    d = int(np.exp(rng.uniform(0, np.log(25))))
    k = min(n, int(np.exp(rng.uniform(0, np.log(12)))))
    name = str(rng.choice(["GaussianMixture", "BayesianGaussianMixture"]))
    params = {
        "n_components": k,
        "covariance_type": str(rng.choice(TYPES)),
        "init_params": str(rng.choice(INITS, p=[0.4, 0.2, 0.2, 0.2])),
        "n_init": int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])),
        "max_iter": int(rng.choice([1, 2, 5, 20, 100])),
        "tol": float(rng.choice([1e-2, 1e-3, 1e-5])),
        "reg_covar": float(rng.choice([1e-6, 1e-3, 0.1, 0.0], p=[0.6, 0.2, 0.1, 0.1])),
    }
    if name != "GaussianMixture":
        process = rng.random() < 0.5
        prior = "dirichlet_process" if process else "dirichlet_distribution"
        params["weight_concentration_prior_type"] = prior
    kinds = [kind for kind in KINDS if kind != "heavy_tailed" or rng.random() < 0.5]
    return Trial(
        seed,
        name,
        n,
        d,
        str(rng.choice(kinds)),
        str(rng.choice(["f4", "f8"], p=[0.3, 0.7])),
        str(rng.choice(["C", "F"])),
        tuple(params.items()),
    )


def fitted(library, trial, X):
    """The outcome of a fit and of calls of the fitted mixture."""
    random_state = np.random.RandomState(trial.seed)

    def fit():
        model = getattr(library, trial.name)(**dict(trial.params), random_state=random_state)
        labels = model.fit_predict(X)
        found = public_attributes(model)
        found["draws"] = random_state.randint(2**31)
        found["labels"] = labels
        found["proba"] = model.predict_proba(X)
        found["scores"] = model.score_samples(X)
        if trial.name == "GaussianMixture":
            found["bic"] = model.bic(X)
        model.random_state = 3
        found["sample"], found["origins"] = model.sample(20)
        return found

    return outcome(fit)


def differences_of(ours, theirs, dtype, rtol=None):
    """How two outcomes differ: a list of messages."""
    if ours.error != theirs.error:
        return [f"error: {ours.error} against {theirs.error}"]
    found = []
    if ours.warned != theirs.warned:
        found.append(f"warnings: {ours.warned} against {theirs.warned}")
    if ours.error is not None:
        return found
    a, b = ours.value, theirs.value
    if set(a) != set(b):
        return [f"attributes: {sorted(set(a) ^ set(b))}"]
    if a["draws"] != b["draws"]:
        found.append("another number of draws")
    if a["n_iter_"] != b["n_iter_"] or a["converged_"] != b["converged_"]:
        found.append(f"{a['n_iter_']} iterations against {b['n_iter_']}")
        return found
    if (a["labels"] != b["labels"]).any():
        found.append(f"{int((a['labels'] != b['labels']).sum())} labels")
    rtol = rtol or RTOL[dtype]
    for name in (*COMPARED, "proba", "scores", "bic", "sample"):
        if name not in b:  # lower_bounds_ came with scikit-learn 1.7
            continue
        p, q = np.asarray(a[name]), np.asarray(b[name])
        if name == "lower_bound_":  # scikit-learn's has shape (1,) where it is Bayesian and tied
            q = q.reshape(())
        if name == "lower_bounds_":
            q = q.reshape(len(q))
        if p.shape != q.shape or p.dtype != q.dtype:
            found.append(f"{name}: {p.dtype} {p.shape} against {q.dtype} {q.shape}")
        elif not np.allclose(p, q, rtol=rtol, atol=rtol * max(1e-300, np.abs(q).max(initial=0))):
            found.append(f"{name} by {np.abs(p - q).max():.2g} of {np.abs(q).max():.2g}")
    return found


def perturb(X, seed):
    """The data, each value changed by one rounding or none."""
    rng = np.random.default_rng(seed)
    step = np.array(rng.integers(-1, 2, X.shape), X.dtype)
    return X + np.spacing(X) * step


class WithoutCancellation:
    """scikit-learn's mixtures of float64 data, in its own code but for the sums that cancel.

    Covariances are summed about the means in extended precision, without the share of
    10·eps·mean² / nk that is rounding where a component has a row; logarithms of densities
    are of x - mean. The eps of GaussianMixture is that of `dtype`.
    """

    def __init__(self, dtype):
        self._dtype = dtype if MIXTURES_KEEP_FLOAT32 else "f8"

    def __getattr__(self, name):
        def make(**params):
            model = getattr(sklearn.mixture, name)(**params)
            for method in ("fit_predict", "predict_proba", "score_samples", "bic"):
                if hasattr(model, method):
                    setattr(model, method, self._patched(getattr(model, method)))
            return model

        return make

    def _patched(self, method):
        def call(X):
            with contextlib.ExitStack() as stack:
                for module, dtype in ((_gaussian_mixture, self._dtype), (_bayesian_mixture, "f8")):
                    patches = {
                        "_estimate_gaussian_parameters": partial(
                            _estimate_gaussian_parameters, 10 * eps_of(dtype)
                        ),
                        "_estimate_log_gaussian_prob": _estimate_log_gaussian_prob,
                    }
                    stack.enter_context(mock.patch.multiple(module, **patches))
                return method(X)

        return call


def eps_of(dtype):
    return float(np.finfo(dtype).eps)


def _estimate_gaussian_parameters(eps, X, resp, reg_covar, covariance_type, xp=None):
    """Weights, means and covariances; mean squares of deviations where scikit-learn subtracts."""
    resp, X = resp.astype(np.longdouble), X.astype(np.longdouble)
    n = resp.sum(axis=0)
    nk = n + eps
    sums = resp.T @ X
    means = sums / nk[:, None]
    inner = sums / np.where(n > 0, n, 1)[:, None]
    deviations = [X - mean for mean in inner]
    step = np.sqrt(n)[:, None] * (inner * eps / nk[:, None])
    eps_share = np.where((n < 0.5) & (covariance_type != "full"), eps, 0)
    if covariance_type in ("full", "tied"):
        scatter = np.array([(r * x.T) @ x for r, x in zip(resp.T, deviations, strict=True)])
        scatter += step[:, :, None] * step[:, None, :]
        scatter += (eps_share[:, None] * means)[:, :, None] * means[:, None, :]
        covariances = scatter / nk[:, None, None]
        if covariance_type == "tied":
            covariances = scatter.sum(axis=0) / nk.sum()
            # scikit-learn takes X.T @ X of all rows, whatever their responsibilities sum to
            if not np.allclose(resp.sum(axis=1).astype(float), 1):
                covariances = (X.T @ X - (nk + eps - eps_share) * means.T @ means) / nk.sum()
        covariances = covariances + reg_covar * np.eye(X.shape[1])
    else:
        scatter = np.array([r @ x**2 for r, x in zip(resp.T, deviations, strict=True)]) + step**2
        covariances = (scatter + eps_share[:, None] * means**2) / nk[:, None] + reg_covar
        if covariance_type == "spherical":
            covariances = covariances.mean(axis=1)
    return tuple(a.astype(np.float64) for a in (nk, means, covariances))


def _estimate_log_gaussian_prob(X, means, precisions_chol, covariance_type, xp=None):
    d = X.shape[1]
    log_det = _gaussian_mixture._compute_log_det_cholesky(precisions_chol, covariance_type, d)
    squared = np.empty((len(X), len(means)))
    for j, mean in enumerate(means):
        factor = precisions_chol if covariance_type == "tied" else precisions_chol[j]
        y = (X - mean) @ factor if np.ndim(factor) == 2 else (X - mean) * factor
        squared[:, j] = (y**2).sum(axis=1)
    return -0.5 * (d * np.log(2 * np.pi) + squared) + log_det


DECISIVE = ("weights_", "means_", "covariances_", "lower_bounds_", "scores")


def why(trial, X, ours, theirs):
    """The reason of a difference; "BUG..." is ours."""
    if _only_samples_differ(trial, ours, theirs):
        return "basis: a covariance has equal eigenvalues, and samples use its vectors"
    if trial.dtype == "f4":
        wide = fitted(sklearn.mixture, trial, X.astype("f8"))
        if not _numbers_differ(ours, wide, RTOL["f4"]):
            return "float32: ours is scikit-learn's answer in float64"
    uncancelled = fitted(WithoutCancellation(trial.dtype), trial, X.astype("f8"))
    if not _numbers_differ(ours, uncancelled, RTOL[trial.dtype], DECISIVE):
        return "cancelled: ours is scikit-learn's answer where it sums deviations"
    if _is_nearer_ours(ours, theirs, uncancelled):
        return "cancelled: where it sums deviations, scikit-learn's answer is ten times nearer ours"
    if trial.dtype == "f4":
        ours_wide = fitted(shoal, trial, X.astype("f8"))
        if not differences_of(ours_wide, wide, "f8") and _numbers_differ(theirs, wide, 1e-4):
            return "narrow: scikit-learn differs from itself in float64, where ours is the same"
    if dict(trial.params)["n_init"] > 1 and ours.error is None and theirs.error is None:
        bounds = (np.ravel(each.value["lower_bound_"])[0] for each in (ours, theirs))
        if np.isclose(*bounds, rtol=RTOL["f8"], atol=1e-12):
            return "tie: runs end at the same bound"
    for seed in range(8):
        other = perturb(X, seed)
        if differences_of(fitted(sklearn.mixture, trial, other), theirs, trial.dtype):
            return "rounding: scikit-learn differs from itself when data move by a rounding"
        if differences_of(
            fitted(WithoutCancellation(trial.dtype), trial, other.astype("f8")), uncancelled, "f8"
        ):
            return "rounding: and so does scikit-learn where it sums deviations"
    return "BUG"


def _is_nearer_ours(ours, theirs, uncancelled):
    """Whether ours is ten times nearer a third outcome than theirs, or the same."""
    if _numbers_differ(ours, uncancelled, np.inf, ()) or theirs.error is not None:
        return False
    if theirs.value["n_iter_"] != uncancelled.value["n_iter_"]:
        return False
    return all(
        np.abs(a - c).max() <= 0.1 * np.abs(b - c).max() or np.allclose(a, c, 1e-8, 0)
        for a, b, c in (
            [np.ravel(each.value[name]) for each in (ours, theirs, uncancelled)]
            for name in DECISIVE
        )
    )


def _only_samples_differ(trial, ours, theirs):
    """Whether they do, for covariances with equal eigenvalues."""
    if ours.error is not None or theirs.error is not None:
        return False
    if any(not word.startswith("sample") for word in differences_of(ours, theirs, trial.dtype)):
        return False
    covariances = theirs.value["covariances_"]
    if dict(trial.params)["covariance_type"] not in ("full", "tied"):
        return False
    values = np.linalg.eigvalsh(covariances.reshape(-1, *covariances.shape[-2:]))
    return bool((np.diff(values, axis=1) < 1e-6 * values[:, -1:]).any())


def _numbers_differ(a, b, rtol, names=("weights_", "means_", "covariances_")):
    """Whether two outcomes differ in iterations, labels or these attributes."""
    if (a.error is None) != (b.error is None):
        return True
    if a.error is not None:
        return False
    p, q = a.value, b.value
    if p["n_iter_"] != q["n_iter_"] or (p["labels"] != q["labels"]).any():
        return True
    pairs = ((np.ravel(p[name]), np.ravel(q[name])) for name in names if name in q)
    return any(not np.allclose(a, b, rtol, rtol * np.abs(b).max(initial=0)) for a, b in pairs)


def check_seed(seed):
    """None where both agree, else (trial, differences, reason)."""
    trial = draw_trial(seed)
    X = trial.data()
    before = X.tobytes()
    theirs, ours = fitted(sklearn.mixture, trial, X), fitted(shoal, trial, X)
    if X.tobytes() != before:
        return trial, ["the data were changed"], "BUG"
    found = differences_of(ours, theirs, trial.dtype)
    return (trial, found, why(trial, X, ours, theirs)) if found else None


def main(arguments=None):
    def check_named(seed):
        result = check_seed(seed)
        return None if result is None else [(result[0].name, *result)]

    return report.run(check_named, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
