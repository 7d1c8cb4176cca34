"""The kernels of mixtures against their twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.mixture.args import ElementwiseArgs, EstimationArgs, FactorArgs, MixtureArgs

import reference
from helpers.kernel_cases import level, levels
from helpers.mixture_cases import TYPES, make_problem, problems
from shoal.core import cpu, parallel
from shoal.core.rows import Rows
from shoal.mixture import expectation

ORDINARY = settings(max_examples=120)
ULP = {"f4": np.finfo(np.float32), "f8": np.finfo(np.float64)}


def twin_of(problem, points, given=None):
    twin = getattr(reference, f"expect_{problem.kernel}")
    return twin(*problem.for_twin(), points, given)


def log_errors(problem):
    """How far each log density may be off: see `doubt` in kernels/responsible.pxd."""
    x, _, means, factors, constants = problem.for_twin()
    d = x.shape[1]
    eps = np.finfo(problem.X.dtype).eps
    axes = (1, 2) if factors.ndim == 3 else 1
    whole = problem.covariance_type == "tied" and factors.ndim == 2 and problem.kernel == "tied"
    size = np.sqrt((factors**2).sum()) if whole else np.sqrt((factors**2).sum(axis=axes))
    center = means.mean(axis=0) if problem.origin is None else problem.origin
    reach = np.sqrt(((x - center) ** 2).sum(axis=1))[:, None]
    reach = reach + np.sqrt(((means - center) ** 2).sum(axis=1)).max()
    unit = eps * (d + 10)
    return lambda logs: (
        4
        * unit
        * (
            np.sqrt(abs(constants - logs)) * reach * size
            + abs(constants - logs)
            + abs(constants).max()
            + unit * (reach * size) ** 2
        )
    )


def points_of(problem):
    """What moments are taken about."""
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
def test_expect(problem, name):
    """Densities, posteriors and totals, within the bound that near-ties are decided by."""
    n, k, dtype = len(problem.X), len(problem.means), problem.X.dtype
    log_norm, posterior = np.full(n, np.nan, dtype), np.full((n, k), np.nan, dtype)
    with level(name):
        _, totals = problem.run(log_norm=log_norm)
        problem.weights, w = None, problem.w
        problem.run(posterior=posterior)
    expected = twin_of(problem, points_of(problem))
    norm = expected.log_norm
    logs_of_r = np.log(np.maximum(expected.posterior, 1e-300))
    expected_totals = (w * norm).sum(), (w[:, None] * expected.posterior * logs_of_r).sum()
    errors = log_errors(problem)(expected.logs).astype(float)
    eps = np.finfo(dtype).eps
    near = expected.posterior > 0.01 / k  # only these have a say
    error = np.where(near, errors, 0).max(axis=1)
    room = error + 4 * eps * (1 + abs(expected.log_norm.astype(float)))
    assert (abs(log_norm - expected.log_norm) <= room).all()
    away = abs(posterior - expected.posterior)
    assert (away <= 2 * error[:, None] + np.minimum(errors, 1) * posterior + 20 * eps).all()
    total = (w * (room + 20 * eps * abs(expected.log_norm))).sum().astype(float)
    assert abs(totals[0] - expected_totals[0]) <= total
    entropy = (w * (k * error + 40 * eps * k)).sum()
    assert abs(totals[1] - expected_totals[1]) <= 20 * entropy


@ORDINARY
@given(problems(dtype="f8", spread=10.0, kinds=("normal", "blobs")), levels)
def test_moments(problem, name):
    """Sums of the M-step, from densities that leave no doubt of the responsibilities."""
    with level(name):
        one, _ = problem.run(moments=True)
    expected = twin_of(problem, points_of(problem))
    n = len(problem.X)
    found = one.moments()
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
            log_norm, posterior, assigned = np.zeros(n), np.zeros((n, k)), np.zeros(n, np.int64)
            one, totals = problem.run(moments=True, dtype=np.float64)
            problem.run(dtype=np.float64, log_norm=log_norm, posterior=posterior)
            problem.run(dtype=np.float64, assigned=assigned)
            found.append((*one.moments(), np.array(totals), log_norm, posterior, assigned))
            problem.X = problem.X.astype(np.float64)
            for words in ("weights", "origin"):
                values = getattr(problem, words)
                setattr(problem, words, None if values is None else values.astype(np.float64))
    for narrow, wide in zip(*found, strict=True):
        assert (narrow is None and wide is None) or np.array_equal(narrow, wide)


@ORDINARY
@given(problems(), st.sampled_from(["labels", "given"]), levels)
def test_given_responsibilities(problem, how, name):
    n, k = len(problem.X), len(problem.means)
    if how == "labels":
        labels = problem.rng.integers(k, size=n).astype(np.int32)
        resp = np.eye(k)[labels]
        wanted = {"labels": labels}
    else:
        resp = problem.rng.dirichlet(np.full(k, 0.3), n).astype(problem.X.dtype)
        wanted = {"given": resp}
    with level(name):
        one, _ = problem.run(moments=True, **wanted)
    assert_moments(problem, one.moments(), twin_of(problem, points_of(problem), resp))


@ORDINARY
@given(problems(kinds=("normal", "blobs", "lattice", "duplicates", "offset_between")))
def test_assigned(problem):
    """The same component under every instruction set, and the twin's where that is clear."""
    found = {}
    for name in cpu.levels():
        labels = np.full(len(problem.X), -1, np.int64)
        with level(name):
            problem.run(assigned=labels)
        found[name] = labels
    first = found.popitem()[1]
    for other in found.values():
        np.testing.assert_array_equal(first, other)
    logs = twin_of(problem, points_of(problem)).logs
    chosen = logs[np.arange(len(logs)), first]
    scale = 1e-12 * (1 + abs(logs).max(axis=1))
    assert (chosen >= logs.max(axis=1) - scale * problem.X.shape[1]).all()


@pytest.mark.parametrize("d", [2, 7])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_first_of_equal_components(covariance_type, d, dtype):
    problem = make_problem("normal", covariance_type, 100, d, 5, dtype)
    problem.means[:] = problem.means[0]
    problem.constants[:] = [-2, -1, -1, -2, -1]
    if covariance_type != "tied":
        problem.factors[:] = problem.factors[0]
    labels = np.full(100, -1, np.int64)
    problem.run(assigned=labels)
    assert (labels == 1).all()


@pytest.mark.parametrize("name", cpu.levels())
@pytest.mark.parametrize("n", [1, 31, 33, 70])
@pytest.mark.parametrize("d", [1, 2, 3, 5, 6, 13])
def test_rows_at_the_end_of_memory(name, n, d, dtype):
    """What follows the last row is not read: values there would make every sum NaN."""
    for covariance_type in TYPES:
        problem = make_problem("blobs", covariance_type, n, d, 3, dtype, spread=3.0)
        room = np.full(n * d + 64, np.nan, dtype)
        room[: n * d] = problem.X.ravel()
        problem.X = room[: n * d].reshape(n, d)
        with level(name):
            one, totals = problem.run(moments=True)
        assert np.isfinite(totals).all()
        assert np.isfinite(one._sums).all()


@pytest.mark.parametrize("d", [2, 7])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_extremes(covariance_type, d, dtype):
    """Log densities at ±1e308, and -infinity: one component wins, none makes a NaN."""
    problem = make_problem("normal", covariance_type, 40, d, 4, dtype)
    top = float(np.finfo(dtype).max) / 4
    for constants in ([top, 0, -top, -np.inf], [-np.inf, -top, -top, -np.inf]):
        problem.constants[:] = constants
        posterior = np.empty((40, 4), dtype)
        log_norm = np.empty(40, dtype)
        problem.run(posterior=posterior, log_norm=log_norm)
        np.testing.assert_allclose(posterior.sum(axis=1), 1, rtol=1e-6)
        assert np.isfinite(log_norm).all()
        assert (posterior[:, 3] == 0).all()
    problem.constants[:] = -np.inf
    problem.run(log_norm=log_norm)
    assert (log_norm == -np.inf).all()


@pytest.mark.parametrize("d", [2, 7])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_threads(covariance_type, d, dtype, limit_threads, monkeypatch):
    """Bit for bit the same on one, two and three threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(parallel, "MIN_WORK", 1)
    problem = make_problem("blobs", covariance_type, 5000, d, 7, dtype, weights="random")
    results = []
    for count in (1, 2, 3):
        with limit_threads(count), parallel.trace_runs() as runs:
            one, totals = problem.run(moments=True)
            results.append((one.moments(), totals))
        assert {r[2] for r in runs} == {count}
    for sums, totals in results[1:]:
        for a, b in zip(sums, results[0][0], strict=True):
            np.testing.assert_array_equal(a, b)
        assert totals == results[0][1]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_blocks_a_few_at_a_time(covariance_type, dtype, monkeypatch):
    """Where partial sums may take little memory, the rows are taken part by part."""
    problem = make_problem("blobs", covariance_type, 3000, 9, 5, dtype, spread=3.0)
    whole, totals = problem.run(moments=True)
    monkeypatch.setattr(parallel, "MAX_WORK", 1e5)
    monkeypatch.setattr(expectation, "FEWEST", 2)
    parts, others = problem.run(moments=True)
    assert len(parts._runs) > 1
    rtol = 1e-11 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(others, totals, rtol=rtol)
    for a, b in zip(parts.moments(), whole.moments(), strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * abs(b).max())


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**16), levels)
def test_factorise(d, k, seed, name):
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((k, d, d)) + 3 * np.eye(d)
    covariances = roots @ roots.transpose(0, 2, 1)
    found, definite = np.full((k, d, d), np.nan), np.zeros(k, np.uint8)
    if k > 1:
        covariances[1, d - 1, d - 1] = -1
    with level(name):
        args = FactorArgs(k, d, covariances, found, definite)
        parallel.run_kernel("factorise", "f8", args, k, 1, 8 * d * d)
    for j, expected in enumerate(reference.factorise(covariances)):
        assert definite[j] == (expected is not None)
        if expected is not None:
            condition = np.linalg.cond(covariances[j])
            assert np.abs(found[j] - expected).max() <= 1e-14 * d * condition * abs(expected).max()
            assert (np.tril(found[j], -1) == 0).all()


@settings(max_examples=60)
@given(st.integers(1, 20), st.integers(1, 9), st.booleans(), st.booleans(), levels)
def test_estimate(d, k, diagonal, divide, name):
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
    settings = {"eps": 2e-15, "rounding": 1e-15, "digits": 1e6}
    with np.errstate(all="ignore"):
        *expected, lost = reference.estimate(
            weight, first, second, reference_points, *settings.values()
        )
    if divide and not diagonal:
        expected[3] = expected[3] / expected[0][:, None, None] + 0.5 * np.eye(d)
    found = {"nk": np.full(k, np.nan), "delta": np.full((k, d), np.nan)}
    found |= {"means": np.full((k, d), np.nan), "second": second.copy()}
    flags = np.full(k, 7, np.uint8)
    with level(name):
        args = EstimationArgs(
            k,
            d,
            weight=weight,
            first=first,
            reference=reference_points,
            lost=flags,
            divide=divide,
            added=0.5,
            **found,
            **settings,
        )
        parallel.run_kernel("estimate", "f8", args, k, 2)
    for a, b in zip(found.values(), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(flags, lost)


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
    forms = {
        "origin": np.zeros(10),
        "reference": np.zeros((3, 10)),
        "factors": np.zeros((3, 4)),
        "shifts": np.zeros((4, 2)),
        "constants": np.zeros(4),
        "totals": np.zeros((1, 4)),
        "n_factors": 4,
        "n_moments": 8,
    }
    MixtureArgs("f8", rows.args, 3, 32, 1, **forms)
    for name, wrong in [
        ("origin", np.zeros(9)),
        ("reference", np.zeros((3, 9))),
        ("shifts", np.zeros((3, 2))),
        ("totals", np.zeros(3)),
        ("constants", np.zeros(3)),
        ("labels", np.zeros(9, np.int32)),
        ("given", np.zeros((10, 2))),
        ("moments", np.zeros((3, 7))),
        ("log_norm", np.zeros(9)),
        ("posterior", np.zeros((9, 3))),
    ]:
        with pytest.raises(ValueError, match="expected"):
            MixtureArgs("f8", rows.args, 3, 32, 1, **forms | {name: wrong})
    with pytest.raises(ValueError, match="float64"):
        MixtureArgs("f8", rows.args, 3, 32, 1, **forms, assigned=np.zeros(10, np.int64))
    with pytest.raises(ValueError, match="not narrowed"):
        MixtureArgs("f4", rows.args, 3, 32, 1, **forms)
