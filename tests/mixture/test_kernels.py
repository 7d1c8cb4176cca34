"""The kernels of mixtures against their twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.mixture.args import CholeskyArgs, ElementwiseArgs, EStepArgs, MStepArgs

import reference
from helpers.kernel_cases import level, levels
from helpers.mixture_cases import TYPES, make_problem, problems
from shoal.core import cpu, parallel
from shoal.core.rows import Rows

ORDINARY = settings(max_examples=120)
ULP = {"f4": np.finfo(np.float32), "f8": np.finfo(np.float64)}


def twin_of(problem, points, given=None):
    twin = getattr(reference, f"e_step_{problem.kernel}")
    return twin(*problem.for_twin(), points, given)


def log_errors(problem):
    """How far each log probability may be off: see `tie_margin` in kernels/responsibilities.pxd."""
    x, _, means, factors, constants = problem.for_twin()
    d = x.shape[1]
    eps = np.finfo(problem.X.dtype).eps
    axes = (1, 2) if factors.ndim == 3 else 1
    shared = problem.covariance_type == "tied" and factors.ndim == 2 and problem.kernel == "tied"
    norms = np.sqrt((factors**2).sum()) if shared else np.sqrt((factors**2).sum(axis=axes))
    center = means.mean(axis=0) if problem.origin is None else problem.origin
    radius = np.sqrt(((x - center) ** 2).sum(axis=1))[:, None]
    radius = radius + np.sqrt(((means - center) ** 2).sum(axis=1)).max()
    unit = eps * (d + 10)
    return lambda log_prob: (
        4
        * unit
        * (
            np.sqrt(abs(constants - log_prob)) * radius * norms
            + abs(constants - log_prob)
            + abs(constants).max()
            + unit * (radius * norms) ** 2
        )
    )


def points_of(problem):
    """The points that moments are about."""
    if problem.kernel == "tied":
        return np.broadcast_to(problem.origin.astype(np.float64), problem.means.shape)
    return problem.means.astype(problem.X.dtype).astype(np.float64)


def assert_moments(problem, found, expected):
    """Sums agree but for rounding in the data's type, of terms of either sign."""
    n, dtype = len(problem.X), problem.X.dtype
    rtol = 40 * np.finfo(dtype).eps
    t = abs(problem.X.astype(np.float64)[:, None, :] - found.reference).max()
    weight = problem.w.sum() + 1e-300
    np.testing.assert_allclose(found.weight, expected.weight.astype(float), rtol, rtol * weight)
    np.testing.assert_allclose(found.first, expected.first.astype(float), rtol, rtol * weight * t)
    if found.second is not None:
        second = expected.second.astype(float)
        if found.second.ndim == 2:
            second = np.diagonal(second, axis1=1, axis2=2)
        np.testing.assert_allclose(found.second, second, rtol, rtol * weight * t**2)
    assert n


@ORDINARY
@given(problems(), levels)
def test_e_step(problem, name):
    """Log probabilities, responsibilities and totals, within the bound for near-ties."""
    n, k, dtype = len(problem.X), len(problem.means), problem.X.dtype
    log_prob_norm, resp = np.full(n, np.nan, dtype), np.full((n, k), np.nan, dtype)
    with level(name):
        _, totals = problem.run(log_prob_norm=log_prob_norm)
        problem.weights, w = None, problem.w
        problem.run(resp=resp)
    expected = twin_of(problem, points_of(problem))
    log_resp = np.log(np.maximum(expected.resp, 1e-300))
    log_likelihood = (w * expected.log_prob_norm).sum()
    negentropy = (w[:, None] * expected.resp * log_resp).sum()
    errors = log_errors(problem)(expected.log_prob).astype(float)
    eps = np.finfo(dtype).eps
    counts = expected.resp > 0.01 / k  # others change log p(x) too little
    error = np.where(counts, errors, 0).max(axis=1)
    margin = error + 4 * eps * (1 + abs(expected.log_prob_norm.astype(float)))
    assert (abs(log_prob_norm - expected.log_prob_norm) <= margin).all()
    difference = abs(resp - expected.resp)
    assert (difference <= 2 * error[:, None] + np.minimum(errors, 1) * resp + 20 * eps).all()
    error_sum = (w * (margin + 20 * eps * abs(expected.log_prob_norm))).sum().astype(float)
    assert abs(totals[0] - log_likelihood) <= error_sum
    error_sum = (w * (k * error + 40 * eps * k)).sum()
    assert abs(totals[1] - negentropy) <= 20 * error_sum


@ORDINARY
@given(problems(dtype="f8", spread=10.0, kinds=("normal", "blobs")), levels)
def test_moments(problem, name):
    """Sums of the M-step, from log probabilities that leave no doubt of the responsibilities."""
    with level(name):
        e_step, _ = problem.run(moments=True)
    expected = twin_of(problem, points_of(problem))
    n = len(problem.X)
    found = e_step.moments()
    rtol = 1e-10
    t = abs(problem.X[:, None, :] - found.reference).max()
    assert np.abs(found.weight - expected.weight).max() <= rtol * n
    assert np.abs(found.first - expected.first).max() <= rtol * n * t
    if found.second is not None:
        second = expected.second
        if found.second.ndim == 2:
            second = np.diagonal(second, axis1=1, axis2=2)
        assert np.abs(found.second - second).max() <= rtol * n * t**2


@ORDINARY
@given(problems(dtype="f4"), levels)
def test_widened_rows(problem, name):
    """float32 rows that are computed with in float64 give the bits of float64 rows."""
    n, k = len(problem.X), len(problem.means)
    found = []
    with level(name):
        for _ in range(2):
            log_prob_norm, resp, labels = np.zeros(n), np.zeros((n, k)), np.zeros(n, np.int64)
            e_step, totals = problem.run(moments=True, dtype=np.float64)
            problem.run(dtype=np.float64, log_prob_norm=log_prob_norm, resp=resp)
            problem.run(dtype=np.float64, labels=labels)
            found.append((*e_step.moments(), np.array(totals), log_prob_norm, resp, labels))
            problem.X = problem.X.astype(np.float64)
            for attribute in ("weights", "origin"):
                values = getattr(problem, attribute)
                setattr(problem, attribute, None if values is None else values.astype(np.float64))
    for narrow, wide in zip(*found, strict=True):
        assert (narrow is None and wide is None) or np.array_equal(narrow, wide)


@ORDINARY
@given(problems(), st.sampled_from(["given_labels", "given_resp"]), levels)
def test_given_responsibilities(problem, how, name):
    n, k = len(problem.X), len(problem.means)
    if how == "given_labels":
        labels = problem.rng.integers(k, size=n).astype(np.int32)
        resp = np.eye(k)[labels]
        wanted = {how: labels}
    else:
        resp = problem.rng.dirichlet(np.full(k, 0.3), n).astype(problem.X.dtype)
        wanted = {how: resp}
    with level(name):
        e_step, _ = problem.run(moments=True, **wanted)
    assert_moments(problem, e_step.moments(), twin_of(problem, points_of(problem), resp))


@ORDINARY
@given(problems(kinds=("normal", "blobs", "lattice", "duplicates", "offset_between")))
def test_labels(problem):
    """The same component under every instruction set, and the twin's where that is clear."""
    found = {}
    for name in cpu.levels():
        labels = np.full(len(problem.X), -1, np.int64)
        with level(name):
            problem.run(labels=labels)
        found[name] = labels
    first = found.popitem()[1]
    for other in found.values():
        np.testing.assert_array_equal(first, other)
    log_prob = twin_of(problem, points_of(problem)).log_prob
    chosen = log_prob[np.arange(len(log_prob)), first]
    scale = 1e-12 * (1 + abs(log_prob).max(axis=1))
    assert (chosen >= log_prob.max(axis=1) - scale * problem.X.shape[1]).all()


@pytest.mark.parametrize("d", [2, 7])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_first_of_equal_components(covariance_type, d, dtype):
    problem = make_problem("normal", covariance_type, 100, d, 5, dtype)
    problem.means[:] = problem.means[0]
    problem.constants[:] = [-2, -1, -1, -2, -1]
    if covariance_type != "tied":
        problem.precisions_cholesky[:] = problem.precisions_cholesky[0]
    labels = np.full(100, -1, np.int64)
    problem.run(labels=labels)
    assert (labels == 1).all()


@pytest.mark.parametrize("name", cpu.levels())
@pytest.mark.parametrize("n", [1, 31, 33, 70])
@pytest.mark.parametrize("d", [1, 2, 3, 5, 6, 13])
def test_rows_at_the_end_of_memory(name, n, d, dtype):
    """Memory after the last row is not read: NaN there would make every sum NaN."""
    for covariance_type in TYPES:
        problem = make_problem("blobs", covariance_type, n, d, 3, dtype, spread=3.0)
        padded = np.full(n * d + 64, np.nan, dtype)
        padded[: n * d] = problem.X.ravel()
        problem.X = padded[: n * d].reshape(n, d)
        with level(name):
            e_step, totals = problem.run(moments=True)
        assert np.isfinite(totals).all()
        assert np.isfinite(e_step._sums).all()


@pytest.mark.parametrize("d", [2, 7])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_extremes(covariance_type, d, dtype):
    """Log probabilities at ±1e308, and -infinity: one component wins, none makes a NaN."""
    problem = make_problem("normal", covariance_type, 40, d, 4, dtype)
    top = float(np.finfo(dtype).max) / 4
    for constants in ([top, 0, -top, -np.inf], [-np.inf, -top, -top, -np.inf]):
        problem.constants[:] = constants
        resp = np.empty((40, 4), dtype)
        log_prob_norm = np.empty(40, dtype)
        problem.run(resp=resp, log_prob_norm=log_prob_norm)
        np.testing.assert_allclose(resp.sum(axis=1), 1, rtol=1e-6)
        assert np.isfinite(log_prob_norm).all()
        assert (resp[:, 3] == 0).all()
    problem.constants[:] = -np.inf
    problem.run(log_prob_norm=log_prob_norm)
    assert (log_prob_norm == -np.inf).all()


@pytest.mark.parametrize("d", [2, 7])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_threads(covariance_type, d, dtype, limit_threads, monkeypatch):
    """Bit for bit the same on one, two and three threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(parallel, "MIN_WORK", 1)
    problem = make_problem("blobs", covariance_type, 20000, d, 7, dtype, weights="random")
    results = []
    for count in (1, 2, 3):
        with limit_threads(count), parallel.trace_runs() as runs:
            e_step, totals = problem.run(moments=True)
            results.append((e_step.moments(), totals))
        assert {r[2] for r in runs} == {count}
    for sums, totals in results[1:]:
        for a, b in zip(sums, results[0][0], strict=True):
            np.testing.assert_array_equal(a, b)
        assert totals == results[0][1]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_blocks_a_few_at_a_time(covariance_type, dtype, monkeypatch):
    """Where partial sums may take little memory, the rows are processed part by part."""
    problem = make_problem("blobs", covariance_type, 12000, 9, 5, dtype, spread=3.0)
    whole, totals = problem.run(moments=True)
    monkeypatch.setattr(parallel, "MAX_WORK", 1e4)
    monkeypatch.setattr("shoal.mixture.e_step.MIN_BLOCKS", 2)
    parts, others = problem.run(moments=True)
    assert len(parts._runs) > 1
    rtol = 1e-11 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(others, totals, rtol=rtol)
    for a, b in zip(parts.moments(), whole.moments(), strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * abs(b).max())


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**16), levels)
def test_precisions_cholesky(d, k, seed, name):
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((k, d, d)) + 3 * np.eye(d)
    covariances = roots @ roots.transpose(0, 2, 1)
    found, is_definite = np.full((k, d, d), np.nan), np.zeros(k, np.uint8)
    if k > 1:
        covariances[1, d - 1, d - 1] = -1
    with level(name):
        args = CholeskyArgs(k, d, covariances, found, is_definite)
        parallel.run_kernel("precisions_cholesky", "f8", args, k, 1, 8 * d * d)
    for j, expected in enumerate(reference.precisions_cholesky(covariances)):
        assert is_definite[j] == (expected is not None)
        if expected is not None:
            condition = np.linalg.cond(covariances[j])
            assert np.abs(found[j] - expected).max() <= 1e-14 * d * condition * abs(expected).max()
            assert (np.tril(found[j], -1) == 0).all()


@settings(max_examples=60)
@given(st.integers(1, 20), st.integers(1, 9), st.booleans(), st.booleans(), levels)
def test_m_step(d, k, diagonal, divides_by_nk, name):
    """To the bit, steps from references of all sizes and features without variance included."""
    rng = np.random.default_rng(100 * d + k)
    reference_points = rng.standard_normal((k, d)) * 10.0 ** rng.integers(-3, 6, (k, 1))
    n = rng.integers(1, 30)
    t = rng.standard_normal((k, n, d)) + 10.0 ** rng.uniform(-18, 4, (k, 1, d))
    t[:, :, rng.random(d) < 0.2] = 0
    r = rng.random((k, n)) * (rng.random((k, 1)) < 0.9)
    weight, first = r.sum(axis=1), np.einsum("jn,jnl->jl", r, t)
    second = np.einsum("jn,jnl,jnm->jlm", r, t, t)
    if diagonal:
        second = np.ascontiguousarray(np.einsum("jll->jl", second))
    settings = {"eps": 2e-15, "mean_rounding": 1e-15, "max_cancellation": 1e6}
    with np.errstate(all="ignore"):
        *expected, lost_digits = reference.m_step(
            weight, first, second, reference_points, *settings.values()
        )
    if divides_by_nk and not diagonal:
        expected[3] = expected[3] / expected[0][:, None, None] + 0.5 * np.eye(d)
    found = {"nk": np.full(k, np.nan), "delta": np.full((k, d), np.nan)}
    found |= {"means": np.full((k, d), np.nan), "second": second.copy()}
    flags = np.full(k, 7, np.uint8)
    with level(name):
        args = MStepArgs(
            k,
            d,
            weight=weight,
            first=first,
            reference=reference_points,
            lost_digits=flags,
            divides_by_nk=divides_by_nk,
            reg_covar=0.5,
            **found,
            **settings,
        )
        parallel.run_kernel("m_step", "f8", args, k, 2)
    for a, b in zip(found.values(), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(flags, lost_digits)


def elementwise(kernel, x):
    out = np.empty_like(x)
    kind = x.dtype.str[1:]
    parallel.run_kernel(kernel, kind, ElementwiseArgs(kind, x, out), len(x), 1 + len(x) // 3)
    return out


def ulps(found, expected, dtype):
    """Distance in units of the last place of what is expected."""
    rounded = expected.astype(dtype)
    return np.abs((found - expected) / np.spacing(np.abs(rounded))).astype(float)


@pytest.mark.parametrize("name", cpu.levels())
def test_exp(name, dtype):
    """Within 1.5 ulp wherever the result is a normal number."""
    low, high = (-86.5, 88.72) if dtype == "float32" else (-708, 709.78)
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.uniform(low, high, 50_000),
            rng.uniform(-2, 2, 50_000),
            10.0 ** rng.uniform(-30, 0, 1000),
            [0.0, low, high],
        ]
    ).astype(dtype)
    with level(name):
        found = elementwise("exponentials", x)
        beyond = elementwise(
            "exponentials",
            np.array([-np.inf, 10 * low, 1.01 * low, 1.001 * high, 1e30, np.inf, np.nan], dtype),
        )
    assert ulps(found, reference.exponentials(x), dtype).max() <= 1.5
    np.testing.assert_array_equal(beyond, [0, 0, 0, np.inf, np.inf, np.inf, np.nan])


@pytest.mark.parametrize("name", cpu.levels())
def test_log(name, dtype):
    """Within 1 ulp for every positive number, subnormal ones too."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    top = np.log10(float(info.max))
    x = np.concatenate(
        [
            10.0 ** rng.uniform(-top, top, 50_000),
            rng.uniform(0.4, 2.5, 50_000),
            [info.max, info.tiny, info.smallest_subnormal, 1.0],
        ]
    ).astype(dtype)
    with level(name):
        found = elementwise("logarithms", x)
        beyond = elementwise(
            "logarithms", np.array([0.0, -0.0, -1.0, -np.inf, np.inf, np.nan], dtype)
        )
    assert ulps(found, reference.logarithms(x), dtype)[x != 1].max() <= 1
    assert (found[x == 1] == 0).all()
    np.testing.assert_array_equal(beyond, [-np.inf, -np.inf, np.nan, np.nan, np.inf, np.nan])


def test_arguments_are_checked():
    rows = Rows(np.zeros((10, 2)))
    arguments = {
        "origin": np.zeros(10),
        "reference": np.zeros((3, 10)),
        "factors": np.zeros((3, 4)),
        "shifts": np.zeros((4, 2)),
        "constants": np.zeros(4),
        "totals": np.zeros((1, 4)),
        "factor_size": 4,
        "n_moments": 8,
    }
    EStepArgs("f8", rows.args, 3, 32, 1, **arguments)
    for name, wrong in [
        ("origin", np.zeros(9)),
        ("reference", np.zeros((3, 9))),
        ("shifts", np.zeros((3, 2))),
        ("totals", np.zeros(3)),
        ("constants", np.zeros(3)),
        ("given_labels", np.zeros(9, np.int32)),
        ("given_resp", np.zeros((10, 2))),
        ("moments", np.zeros((3, 7))),
        ("log_prob_norm", np.zeros(9)),
        ("resp", np.zeros((9, 3))),
    ]:
        with pytest.raises(ValueError, match="expected"):
            EStepArgs("f8", rows.args, 3, 32, 1, **arguments | {name: wrong})
    with pytest.raises(ValueError, match="float64"):
        EStepArgs("f8", rows.args, 3, 32, 1, **arguments, labels=np.zeros(10, np.int64))
    with pytest.raises(ValueError, match="not narrowed"):
        EStepArgs("f4", rows.args, 3, 32, 1, **arguments)
