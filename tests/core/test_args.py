"""Every array given to a kernel is checked for type, order and length, before it runs."""

import gc
import weakref

import numpy as np
import pytest
from shoal.core.args import MomentsArgs, RowArgs
from shoal.kmeans.args import (
    GROUP_SIZE,
    N_BUCKETS,
    AssignmentArgs,
    BoundUpdateArgs,
    CenterArgs,
    CenterUpdateArgs,
    MeasureArgs,
    OrderedSearchArgs,
    ReductionArgs,
    SearchArgs,
    SeedingArgs,
)
from shoal.kmeans.sparse_args import LOGGED_ROWS, SparseBatchArgs

from helpers.kernel_cases import as_csr
from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.kmeans import centers as centers_module
from shoal.kmeans.centers import Centers

N, D, K, BLOCKS = 20, 3, 5, 4
WIDTH = parallel.constant("candidates", "f8")
X = np.random.default_rng(0).standard_normal((N, D))
SPARSE = as_csr(X)


def center_arrays():
    """The arguments of CenterArgs that Centers makes, by position."""
    seen = []
    taken = centers_module.CenterArgs
    try:
        centers_module.CenterArgs = lambda *arrays: seen.append(arrays) or CenterArgs(*arrays)
        Centers(X[:K], Rows(X), np.arange(K, dtype=np.int32) % 2)
    finally:
        centers_module.CenterArgs = taken
    return dict(enumerate(seen[0]))


def make_centers(**by_position):
    arrays = center_arrays() | {int(at[1:]): value for at, value in by_position.items()}
    return CenterArgs(*arrays.values())


ROWS = Rows(X)
CENTERS = Centers(X[:K], ROWS)


def f4(*shape):
    return np.zeros(shape, np.float32)


def f8(*shape):
    return np.zeros(shape)


def i4(*shape):
    return np.zeros(shape, np.int32)


def i8(*shape):
    return np.zeros(shape, np.int64)


def u1(*shape):
    return np.zeros(shape, np.uint8)


SEEDING_OUT = {
    "prune_radius_squared": f8(K),
    "closest_squared": f8(N),
    "nearest_seed": i4(N),
    "nearer_mask": u1(N),
    "gains": f8(BLOCKS, WIDTH),
    "block_potential": f8(BLOCKS),
    "candidate_closest": f8(2, N),
}


def make_assignment():
    return AssignmentArgs(
        ROWS.args, CENTERS.args, BLOCKS, elkan=False, labels=i4(N), counts=i8(BLOCKS, 5)
    )


# How each structure is made from arrays that fit; those written to by kernels come last.
MAKERS = {
    "rows": (
        lambda **a: RowArgs((N, D), **a),
        {"x": X, "weights": f8(N), "origin": Rows(X).origin.base},
        {},
    ),
    "rows of CSR data": (
        lambda **a: RowArgs((N, D), **a),
        {"x": SPARSE.data, "weights": f8(N), "indices": SPARSE.indices, "indptr": SPARSE.indptr},
        {},
    ),
    "centers": (
        make_centers,
        {f"_{at}": a for at, a in center_arrays().items() if isinstance(a, np.ndarray)},
        {},
    ),
    "assignment": (
        lambda **a: AssignmentArgs(ROWS.args, CENTERS.args, BLOCKS, elkan=False, **a),
        {
            "gap_drift": f4(K, N_BUCKETS),
            "lower_drift": f4(1, K, N_BUCKETS),
            "nearest_center_distance": f4(K),
        },
        {
            "labels": i4(N),
            "counts": i8(BLOCKS, 5),
            "sums": f8(BLOCKS, K, D + 1),
            "bound_gap": f4(N),
            "lower_bounds": f4(N, 1),
            "dirty": u1(BLOCKS, K),
            "recompute_sums": u1(BLOCKS),
            "n_moved": i8(BLOCKS),
        },
    ),
    "ordered search": (
        lambda **a: OrderedSearchArgs(make_assignment(), "f8", 32, **a),
        {"order": i4(N), "center_order": i4(32 * GROUP_SIZE)},
        {
            "new_labels": i4(N),
            "coordinates": f8(D, 32 * GROUP_SIZE),
            "group_boxes": f8(2, D, 32),
        },
    ),
    "bound update": (
        lambda **a: BoundUpdateArgs(CENTERS.args, D, neighbors_only=True, **a),
        {"center_shift": f8(K), "group_shift": f8(1, CENTERS.padded_k)},
        {
            "max_upper_bound": f8(K, N_BUCKETS),
            "gap_drift_f64": f8(K, N_BUCKETS),
            "lower_drift_f64": f8(1, K, N_BUCKETS),
            "gap_drift": f4(K, N_BUCKETS),
            "lower_drift": f4(1, K, N_BUCKETS),
            "nearest_center_distance": f4(K),
        },
    ),
    "reduction": (
        lambda **a: ReductionArgs(ROWS.args, K, BLOCKS, **a),
        {
            "sums": f8(BLOCKS, K, D + 1),
            "dirty": u1(BLOCKS, K),
            "labels": i4(N),
            "summed_labels": i4(N),
        },
        {"totals": f8(K, D + 1)},
    ),
    "center update": (
        lambda **a: CenterUpdateArgs(K, D, **a),
        {"totals": f8(K, D + 1)},
        {"centers": f8(K, D), "center_shift": f8(K)},
    ),
    "measure": (
        lambda **a: MeasureArgs(ROWS.args, CENTERS.args, n_blocks=BLOCKS, **a),
        {"labels": i4(N)},
        {"totals": f8(BLOCKS), "out": f8(N)},
    ),
    "measure of all pairs": (
        lambda **a: MeasureArgs(ROWS.args, CENTERS.args, **a),
        {},
        {"out": f8(N, K)},
    ),
    "moments": (
        lambda **a: MomentsArgs(ROWS.args, BLOCKS, **a),
        {},
        {"sums": f8(BLOCKS, D), "squares": f8(BLOCKS, D)},
    ),
    "seeding": (
        lambda **a: SeedingArgs(ROWS.args, K, BLOCKS, WIDTH, in_data_type=False, **a),
        {"points": f8(2, D)},
        SEEDING_OUT | {"panel": f8(D, WIDTH), "panel_norms": f8(WIDTH)},
    ),
    "seeding of CSR data": (
        lambda **a: SeedingArgs(Rows(SPARSE).args, K, BLOCKS, WIDTH, in_data_type=False, **a),
        {"candidate_rows": i8(2), "seed_rows": i8(K)},
        SEEDING_OUT
        | {"transposed": f8(D, WIDTH), "squared_norms": f8(WIDTH), "packed_rows": i8(WIDTH)},
    ),
    "sparse batches": (
        lambda **a: SparseBatchArgs(Rows(SPARSE).args, K, 16, **a),
        {"replaced": u1(16), "new_rows": i8(16)},
        {
            "sums": f8(D, 16),
            "features": f4(D, 16),
            "max_features": f8(16),
            "scale": f8(16),
            "squared_norms": f8(2, 16),
            "weight_sums": f8(16),
            "logged_rows": i8(16, LOGGED_ROWS),
            "n_logged": i4(16),
        },
    ),
    "a sparse batch": (
        lambda **a: SPARSE_BATCHES.with_batch(Rows(SPARSE).args, 7, BLOCKS, **a),
        {"batch_indices": i8(7)},
        {"labels": i4(7), "block_inertia": f8(BLOCKS)},
    ),
    "search": (
        lambda **a: SearchArgs("f8", in_data_type=False, **a),
        {
            "closest_squared": f8(N),
            "weights": f8(N),
            "cumulative": f8(BLOCKS + 1),
            "targets": f8(4),
        },
        {"indices": i8(4)},
    ),
}
SPARSE_BATCHES = MAKERS["sparse batches"][0](
    **MAKERS["sparse batches"][1], **MAKERS["sparse batches"][2]
)
READ = [(struct, name) for struct, (_, read, _) in MAKERS.items() for name in read]
WRITTEN = [(struct, name) for struct, (_, _, written) in MAKERS.items() for name in written]
# Arrays whose own length says how long the others must be.
FREE = {
    ("search", "targets"),
    ("search", "closest_squared"),
    ("search", "cumulative"),
    ("seeding", "points"),
    ("seeding of CSR data", "candidate_rows"),
    ("rows of CSR data", "x"),
    ("centers", "_11"),
}
TYPES = ["float16", "float32", "float64", "int32", "int64", "uint8", "bool", "complex128"]


def make(struct, **others):
    maker, read, written = MAKERS[struct]
    return maker(**(read | written | others))


def right(struct, name):
    _, read, written = MAKERS[struct]
    return (read | written)[name]


@pytest.mark.parametrize("struct", MAKERS)
def test_arrays_that_fit(struct):
    make(struct)


@pytest.mark.parametrize(("struct", "name"), READ + WRITTEN)
def test_wrong_type(struct, name):
    given = right(struct, name)
    others = [np.dtype(other) for other in TYPES]
    if given.itemsize > 1:
        others.append(given.dtype.newbyteorder())
    if name == "x":  # whose type is that of the rows
        others.remove(np.float32)
    for other in others:
        if other != given.dtype:
            with pytest.raises(TypeError, match="expected"):
                make(struct, **{name: np.zeros(given.shape, other)})


@pytest.mark.parametrize(("struct", "name"), READ + WRITTEN)
def test_not_an_array(struct, name):
    with pytest.raises((TypeError, AttributeError)):
        make(struct, **{name: right(struct, name).tolist()})


@pytest.mark.parametrize(("struct", "name"), [p for p in READ + WRITTEN if p not in FREE])
def test_too_short(struct, name):
    given = right(struct, name)
    for short in {given.size - 1, 0}:
        with pytest.raises(ValueError, match=f"expected {given.size} values, got {short}"):
            make(struct, **{name: given.ravel()[:short]})


@pytest.mark.parametrize(("struct", "name"), READ + WRITTEN)
def test_wrong_order(struct, name):
    given = right(struct, name)
    wrong = [np.repeat(given, 2, axis=-1)[..., ::2]]
    if given.ndim == 2 and min(given.shape) > 1:
        wrong.append(np.asfortranarray(given))
    for array in wrong:
        if array.size > 1:
            with pytest.raises((ValueError, BufferError)):
                make(struct, **{name: array})


@pytest.mark.parametrize(("struct", "name"), READ + WRITTEN)
def test_read_only(struct, name):
    """Kernels read what is read-only, and are not let write to it."""
    given = right(struct, name).copy()
    given.flags.writeable = False
    if (struct, name) in READ:
        make(struct, **{name: given})
    else:
        with pytest.raises((ValueError, BufferError)):
            make(struct, **{name: given})


@pytest.mark.parametrize(("struct", "name"), READ + WRITTEN)
def test_arrays_are_kept(struct, name):
    """An array lives as long as the arguments that point into it."""
    if (struct, name) == ("rows", "x"):
        return  # views of the module's own array
    given = right(struct, name).copy()
    args = make(struct, **{name: given})
    watch = weakref.ref(given)
    del given
    gc.collect()
    assert watch() is not None
    del args
    gc.collect()
    assert watch() is None


def test_one_type_for_rows_and_centers():
    other = Centers(X[:K], Rows(X.astype(np.float32)))
    with pytest.raises(TypeError, match="rows are f8, centers f4"):
        AssignmentArgs(ROWS.args, other.args, 1, elkan=False, labels=i4(N), counts=i8(5))


def test_dense_rows_need_an_origin():
    with pytest.raises(ValueError, match="origin"):
        RowArgs((N, D), X)


@pytest.mark.parametrize("struct", ["seeding", "seeding of CSR data"])
def test_seeding_needs_candidates_in_the_form_of_the_rows(struct):
    _, read, written = MAKERS[struct]
    for name in (read | written).keys() - SEEDING_OUT.keys():
        with pytest.raises(ValueError, match="dense rows need"):
            make(struct, **{name: None})
    many = (
        {"points": f8(WIDTH + 1, D)} if struct == "seeding" else {"candidate_rows": i8(WIDTH + 1)}
    )
    with pytest.raises(ValueError, match="9 candidates, room for 8"):
        make(struct, **many)
    args = make(struct)
    for count in (-1, 3):
        with pytest.raises(ValueError, match=f"{count} candidates, room for 2"):
            args.set_n_candidates(count)


def test_unknown_kernel():
    with pytest.raises(KeyError):
        parallel.run_kernel("no such kernel", "f8", make("moments"), N, N)
    with pytest.raises(KeyError):
        parallel.run_kernel("moments", "i4", make("moments"), N, N)
    with pytest.raises(TypeError):
        parallel.run_kernel("moments", "f8", ROWS.args, N, N)


def test_no_rows():
    """A kernel over no rows does not run."""
    with parallel.trace_runs() as runs:
        parallel.run_kernel("moments", "f8", make("moments"), 0, N)
    assert runs == []
