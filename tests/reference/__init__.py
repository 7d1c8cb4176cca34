"""A short, slow, readable twin of every kernel, under the kernel's own name.

A twin takes and gives plain arrays: `x` is rows less their origin, in float64,
`weights` one number a row, `centers` float64 of shape (k, d). What a twin gives
is exact to the bit where its text says so, and in long double elsewhere.
"""

from ._agglomerative import (
    assign_leaf_ranges,
    contract_distances,
    count_leaves,
    find_nearest_clusters,
    label_leaves,
    nn_chain,
    number_nodes,
    orient_children,
)
from ._batches import assign_batch, assign_batch_filtered, update_centers_minibatch
from ._condensed import compute_condensed_distances, compute_panel_norms
from ._density import (
    close_open_rows,
    count_graph_neighbors,
    count_neighbors,
    count_open_rows,
    dbscan,
    expand_clusters,
    find_cells,
    find_min_labels,
    find_nearest_core,
    find_roots,
    gather_labels,
    label_border_points,
    neighbors,
    number_clusters,
    sum_node_weights,
    unite_between_cells,
    unite_within_cells,
)
from ._hdbscan import (
    climb_to_epsilon,
    condense_merges,
    count_selected,
    find_group_squares,
    find_last_deaths,
    find_owners,
    find_separations,
    group_merges,
    place_selected,
    prim_by_distances,
    select_by_mass,
    select_kth,
    unite_below_cut,
    weigh_merges,
)
from ._labels import (
    apply_labels,
    assign,
    assign_bounded,
    assign_filtered,
    assign_ordered,
    assign_sparse,
    project_centers,
    quantize_centers,
    sort_centers,
    update_bounds,
)
from ._measures import inertia, moments, transform
from ._mixtures import (
    e_step_diag,
    e_step_full,
    e_step_low,
    e_step_tied,
    exponentials,
    logarithms,
    m_step,
    precisions_cholesky,
)
from ._optics import find_steep_clusters, label_clusters, order_rows, relax_reachability
from ._pairs import compute_square_distances, pack_tiles
from ._scores import find_largest_ratios, sum_differences, sum_spreads
from ._seeds import accept_candidate, compare_candidates, pack_candidates, search_cumulative
from ._silhouettes import (
    compute_cluster_moments,
    silhouettes_from_distances,
    silhouettes_from_means,
    silhouettes_from_sums,
    silhouettes_from_tiles,
    silhouettes_of_labelings,
    sum_cluster_distances,
)
from ._space import (
    boruvka_step,
    build_subtrees,
    core_squares,
    fill_tiles,
    find_k_nearest,
    find_nearest,
    find_nearest_other,
    link_near_points,
    prim,
    prim_on_graph,
    rotate_rows,
    split_nodes,
    squares,
    summarize_inner_nodes,
    summarize_leaves,
    transpose_tiles,
)
from ._sparse import (
    add_sparse_batch,
    assign_sparse_batch,
    load_centers,
    pack_features,
    replace_centers,
    set_prune_radius,
    store_centers,
)
from ._spectral import compute_affinities, compute_degrees, multiply_graph, multiply_sparse_graph
from ._updates import (
    average_centers,
    move_rows,
    move_rows_in_order,
    pack_centers,
    reduce_blocks,
    sum_block,
    sum_clusters,
    sum_clusters_in_order,
    transpose_centers,
)

__all__ = [  # noqa: RUF022 (in the order of a fit)
    "search_cumulative", "pack_candidates", "compare_candidates", "accept_candidate",
    "set_prune_radius", "pack_features",
    "assign", "assign_bounded", "assign_filtered", "assign_sparse", "quantize_centers",
    "project_centers", "assign_ordered", "apply_labels", "sort_centers",
    "update_bounds",
    "reduce_blocks", "sum_clusters", "sum_clusters_in_order", "move_rows", "move_rows_in_order",
    "average_centers", "pack_centers", "transpose_centers",
    "sum_block",
    "assign_batch", "assign_batch_filtered", "update_centers_minibatch",
    "load_centers", "assign_sparse_batch", "add_sparse_batch", "replace_centers", "store_centers",
    "rotate_rows", "split_nodes", "build_subtrees", "transpose_tiles", "fill_tiles",
    "summarize_leaves", "summarize_inner_nodes",
    "find_nearest", "find_k_nearest", "find_nearest_other", "boruvka_step", "prim",
    "prim_on_graph", "squares", "core_squares", "link_near_points",
    "neighbors", "sum_node_weights", "find_cells", "count_neighbors", "count_open_rows",
    "close_open_rows", "unite_within_cells", "unite_between_cells",
    "find_roots", "number_clusters", "gather_labels", "find_min_labels", "label_border_points",
    "dbscan",
    "count_graph_neighbors", "expand_clusters", "find_nearest_core",
    "inertia", "moments", "transform",
    "pack_tiles", "compute_square_distances",
    "sum_cluster_distances", "silhouettes_from_sums", "silhouettes_from_tiles",
    "compute_cluster_moments", "silhouettes_from_means", "silhouettes_from_distances",
    "order_rows", "relax_reachability", "find_steep_clusters", "label_clusters",
    "silhouettes_of_labelings", "sum_differences", "sum_spreads", "find_largest_ratios",
    "compute_affinities", "compute_degrees", "multiply_graph",
    "multiply_sparse_graph",
    "compute_condensed_distances", "compute_panel_norms",
    "find_nearest_clusters", "contract_distances", "nn_chain", "number_nodes", "label_leaves",
    "count_leaves", "assign_leaf_ranges", "orient_children",
    "weigh_merges", "group_merges", "condense_merges", "select_by_mass", "find_owners",
    "climb_to_epsilon", "find_last_deaths", "unite_below_cut",
    "count_selected", "place_selected", "find_separations", "find_group_squares",
    "prim_by_distances",
    "select_kth",
    "e_step_low", "e_step_full", "e_step_tied", "e_step_diag", "m_step", "precisions_cholesky",
    "exponentials", "logarithms",
]  # fmt: skip
