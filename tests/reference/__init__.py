"""A short, slow, readable twin of every kernel, under the kernel's own name.

A twin takes and gives plain arrays: `x` is rows less their origin, in float64,
`weights` one number a row, `centers` float64 of shape (k, d). What a twin gives
is exact to the bit where its text says so, and in long double elsewhere.
"""

from ._agglomerative import (
    chain,
    contract,
    count_points,
    enclose,
    enclose_nodes,
    lay_out,
    name_nodes,
    nearest_other,
    orient,
    paint,
    pair_distances,
    prim,
    scan_triangle,
    split,
    squares,
    unite_components,
)
from ._batches import assign_batch, step
from ._density import (
    border_labels,
    close_counts,
    count_given,
    count_neighbors,
    count_open,
    dbscan,
    fill_tiles,
    find_cells,
    find_lows,
    find_roots,
    follow_given,
    grow_subtrees,
    join_cells,
    nearest_core,
    neighbors,
    number_clusters,
    rotate_rows,
    split_nodes,
    spread_numbers,
    sum_weights,
    unite_cells,
)
from ._labels import assign, assign_bounded, assign_sparse, follow
from ._measures import inertia, moments, transform
from ._mixtures import (
    estimate,
    expect_diag,
    expect_full,
    expect_low,
    expect_tied,
    exponentials,
    factorise,
    logarithms,
)
from ._pairs import pack_tiles
from ._seeds import accept, aim, search, seed
from ._silhouettes import (
    compute_cluster_moments,
    silhouettes_from_distances,
    silhouettes_from_means,
    silhouettes_from_sums,
    silhouettes_from_tiles,
    sum_cluster_distances,
)
from ._spectral import compute_affinities, compute_degrees, multiply_graph
from ._updates import add_blocks, add_in_order, add_members, average, pack, sum_block

__all__ = [  # noqa: RUF022 (in the order of a fit)
    "search", "aim", "seed", "accept",
    "assign", "assign_bounded", "assign_sparse", "follow",
    "add_blocks", "add_members", "add_in_order", "average", "pack", "sum_block",
    "assign_batch", "step",
    "rotate_rows", "split_nodes", "grow_subtrees", "fill_tiles",
    "neighbors", "sum_weights", "find_cells", "count_neighbors", "count_open",
    "close_counts", "join_cells", "unite_cells",
    "find_roots", "number_clusters", "spread_numbers", "find_lows", "border_labels", "dbscan",
    "count_given", "follow_given", "nearest_core",
    "inertia", "moments", "transform",
    "pack_tiles",
    "sum_cluster_distances", "silhouettes_from_sums", "silhouettes_from_tiles",
    "compute_cluster_moments", "silhouettes_from_means", "silhouettes_from_distances",
    "compute_affinities", "compute_degrees", "multiply_graph",
    "pair_distances", "scan_triangle", "contract", "chain", "name_nodes", "paint",
    "split", "enclose", "enclose_nodes", "nearest_other",
    "unite_components", "count_points", "lay_out", "orient", "prim", "squares",
    "expect_low", "expect_full", "expect_tied", "expect_diag", "estimate", "factorise",
    "exponentials", "logarithms",
]  # fmt: skip
