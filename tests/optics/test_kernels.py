"""The kernels of OPTICS against their twins: the same bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.optics.args import RelaxationArgs

import reference
from helpers.kernel_cases import level, levels
from helpers.point_cases import FREE_OF_TIES, points
from shoal.core import parallel
from shoal.optics import graph
from shoal.optics.extraction import _find_clusters, _label_clusters, _last_places

EPS = st.sampled_from([np.inf, 0.0, 0.4, 1.0, 3.0])
KINDS = [*FREE_OF_TIES, "lattice", "duplicates"]


@given(points(KINDS, most=140), st.integers(2, 9), EPS, st.integers(-3, 3), levels)
def test_order_rows(x, min_samples, max_eps, exponent, name):
    """Any scale: rounding to 15 decimals makes ties of what is small, and moves what is large."""
    x = x.astype(np.float64) * 10.0**exponent
    max_eps *= 10.0**exponent
    k = min(min_samples, len(x))
    with pytest.MonkeyPatch.context() as patch, level(name):
        patch.setattr(parallel, "MIN_WORK", 2000)
        found = graph._order_by_tree(x, k, max_eps, None)
    distances = reference.compute_condensed_distances(x)
    np.fill_diagonal(distances, 0)
    cores = graph._round_cores(np.sort(distances, axis=1)[:, k - 1], max_eps)
    ordering, reach, predecessor = reference.order_rows(distances, cores, max_eps)
    np.testing.assert_array_equal(found[1], cores)
    np.testing.assert_array_equal(found[0], ordering)
    np.testing.assert_array_equal(found[2], reach)
    np.testing.assert_array_equal(found[3], predecessor)


@given(st.integers(1, 30), st.integers(0, 2**31), st.booleans(), levels)
def test_relax_reachability(n, seed, has_rows, name):
    rng = np.random.default_rng(seed)
    is_ordered = rng.random(n) < 0.4
    reach = rng.choice([np.inf, 0.5, 1.0, 2.0], n)
    predecessor = rng.integers(-1, n, n)
    rows = rng.permutation(n)[: rng.integers(n + 1)] if has_rows else np.arange(n)
    found = rng.choice([0.1, 0.5, 1.0, 1.5, 3.0, np.nan, np.inf], len(rows))
    core, max_eps = rng.choice([0.0, 0.6]), rng.choice([1.0, np.inf])
    expected = [reach.copy(), predecessor.copy()]
    last = reference.relax_reachability(found, rows, core, max_eps, 7, is_ordered, *expected)
    chosen = np.zeros(1, np.int64)
    args = RelaxationArgs(n, max_eps, is_ordered.view(np.uint8), reach, predecessor, chosen)
    args.set_step(7, core, found, rows.astype(np.int32) if has_rows else None)
    with level(name):
        parallel.run_kernel("relax_reachability", "f8", args, 1, 1)
    np.testing.assert_array_equal(reach, expected[0])
    np.testing.assert_array_equal(predecessor, expected[1])
    assert chosen[0] == last


@given(
    st.lists(st.sampled_from([0.0, 0.5, 0.96, 1, 1.04, 1.5, 2, 4, np.inf]), min_size=2),
    st.integers(2, 4),
    st.integers(2, 5),
    st.sampled_from([0.0, 0.04, 0.05, 0.3]),
    st.booleans(),
    st.integers(0, 2**31),
    levels,
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_steep_clusters(plot, min_samples, min_size, xi, corrects, seed, name):
    """Predecessors at random, also rows that are not in the order."""
    plot = np.array(plot)
    rng = np.random.default_rng(seed)
    ordering = rng.permutation(len(plot))
    sources = rng.integers(-1, len(plot) + 1, len(plot))
    if rng.random() < 0.5:  # mostly the row before
        sources = np.where(rng.random(len(plot)) < 0.8, np.append(-1, ordering[:-1]), sources)
    expected = reference.find_steep_clusters(
        plot, sources, ordering, xi, min_samples, min_size, corrects
    )
    last_source = _last_places(ordering, sources) if corrects else None
    with level(name):
        clusters = _find_clusters(plot, xi, min_samples, min_size, last_source)
        labels = _label_clusters(ordering, clusters)
    np.testing.assert_array_equal(clusters, np.array(expected))
    np.testing.assert_array_equal(labels[ordering], reference.label_clusters(expected, len(plot)))


def test_last_places():
    found = _last_places(np.array([3, 1, 3, 0]), np.array([3, 3, -1, 3]))
    np.testing.assert_array_equal(found, [-1, 0, -1, 2])
