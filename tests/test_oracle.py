"""Decisions and sums beside exact rational numbers, on data that rounding is hard on.

A float is a rational number, so squared distances, means, variances and residuals of factors can be
computed without any rounding (`fractions`), and logarithms and exponentials to 60 digits
(`decimal`). Each test states how far a result may be from that, in units of the rounding u = 2⁻⁵³;
docs/promises.rst repeats these figures.
"""

import decimal
import math
from fractions import Fraction

import numpy as np
import pytest
from shoal.mixture.args import CholeskyArgs

import shoal
from helpers.kernel_cases import level
from shoal.core import cpu, parallel
from shoal.core.rows import Rows

U = 2.0**-53
PI = decimal.Decimal("3.14159265358979323846264338327950288419716939937510582097494")


@pytest.fixture(autouse=True)
def digits():
    """Decimals of 60 digits with any exponent."""
    with decimal.localcontext() as context:
        context.prec = 60
        context.Emax, context.Emin = decimal.MAX_EMAX, decimal.MIN_EMIN
        yield


def exact(values):
    """An array of floats as rational numbers."""
    return np.vectorize(Fraction, otypes=[object])(np.asarray(values, np.float64))


def to_decimal(value):
    return decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator)


def square_distance(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def under_each_level(function):
    """What a function of no arguments gives under each instruction set."""
    for name in cpu.levels():
        with level(name):
            yield function()


def error_of(found, expected, scale):
    """|found - expected| in units of u times `scale`."""
    return error_of_exact(Fraction(float(found)), expected, scale)


def error_of_exact(found, expected, scale):
    """The same of two rational numbers."""
    return float(abs(found - expected) / Fraction(float(scale) * U))


def far_out(rng, n, d, offset, spread=1.0):
    """Rows whose coordinates have few digits left after the mean is subtracted."""
    return offset + spread * rng.standard_normal((n, d))


# ---------------------------------------------------------------------------------- k-means


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6])
@pytest.mark.parametrize("d", [2, 7, 40])
def test_nearest_center(d, offset, dtype):
    """The label's center is nearest but for 2 (d + 5) roundings of |c|² + 2 |x| |c|.

    Rows lie halfway between two centers, or a few roundings from there.
    """
    rng = np.random.default_rng(d)
    centers = far_out(rng, 8, d, offset).astype(dtype)
    pairs = rng.integers(8, size=(40, 2))
    X = (centers[pairs[:, 0]] / 2 + centers[pairs[:, 1]] / 2).astype(dtype)
    X += (rng.integers(-2, 3, X.shape) * np.spacing(np.abs(X))).astype(dtype)
    model = shoal.KMeans(8, init=centers, n_init=1, max_iter=1).fit(centers)
    model.cluster_centers_ = centers
    x, c = exact(X), exact(centers)
    squares = [[square_distance(row, center) for center in c] for row in x]
    norms, largest = np.linalg.norm(X, axis=1), np.linalg.norm(centers, axis=1).max()
    for labels in under_each_level(lambda: model.predict(X)):
        for i, label in enumerate(labels):
            scale = float(largest) * (largest + 2 * float(norms[i]))
            assert error_of_exact(squares[i][label], min(squares[i]), scale) <= 2 * (d + 5)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_inertia_and_centers(offset, dtype):
    """Of a fit's own labels, but for the rounding of centers to the data's type.

    Centers to 2 n roundings of the spread of the data, inertia to n + d + 3 of itself.
    """
    n, d, k, spread = 400, 3, 5, 5.0
    rng = np.random.default_rng(3)
    X = far_out(rng, n, d, offset).astype(dtype)
    weights = rng.random(n).astype(dtype)
    x, w = exact(X), exact(weights)
    for model in under_each_level(
        lambda: shoal.KMeans(k, random_state=0).fit(X, sample_weight=weights)
    ):
        c = exact(model.cluster_centers_)
        stored = np.abs(np.spacing(model.cluster_centers_)).astype(float)  # twice its rounding
        inertia = change = 0.0
        for j in range(k):
            own = np.flatnonzero(model.labels_ == j)
            weight, rest = sum(w[own]), w[own, None] * (x[own] - c[j])
            mean = sum(w[own, None] * x[own]) / weight
            error = np.abs((c[j] - mean).astype(float))
            assert (error <= stored[j] + 2 * n * U * spread).all()
            inertia += sum(w[i] * square_distance(x[i], c[j]) for i in own)
            # what it changes that c is rounded after the inertia was summed
            moved = np.abs(sum(rest).astype(float)) @ stored[j]
            change += 2 * moved + float(weight) * (stored[j] @ stored[j])
        bound = (n + d + 3) * U * float(inertia) + change
        assert abs(float(inertia) - model.inertia_) <= bound


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e8])
def test_moments(offset, dtype):
    """Means to n roundings of the largest value; variances to n and the square of the mean's error.

    The variance is taken about a mean, so that error enters squared.
    """
    n, d = 700, 2
    X = far_out(np.random.default_rng(5), n, d, offset).astype(dtype)
    x = exact(X)
    means = sum(x) / n
    variances = sum((x - means) ** 2) / n
    largest = np.abs(X).max(axis=0).astype(float)
    for mean, variance in under_each_level(Rows(X).moments):
        for i in range(d):
            assert error_of(mean[i], means[i], largest[i]) <= n
            spread, off = float(variances[i]), n * U * largest[i]
            bound = n * U * spread + off**2 + 2 * off * math.sqrt(spread) / math.sqrt(n)
            assert abs(variance[i] - spread) <= bound


# ------------------------------------------------------------------ neighbours within eps, trees


@pytest.mark.parametrize("d", [1, 3, 10])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_neighbours_at_eps(d, offset):
    """Two rows are neighbours where their exact distance says so, but for d + 3 roundings."""
    rng = np.random.default_rng(d)
    decided = 0
    for _ in range(150):
        X = far_out(rng, 2, d, offset)
        square = square_distance(*exact(X))
        eps = math.sqrt(float(square)) * (1 + float(rng.integers(-20, 21)) * 2 * U)
        labels = shoal.DBSCAN(eps=eps, min_samples=1).fit(X).labels_
        gap = square - Fraction(eps) ** 2
        if abs(gap) > Fraction((d + 3) * U) * square:
            assert (labels[0] == labels[1]) == (gap <= 0)
            decided += 1
    assert decided > 70


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("d", [2, 9])
def test_dbscan_by_exact_distances(d, offset):
    """Core samples, clusters and borders by rational distances, where none is at eps."""
    n, min_samples = 90, 4
    X = np.round(far_out(np.random.default_rng(9), n, d, offset), 3)
    X += 8.0 * (np.arange(n)[:, None] % 3)
    x = exact(X)
    squares = all_squares(x)
    order = sorted({float(s) for s in squares.ravel()})
    place = int(len(order) * 0.05)
    eps = math.sqrt((order[place] + order[place + 1]) / 2)
    assert min(abs(s - Fraction(eps) ** 2) / s for s in squares.ravel() if s) > (d + 3) * U
    near = squares <= Fraction(eps) ** 2
    core = near.sum(axis=1) >= min_samples
    labels = np.full(n, -1)
    for i in np.flatnonzero(core):
        stack, number = [i] if labels[i] < 0 else [], labels.max() + 1
        while stack:
            j = stack.pop()
            labels[j] = number
            stack += list(np.flatnonzero(near[j] & core & (labels < 0)))
    for i in np.flatnonzero(~core):
        found = labels[near[i] & core]
        labels[i] = found.min() if len(found) else -1
    assert labels.max() > 0 and (labels < 0).any()
    for model in under_each_level(lambda: shoal.DBSCAN(eps=eps, min_samples=min_samples).fit(X)):
        np.testing.assert_array_equal(model.core_sample_indices_, np.flatnonzero(core))
        np.testing.assert_array_equal(model.labels_, labels)


def all_squares(x):
    """Exact squared distances of all pairs."""
    squares = np.full((len(x), len(x)), Fraction(0))
    for i in range(len(x)):
        for j in range(i):
            squares[i, j] = squares[j, i] = square_distance(x[i], x[j])
    return squares


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_lengths_of_spanning_trees(offset):
    """Edges of HDBSCAN's tree, and heights of single linkage, to d / 2 + 3 roundings."""
    n, d, min_samples = 100, 3, 4
    X = far_out(np.random.default_rng(2), n, d, offset)
    squares = all_squares(exact(X))
    core = [sorted(row)[min_samples - 1] for row in squares]
    reachable = np.maximum(squares, np.maximum.outer(core, core))
    single = {"linkage": "single", "compute_distances": True}
    for model, tree in under_each_level(
        lambda: (
            shoal.HDBSCAN(min_samples=min_samples).fit(X),
            shoal.AgglomerativeClustering(**single).fit(X),
        )
    ):
        edges = model.minimum_spanning_tree_.to_numpy()
        for i, j, length in edges:
            assert_length(length, reachable[int(i), int(j)], d)
        for found, expected in ((np.sort(edges[:, 2]), reachable), (tree.distances_, squares)):
            for length, square in zip(found, lengths_by_prim(expected), strict=True):
                assert_length(length, square, d)


def assert_length(length, square, d):
    """A length is the root of a square to d / 2 + 3 roundings."""
    assert abs(Fraction(float(length)) ** 2 / square - 1) <= Fraction((d + 6) * U)


def lengths_by_prim(squares):
    """Squared lengths of a minimum spanning tree's edges, ascending."""
    nearest, left, found = squares[0], set(range(1, len(squares))), []
    while left:
        i = min(left, key=nearest.__getitem__)
        left.remove(i)
        found.append(nearest[i])
        nearest = np.minimum(nearest, squares[i])
    return sorted(found)


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_ward_heights(offset):
    """√(2 s t / (s + t)) |m_s - m_t| of each merge, to n + d roundings of the data's spread."""
    n, d = 80, 3
    X = far_out(np.random.default_rng(4), n, d, offset)
    x = exact(X)
    spread = float(np.abs(X - X.mean(axis=0)).max())
    for children, _, _, _, heights in under_each_level(
        lambda: shoal.ward_tree(X, return_distance=True)
    ):
        members = [[i] for i in range(n)]
        for (first, second), height in zip(children, heights, strict=True):
            a, b = members[first], members[second]
            gap = square_distance(sum(x[a]) / len(a), sum(x[b]) / len(b))
            expected = to_decimal(gap * 2 * len(a) * len(b) / (len(a) + len(b))).sqrt()
            assert abs(height - float(expected)) <= (n + d) * U * spread
            members.append(a + b)


# --------------------------------------------------------------------------------- mixtures


@pytest.mark.parametrize("d", [1, 2, 5])
def test_log_sum_exp(d):
    """log Σ π_j N(x; m_j, P_j) to 2 (d + 10) roundings of the largest term's parts.

    Weights down to 1e-300, and rows so far out that every density underflows.
    """
    k, rng = 6, np.random.default_rng(d)
    X = rng.standard_normal((40, d)) * 10.0 ** rng.uniform(-3, 5, (40, 1))
    model = shoal.GaussianMixture(k, covariance_type="diag", max_iter=2, tol=1e10, random_state=0)
    model.fit(rng.standard_normal((50, d)))
    model.weights_ = 10.0 ** -np.linspace(0, 300, k)
    model.weights_ /= model.weights_.sum()
    model.means_ = rng.standard_normal((k, d))
    model.precisions_cholesky_ = 10.0 ** rng.uniform(-2, 2, (k, d))
    x, means, roots = (exact(v) for v in (X, model.means_, model.precisions_cholesky_))
    half_log_two_pi = (2 * PI).ln() / 2
    expected, scales = [], []
    for row in x:
        terms, sizes = [], []
        for j in range(k):
            square = to_decimal(sum(((row - means[j]) * roots[j]) ** 2))
            logs = [to_decimal(Fraction(float(model.weights_[j]))).ln(), -d * half_log_two_pi]
            logs += [to_decimal(root).ln() for root in roots[j]]
            terms.append(sum(logs) - square / 2)
            sizes.append(float(square / 2 + sum(abs(value) for value in logs)))
        largest = max(terms)
        expected.append(largest + sum((term - largest).exp() for term in terms).ln())
        scales.append(1 + sizes[terms.index(largest)])
    for found in under_each_level(lambda: model.score_samples(X)):
        for value, right, scale in zip(found, expected, scales, strict=True):
            error = abs(decimal.Decimal(float(value)) - right)
            assert float(error) <= 2 * (d + 10) * U * scale


@pytest.mark.parametrize("condition", [1e0, 1e6, 1e12])
def test_cholesky(condition):
    """Uᵀ Σ U = I to d roundings times the condition of Σ; the residual is exact."""
    d, rng = 8, np.random.default_rng(1)
    axes, _ = np.linalg.qr(rng.standard_normal((d, d)))
    covariance = (axes * np.geomspace(1, 1 / condition, d)) @ axes.T
    covariance = np.ascontiguousarray((covariance + covariance.T) / 2)[None]
    s = exact(covariance[0])

    def factor():
        factors, is_definite = np.zeros((1, d, d)), np.zeros(1, np.uint8)
        args = CholeskyArgs(1, d, covariance, factors, is_definite)
        parallel.run_kernel("precisions_cholesky", "f8", args, 1, 1, 8 * d * d)
        assert is_definite[0]
        return factors[0]

    for found in under_each_level(factor):
        u = exact(found)
        residual = u.T.dot(s).dot(u) - exact(np.eye(d))
        assert float(abs(residual).max()) <= d * U * condition
        assert (np.tril(found, -1) == 0).all()


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e7])
def test_covariance_of_one_component(offset):
    """Of all rows, however far from the origin: covariances to 40 roundings of the spread squared.

    The mean is rounded once more where it is stored.
    """
    n, d, spread = 300, 3, 4.0
    X = np.round(far_out(np.random.default_rng(7), n, d, offset), 6)
    x = exact(X)
    mean = sum(x) / n
    rest = x - mean
    covariance = rest.T.dot(rest) / n
    for model in under_each_level(
        lambda: shoal.GaussianMixture(1, reg_covar=0.0, random_state=0).fit(X)
    ):
        for i in range(d):
            assert error_of(model.means_[0, i], mean[i], abs(offset) + spread) <= 2
            for j in range(d):
                error = error_of(model.covariances_[0, i, j], covariance[i, j], spread**2)
                assert error <= 40


# ------------------------------------------------------------------------------- silhouettes


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "sqeuclidean"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_silhouettes(metric, offset):
    """Each to n + d roundings: differences lose nothing, and sums have one sign."""
    n, d = 60, 3
    X = far_out(np.random.default_rng(8), n, d, offset) + 2.0 * (np.arange(n)[:, None] % 3)
    labels = np.arange(n) % 3
    x = exact(X)
    expected = []
    for i in range(n):
        to = [distance(x[i], row, metric) for row in x]
        sums = [sum(to[j::3]) for j in range(3)]
        a = sums[labels[i]] / (n // 3 - 1)
        b = min(sums[j] / (n // 3) for j in range(3) if j != labels[i])
        expected.append(float((b - a) / max(a, b)))
    for found in under_each_level(lambda: shoal.silhouette_samples(X, labels, metric=metric)):
        assert np.abs(found - expected).max() <= (n + d) * U


def distance(a, b, metric):
    """The distance of two exact rows, to 60 digits."""
    if metric == "manhattan":
        return to_decimal(sum(abs(a - b)))
    square = to_decimal(square_distance(a, b))
    return square if metric == "sqeuclidean" else square.sqrt()
