"""The filter by 8-bit products gives what the tile's twin gives, bit for bit."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from helpers.kernel_cases import KINDS, level, make_problem, problems, run_assign
from shoal import KMeans
from shoal.core import cpu, parallel
from shoal.core.rows import Rows
from shoal.kmeans import centers as centers_module
from shoal.kmeans.centers import Centers, assign_labels

LEVELS = [name for name in cpu.levels() if name != "baseline"]  # which has no such products
pytestmark = pytest.mark.skipif(not LEVELS, reason="this processor has no 8-bit products")
levels = st.sampled_from(LEVELS)


VNNI = [True, False]  # 8-bit rows where the processor multiplies fours; else 7-bit ones
LIMITS = [2, 300]  # of candidates: most rows are left to the tile, or none


@contextmanager
def settings_of(name, vnni=True, limit=300):
    """An instruction set, its products, and how many candidates a row may have."""
    constant = parallel.constant

    def forced(key, type):
        return constant(key, type) if vnni or key != "filter_has_vnni" else 0

    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "constant", forced)
        patch.setattr(centers_module, "max_candidates", lambda k, d: limit)
        yield


every_way = pytest.mark.parametrize(
    "way", [(name, vnni, limit) for name in LEVELS for vnni in VNNI for limit in LIMITS]
)
ways = st.tuples(levels, st.sampled_from(VNNI), st.sampled_from(LIMITS))


def check(problem, elkan, again):
    k = len(problem.centers)
    current = problem.rng.integers(k, size=len(problem.X)) if again else None
    labels, counts, partial = run_assign("assign_filtered", problem, elkan=elkan, current=current)
    expected, changed, _ = reference.assign_filtered(
        problem.x, problem.w, problem.centers, elkan, current
    )
    np.testing.assert_array_equal(labels, expected)
    assert counts[:, 0].sum() == changed
    assert (counts[:, 1] == [b.stop - b.start for b in problem.blocks]).all()
    by_tile = run_assign("assign", problem, elkan=elkan, current=current)[1]
    np.testing.assert_array_equal(counts[:, 3], by_tile[:, 3])
    for b, block in enumerate(problem.blocks):
        sums = reference.sum_clusters(problem.x[block], problem.w[block], expected[block], k)
        np.testing.assert_array_equal(partial[b], sums)


@settings(max_examples=300)
@given(problems(), st.booleans(), st.booleans(), ways)
def test_assign_filtered(problem, elkan, again, way):
    with settings_of(*way):
        check(problem, elkan, again)


@every_way
@pytest.mark.parametrize("elkan", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_extreme_scales(kind, elkan, way, dtype):
    """Squares that overflow or underflow in float32."""
    wrong = {}
    for scale in (1e-38, 1e-20, 1e18, 1e30, 1e100):
        for d, k in [(3, 9), (40, 20)]:
            with np.errstate(over="ignore"):
                problem = make_problem(kind, 100, d, k, dtype, scale=scale, seed=d)
            if not max(abs(problem.x).max(), abs(problem.centers).max()) < 1e140:
                continue
            with settings_of(*way):
                labels = run_assign("assign_filtered", problem, elkan=elkan)[0]
            expected, _, _ = reference.assign(problem.x, problem.w, problem.centers, elkan)
            if (labels != expected).any():
                wrong[scale, d, k] = int((labels != expected).sum())
    assert wrong == {}


@every_way
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted(value, way, dtype):
    problem = make_problem("blobs", 150, 9, 40, dtype, size=64)
    for row, column in [(0, 0), (70, 8), (149, 4)]:
        problem.X[row, column] = value
    with settings_of(*way):
        labels, counts, _ = run_assign("assign_filtered", problem, sums=False)
    assert counts[:, 3].tolist() == [1, 1, 1]
    assert ((labels >= 0) & (labels < 40)).all()


@every_way
@pytest.mark.parametrize("outlier", [1e5, 1e30])
def test_outliers(outlier, way, dtype):
    """One value of a row or a center takes all the codes; the rest is residual."""
    problem = make_problem("blobs", 200, 40, 30, dtype)
    problem.X[::7, 3] = outlier
    problem.centers[::5, 20] = -outlier
    if dtype == "float32" and outlier > 1e18:
        problem.centers[::5, 20] = -1e17
    with settings_of(*way):
        check(problem, False, False)


@every_way
@pytest.mark.parametrize("k", [1009, 2100])
def test_many_centers(k, way, dtype):
    """More centers than bounds are kept of at once."""
    problem = make_problem("blobs", 130, 20, k, dtype, size=64)
    with settings_of(*way):
        check(problem, False, True)


@settings(max_examples=60)
@given(problems(), levels, st.booleans())
def test_quantize_centers(problem, name, vnni):
    """Codes and bounds hold what is promised of them, to the last digit."""
    with settings_of(name, vnni):
        rows = problem.rows
        centers = Centers(problem.centers, rows, filtered=True)
        kept = centers.filter_arrays
        width = parallel.tile_size(rows.type)[1]
        offset = 128 if kept["has_vnni"] else 64
    k, d = problem.centers.shape
    groups = -(-d // 4)
    panels = kept["codes"].view(np.int8).reshape(-1, groups, width, 4)
    codes = panels.transpose(0, 2, 1, 3).reshape(-1, 4 * groups)
    assert not codes[:, d:].any() and not codes[k:].any()
    codes = codes[:k, :d]
    np.testing.assert_array_equal(kept["code_bias"][:k], offset * codes.sum(axis=1, dtype=int))
    low, high, scale, residual, size = kept["code_bounds"][:, :k].astype(np.longdouble)
    values = problem.centers.astype(np.longdouble) - kept["filter_shift"][:-1]
    expected = reference.quantize_centers(values, scale / 2, codes)
    norms, rests, sizes = expected
    is_kept = low > -np.inf
    assert (norms[~is_kept] >= 9e35).all()
    assert (low <= norms * (1 - 2.0**-21))[is_kept].all()
    assert (high >= norms * (1 + 2.0**-21))[is_kept].all()
    assert (residual >= 2 * (rests + 2.0**-21 * np.sqrt(norms)))[is_kept].all()
    assert (size >= 2 * sizes)[is_kept].all()


@pytest.mark.parametrize("offset", [0, 1e4])
def test_predict_is_centered(offset, dtype):
    """Rows without an origin are compared about the mean of the centers."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((3000, 70)) + offset).astype(dtype)
    values = X[:300].astype(float)
    rows = Rows(X)
    for name in LEVELS:
        with level(name):
            found = [
                assign_labels(rows, Centers(values, rows, filtered=filtered))[0]
                for filtered in (False, True)
            ]
        np.testing.assert_array_equal(*found)
        np.testing.assert_array_equal(found[1][:300], np.arange(300))


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
def test_fits_are_the_same(algorithm, dtype, monkeypatch):
    """Whether the filter is used changes nothing."""
    monkeypatch.setattr(centers_module, "MIN_FILTER_PRODUCTS", {"f4": 0, "f8": 0})
    rng = np.random.default_rng(1)
    X = (rng.standard_normal((4000, 8)) @ rng.standard_normal((8, 64))).astype(dtype)
    X += 0.1 * rng.standard_normal(X.shape).astype(dtype)
    found = []
    for used in (True, False):
        monkeypatch.setattr(centers_module, "FILTER_FEATURES", range(1, 1000) if used else [])
        with level(LEVELS[-1]), parallel.trace_runs() as runs:
            model = KMeans(100, n_init=1, random_state=0, algorithm=algorithm, max_iter=30).fit(X)
            labels = model.predict(X + X.dtype.type(0.01))
        assert any(run[0] == "assign_filtered" for run in runs) == used
        found.append([model.labels_, model.cluster_centers_, model.inertia_, labels])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_no_products():
    """Without them there is no filter."""
    rows = Rows(np.ones((2000, 100)))
    with level("baseline"):
        assert not centers_module.filter_pays(rows, 500)
        with pytest.raises(ValueError, match="no 8-bit products"):
            Centers(np.ones((3, 100)), rows, filtered=True)
