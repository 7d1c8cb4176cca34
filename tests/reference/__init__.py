"""A short, slow, readable twin of every kernel, under the kernel's own name.

A twin takes and gives plain arrays: `x` is rows less their origin, in float64,
`weights` one number a row, `centers` float64 of shape (k, d). What a twin gives
is exact to the bit where its text says so, and in long double elsewhere.
"""

from ._agglomerative import (
    assign_leaf_ranges,
    boruvka_step,
    compute_condensed_distances,
    compute_inner_boxes,
    compute_leaf_boxes,
    contract_distances,
    count_leaves,
    find_nearest_clusters,
    find_nearest_other,
    label_leaves,
    nn_chain,
    number_nodes,
    orient_children,
    prim,
    split_panel_nodes,
    squares,
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
from ._seeds import accept, aim, search, seed
from ._silhouettes import (
    affinity,
    graph_degrees,
    graph_product,
    pair_tiles,
    silhouette_coefficients,
    silhouette_distances,
    silhouette_means,
    silhouette_moments,
    silhouette_pairs,
    silhouette_rows,
)
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
    "pair_tiles", "silhouette_pairs", "silhouette_coefficients", "silhouette_rows",
    "silhouette_moments", "silhouette_means", "silhouette_distances",
    "affinity", "graph_degrees", "graph_product",
    "compute_condensed_distances", "find_nearest_clusters", "contract_distances", "nn_chain",
    "number_nodes", "label_leaves",
    "split_panel_nodes", "compute_leaf_boxes", "compute_inner_boxes", "find_nearest_other",
    "boruvka_step", "prim", "squares", "count_leaves", "assign_leaf_ranges", "orient_children",
    "expect_low", "expect_full", "expect_tied", "expect_diag", "estimate", "factorise",
    "exponentials", "logarithms",
]  # fmt: skip
