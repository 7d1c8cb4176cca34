"""The filters give what the tile's twin gives, bit for bit, and keep what they promise."""

import platform
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from helpers.kernel_cases import KINDS, level, levels, make_problem, problems, run_assign
from shoal import KMeans, MiniBatchKMeans
from shoal.core import cpu, parallel
from shoal.core.rows import Rows
from shoal.kmeans import filters
from shoal.kmeans.batches import MiniBatchUpdater, assign_rows
from shoal.kmeans.centers import Centers, assign_labels
from shoal.kmeans.filters import CODES, Filter


def has_codes(name):
    with level(name):
        return filters.has_codes("f4")


LEVELS = cpu.levels()
CODE_LEVELS = [name for name in LEVELS if has_codes(name)]
# Codes by each kind of products, where the processor has it, else by the next best; or some axes
PRODUCTS = {"amx": filters.AMX, "vnni": filters.VNNI, "maddubs": filters.MADDUBS}
if platform.machine() in ("aarch64", "arm64"):
    PRODUCTS = {"dot": filters.DOT}
KINDS_OF_FILTER = [*PRODUCTS, "principal axes", "one axis", "any axes"]
LIMITS = [2, 300]  # of candidates: most rows are left to the tile, or none


def axes_of(kind, problem):
    """Axes for a problem: those of its centers, or others, which are as right but leave more."""
    d = problem.X.shape[1]
    n_axes = 1 if kind == "one axis" else min(12, d)
    if kind == "any axes":
        return np.linalg.qr(np.random.default_rng(d).standard_normal((d, n_axes)))[0]
    with np.errstate(all="ignore"):
        axes = filters.principal_axes(problem.centers.astype(np.float32), n_axes)
    return np.eye(d)[:, :n_axes] if axes is None else axes


@contextmanager
def settings_of(name, kind=None, limit=300):
    """An instruction set, its products, and how many candidates a row may have."""
    best = filters.code_products

    def forced(type):
        return min(best(type), PRODUCTS.get(kind, filters.DOT))

    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(filters, "code_products", forced)
        patch.setattr(filters, "max_candidates", lambda k, d: limit)
        yield


def run(problem, kind, **arguments):
    filter = CODES if kind in PRODUCTS else Filter(axes_of(kind, problem))
    return run_assign("assign_filtered", problem, filter=filter, **arguments)


WAYS = [
    (name, kind, limit)
    for kind in KINDS_OF_FILTER
    for name in (CODE_LEVELS if kind in PRODUCTS else LEVELS)
    for limit in LIMITS
]
# of the level in use: the others have runs of these tests of their own
HERE = [way for way in WAYS if way[0] == parallel.LEVEL]
every_way = pytest.mark.parametrize("way", HERE)
ways = st.sampled_from(WAYS)


def check(problem, kind, elkan, again):
    k = len(problem.centers)
    current = problem.rng.integers(k, size=len(problem.X)) if again else None
    labels, counts, partial = run(problem, kind, elkan=elkan, current=current)
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


@settings(max_examples=150)
@given(problems(), st.booleans(), st.booleans(), ways)
def test_assign_filtered(problem, elkan, again, way):
    with settings_of(*way):
        check(problem, way[1], elkan, again)


@settings(max_examples=100)
@given(problems(origin=False), st.booleans(), ways)
def test_batches(problem, all_rows, way):
    """Steps of mini-batches, and the labels of all rows after them: those without a filter."""
    dtype, kind = problem.X.dtype, way[1]
    with np.errstate(over="ignore"):
        centers = problem.centers.astype(dtype)
    found = []
    for is_filtered in (True, False):
        rng = np.random.default_rng(len(centers))
        with settings_of(*way):
            filter = None
            if is_filtered:
                filter = CODES if kind in PRODUCTS else Filter(axes_of(kind, problem))
            updater = MiniBatchUpdater(
                centers.copy(), np.zeros(len(centers), dtype), problem.rows, filter
            )
            steps = []
            for _ in range(3):
                indices = rng.integers(problem.rows.n, size=rng.integers(1, 100))
                inertia = updater.step(problem.rows, None if all_rows else indices)
                steps.append((inertia, updater._labels.tobytes(), updater.centers.tobytes()))
            values = updater.centers.astype(np.float64)
            packed = Centers(values, problem.rows, filter=filter)
            labels, inertia = assign_rows(problem.rows, packed)
        expected, total = reference.assign_batch_filtered(problem.x, problem.w, values)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_allclose(inertia, total, rtol=1e-10)
        found.append([*steps, labels.tobytes(), inertia])
    np.testing.assert_equal(found[0], found[1])


@pytest.mark.parametrize("way", HERE[1::2])  # where the filter decides, not the tile
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
                labels = run(problem, way[1], elkan=elkan)[0]
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
        labels, counts, _ = run(problem, way[1], sums=False)
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
        check(problem, way[1], False, False)


@every_way
@pytest.mark.parametrize("k", [1009, 2100])
def test_many_centers(k, way, dtype):
    """More centers than bounds are kept of at once."""
    problem = make_problem("blobs", 130, 20, k, dtype, size=64)
    with settings_of(*way):
        check(problem, way[1], False, True)


needs_codes = pytest.mark.skipif(not CODE_LEVELS, reason="this processor has no 8-bit products")


@needs_codes
@settings(max_examples=60)
@given(problems(), st.sampled_from(CODE_LEVELS or LEVELS), st.sampled_from(list(PRODUCTS)))
def test_quantize_centers(problem, name, kind):
    """Codes and bounds hold what is promised of them, to the last digit."""
    with settings_of(name, kind):
        rows = problem.rows
        centers = Centers(problem.centers, rows, filter=CODES)
        kept = centers.filtered.arrays
        width = parallel.tile_size(rows.type)[1]
    k, d = problem.centers.shape
    offset = {filters.VNNI: 128, filters.MADDUBS: 64}.get(kept["products"], 0)
    codes = kept["codes"].view(np.int8)
    if kept["products"] == filters.AMX:
        codes = codes.reshape(-1, -(-d // 64) * 64)
    else:
        groups = -(-d // 4)
        panels = codes.reshape(-1, groups, width, 4)
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


@settings(max_examples=60)
@given(
    problems(scales=(1.0, 1e-6, 1e6, 1e-18, 1e-22)), levels, st.sampled_from(KINDS_OF_FILTER[3:])
)
def test_project_centers(problem, name, kind):
    """No bound is above v: for the centers against each other, in long double."""
    rows = problem.rows
    with level(name):
        centers = Centers(problem.centers, rows, filter=Filter(axes_of(kind, problem)))
        width = parallel.tile_size(rows.type)[1]
    kept = centers.filtered.arrays
    k, d = problem.centers.shape
    values = problem.centers.astype(np.longdouble) - kept["filter_shift"][:-1]
    axes = kept["axes"].transpose(1, 0, 2).reshape(d, -1)
    norms, projected, rests = reference.project_centers(values, axes)
    panels = kept["axis_panels"].reshape(-1, axes.shape[1] + 1, width)
    panels = panels.transpose(0, 2, 1).reshape(-1, axes.shape[1] + 1)
    assert not panels[k:].any() and (kept["axis_norms"][k:] == np.inf).all()
    found = panels[:k].astype(np.longdouble) / -2
    eps = np.finfo(rows.dtype).eps
    sizes = np.sqrt(norms)[:, None]
    assert (np.abs(found[:, :-1] - projected) <= (d + 8) * eps * sizes).all()
    assert (found[:, -1] ** 2 >= rests).all()
    bound = kept["axis_norms"][:k] - 2 * (found @ found.T)
    v = norms - 2 * (values @ values.T)
    assert (bound <= v).all()


@pytest.mark.parametrize("kind", KINDS_OF_FILTER)
def test_largest_norm_of_centers_that_are_compared(kind, dtype, monkeypatch):
    """Hidden centers have none, whatever their memory held before."""

    def filled(shape, dtype=float):
        return np.full(shape, np.nan, dtype) if np.dtype(dtype).kind == "f" else empty(shape, dtype)

    empty = np.empty
    monkeypatch.setattr(np, "empty", filled)
    problem = make_problem("blobs", 50, 40, 64, dtype)
    problem.centers[40:] = problem.centers[:24]
    filter = CODES if kind in PRODUCTS and CODE_LEVELS else Filter(axes_of("one axis", problem))
    with settings_of(LEVELS[-1], kind):
        centers = Centers(problem.centers, problem.rows, filter=filter, hides_equal=True)
    shift = centers.filtered.arrays["filter_shift"][:-1]
    expected = np.square(problem.centers - shift).sum(axis=1).max()
    np.testing.assert_allclose(centers.filtered.arrays["max_row_norm"], expected, rtol=1e-6)


def test_axes_must_be_orthonormal(dtype):
    """Bounds rest on that."""
    rows = Rows(np.ones((5, 64), dtype))
    for axes in (np.eye(64)[:, :3] * 1.001, np.ones((64, 2)), np.full((64, 3), np.nan)):
        with pytest.raises(ValueError, match="orthonormal"):
            Centers(np.ones((3, 64)), rows, filter=Filter(axes))
    with pytest.raises(ValueError, match="orthonormal"):  # more than there is room for
        Centers(np.ones((3, 64)), rows, filter=Filter(np.eye(64)[:, :24]))


@pytest.mark.parametrize("offset", [0, 1e4])
def test_predict_is_centered(offset, dtype):
    """Rows without an origin are compared about the mean of the centers."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((3000, 70)) + offset).astype(dtype)
    values = X[:300].astype(float)
    rows = Rows(X)
    for name in LEVELS:
        with level(name):
            forms = [None, Filter(np.eye(70)[:, :12])] + [CODES] * (name in CODE_LEVELS)
            found = [
                assign_labels(rows, Centers(values, rows, filter=filter))[0] for filter in forms
            ]
        for labels in found:
            np.testing.assert_array_equal(labels, found[0])
        np.testing.assert_array_equal(found[0][:300], np.arange(300))


def skewed_rows(rng, dtype, d=64):
    """Rows that lie near a plane of a few dimensions, as patches of photographs do."""
    X = rng.standard_normal((4000, 8)) @ rng.standard_normal((8, d))
    return (X + 0.1 * rng.standard_normal(X.shape)).astype(dtype)


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan", "mini-batches"])
@pytest.mark.parametrize("kind", ["codes", "axes", "probe"])
def test_fits_are_the_same(kind, algorithm, dtype, monkeypatch):
    """Whichever filter is used changes nothing."""
    monkeypatch.setattr(filters, "MIN_PRODUCTS", {"f4": 0, "f8": 0})
    X = skewed_rows(np.random.default_rng(1), dtype)
    kernels = {"assign_filtered"}
    if algorithm == "mini-batches":
        model = MiniBatchKMeans(100, random_state=0, max_iter=5, batch_size=1500)
        kernels.add("assign_batch_filtered")
    else:
        model = KMeans(100, n_init=1, random_state=0, algorithm=algorithm, max_iter=30)
    if kind == "probe":
        monkeypatch.setattr(filters, "MIN_PROBED_WORK", 0)
    elif kind == "axes":
        axes = filters.principal_axes(X, 7)
        monkeypatch.setattr(filters, "CODES", Filter(axes))
        monkeypatch.setattr(filters, "has_codes", lambda type: True)
        monkeypatch.setattr(filters, "code_products", lambda type: filters.VNNI)
    elif not CODE_LEVELS:
        pytest.skip("this processor has no 8-bit products")
    found = []
    for used in (True, False):
        features = range(1, 1000) if used else range(0)
        monkeypatch.setattr(filters, "FEATURES", {"f4": features, "f8": features})
        with level(LEVELS[-1]), parallel.trace_runs() as runs:
            model.fit(X)
            labels = model.predict(X + X.dtype.type(0.01))
        assert {run[0] for run in runs} & kernels == (kernels if used else set())
        found.append([model.labels_, model.cluster_centers_, model.inertia_, labels])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_batches_give_up_a_filter(dtype):
    """One that leaves most rows to the tile."""
    rows = Rows(np.random.default_rng(3).standard_normal((200, 40)).astype(dtype))
    centers, filter = rows.X[::2].copy(), Filter(np.eye(40)[:, :1])
    updater = MiniBatchUpdater(centers, np.zeros(100, dtype), rows, filter)
    assert updater.pack().is_filtered
    updater.step(rows)
    assert not updater.pack().is_filtered


def test_probe_chooses_by_the_spectrum(dtype, monkeypatch):
    """Axes for rows near a plane, codes for noise, neither where there are too few products."""
    monkeypatch.setattr(filters, "MIN_PROBED_WORK", 0)
    monkeypatch.setattr(filters, "CODE_COST", dict.fromkeys(range(-1, 4), 0.65))  # on any processor
    rng = np.random.default_rng(2)
    skewed = Rows(skewed_rows(rng, dtype, 256))
    noise = Rows(rng.standard_normal((4000, 256)).astype(dtype))
    with level(LEVELS[-1]):
        values = skewed.gather_centered(np.arange(0, 4000, 10))
        chosen = filters.choose_filter(skewed, values)
        assert chosen.axes is not None
        assert 0 < chosen.pass_cost < 1
        filter = filters.choose_filter(noise, noise.gather_centered(np.arange(0, 4000, 10)))
        assert filter is None if LEVELS[-1] not in CODE_LEVELS else filter.axes is None
        assert filters.choose_filter(skewed, values[:20]) is None
        values[3] = 1e38  # squares overflow in float32
        filter = filters.choose_filter(skewed, values)
        assert filter is None or filter.axes is None


def test_principal_axes():
    """Orthonormal for any rank; they hold the spread that the decomposition says."""
    rng = np.random.default_rng(3)
    c = (rng.standard_normal((200, 5)) @ rng.standard_normal((5, 80))).astype(np.float32)
    for rows in (c, c[:3], c * 0, c * np.float32(1e-15)):
        axes = filters.principal_axes(rows, 12)
        assert axes.shape == (80, 12)
        np.testing.assert_allclose(axes.T @ axes, np.eye(12), atol=1e-12)
    for n_varying in range(20, 250, 10):  # qr leaves an error of up to 5e-14
        rows = np.full((48, 255), 7.25, np.float32)
        rows[:, :n_varying] = rng.standard_normal((48, n_varying))
        axes = filters.principal_axes(rows, 48)
        assert np.linalg.norm(axes.T @ axes - np.eye(48)) < 2e-14
        Centers(rows, Rows(rows.astype(float)), filter=Filter(axes))
    spread = np.square(c @ filters.principal_axes(c, 5).astype(np.float32)).sum()
    assert spread >= 0.999 * np.square(c).sum()
    assert filters.principal_axes(c * np.float32(1e20), 12) is None


@pytest.mark.parametrize("name", [name for name in LEVELS if name not in CODE_LEVELS])
def test_no_products(name):
    """Without them there are no codes; axes need none."""
    rows = Rows(np.ones((2000, 100)))
    with level(name):
        assert filters.choose_filter(rows, np.ones((500, 100))) is None
        with pytest.raises(ValueError, match="no 8-bit products"):
            Centers(np.ones((3, 100)), rows, filter=CODES)
        Centers(np.ones((3, 100)), rows, filter=Filter(np.eye(100)[:, :6]))
