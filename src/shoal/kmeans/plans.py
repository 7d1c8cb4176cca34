"""How the passes of a run of k-means are computed, by the shape of the problem."""

from typing import NamedTuple

from shoal.core.rows import Rows
from shoal.kmeans.centers import cut_rows

N_GROUPS = 2  # more of them cost as much as they save


class Plan(NamedTuple):
    """How a pass is computed; what it computes is the same."""

    kernel: str  # of kernels/: assign, assign_bounded, assign_sparse
    n_groups: int  # groups of centers with a lower bound of their own
    sums_by: str  # "block": in the pass, for every block; "cluster": after it
    n_blocks: int
    block_size: int  # rows of a block
    tightens: bool = True  # tighten the upper bound of an open row before a search
    neighbors_only: bool = True  # let only near centers loosen bounds


def choose_plan(rows: Rows, k: int) -> Plan:
    """Choose the method by shape.

    =====================  ================  ==============================================
    shape                  kernel            because
    =====================  ================  ==============================================
    CSR rows               assign_sparse     nonzeros, not pairs, are the cost
    n·k·d < 2^17, k = 1    assign            a pass takes microseconds: bounds take as long
    k = 2, n·d < 2^19      assign            likewise: a row has but two distances
    k = 2, d < 8           assign            likewise
    k·d < 512, k = 2       assign_bounded,   a search costs little more than one distance
                           gaps alone
    k < 200                assign_bounded,   one lower bound a row (Hamerly)
                           1 group
    k >= 200               assign_bounded,   one bound fails often among many centers;
                           2 groups          a few (Elkan, grouped) keep memory O(n)
    =====================  ================  ==============================================

    Passes are those of assign while too many labels change for bounds to pay
    (`Lloyd._choose_next_pass`).

    The sums of each block are kept (n_blocks·k·(d + 1) doubles) unless they would need
    more than a twentieth of the data's memory, or than the labels and 128 MiB; then clusters are
    summed after the pass, which on a cluster goes from machine to machine. Distances among k
    centers are worth computing where k is far below n.
    """
    n_blocks, size = cut_rows(rows, k)
    block_bytes = 8 * k * (rows.d + 1)
    data_bytes = rows.n * rows.stored * rows.dtype.itemsize
    budget = 2**20 + min(max(2**27, 4 * rows.n), data_bytes // 20)
    max_blocks = int(budget // block_bytes)
    sums_by = "block" if max_blocks >= min(n_blocks, 8) else "cluster"
    if sums_by == "block" and max_blocks < n_blocks:
        n_blocks, size = cut_rows(rows, k, max_blocks, few=True)
        if max_blocks < n_blocks:
            sums_by = "cluster"
    if rows.sparse:
        return Plan("assign_sparse", 1, sums_by, n_blocks, size)
    is_quick = rows.n * k * rows.d < (2**20 if k == 2 else 2**17)
    if is_quick or k == 1 or (k == 2 and rows.d < 8):
        return Plan("assign", 1, sums_by, n_blocks, size)
    n_groups = 1 if k < 200 else N_GROUPS
    tightens, neighbors_only = k > 2 and k * rows.d >= 512, 16 * k <= rows.n
    return Plan("assign_bounded", n_groups, sums_by, n_blocks, size, tightens, neighbors_only)
