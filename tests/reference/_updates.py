"""Twins of update.pyx: from sums to the next centers. All are exact to the bit."""

import numpy as np


def reduce_blocks(sums):
    """totals = Σ_b sums[b], along the binary tree of core/combine.py."""
    if len(sums) == 1:
        return sums[0]
    half = 2 ** ((len(sums) - 1).bit_length() - 1)
    return reduce_blocks(sums[:half]) + reduce_blocks(sums[half:])


def sum_clusters(x, weights, labels, k):
    """totals[j] = Σ_{label_i = j} w_i (x_i, 1), one row after the other."""
    totals = np.zeros((k, x.shape[1] + 1))
    w = weights.astype(np.float64)[:, None]
    np.add.at(totals, labels, np.hstack([w * x, w]))
    return totals


def sum_block(x, weights, labels, k):
    """What sum_clusters gives for the rows of one block."""
    return sum_clusters(x, weights, labels, k)


def sum_clusters_in_order(x, weights, labels, k, wanted):
    """What sum_clusters gives for the clusters that are wanted."""
    return sum_clusters(x, weights, labels, k)[wanted]


def move_rows(x, totals, summed_labels, labels):
    """The sums after rows of unit weight went from one cluster to another, one row after the
    other; what is left of an empty cluster is dropped."""
    totals = totals.copy()
    for i in np.flatnonzero(summed_labels != labels):
        row = np.append(x[i], 1.0)
        totals[summed_labels[i]] -= row
        if totals[summed_labels[i], -1] == 0:
            totals[summed_labels[i]] = 0
        totals[labels[i]] += row
    return totals


def move_rows_in_order(x, totals, summed_labels, labels):
    """What move_rows gives."""
    return move_rows(x, totals, summed_labels, labels)


def average_centers(totals, old):
    """c_j = totals[j, :d] / totals[j, d], and the shift of each center.

    A cluster without weight copies the heaviest: its mean if that comes earlier, its
    sum if it comes later.
    """
    weight = totals[:, -1]
    heaviest = weight.argmax()
    centers = np.empty_like(old)
    for j in range(len(centers)):
        source = j if weight[j] > 0 else heaviest
        divide = source <= j and weight[source] > 0
        centers[j] = totals[source, :-1] * (1 / weight[source] if divide else 1.0)
    shifts = np.zeros(len(centers))
    for step in (centers - old).T:
        shifts += step * step
    return centers, np.sqrt(shifts)


def pack_centers(centers, norms, panel_centers, width, dtype):
    """Panels of `width` centers, feature by feature and times -2, and their squared norms. A -1 in
    `panel_centers` is an empty position: zeros, and norm infinity.
    """
    norms = np.where(panel_centers < 0, np.inf, norms[panel_centers]).astype(dtype)
    rows = np.where(panel_centers[:, None] < 0, 0, -2 * centers[panel_centers]).astype(dtype)
    return rows.reshape(-1, width, centers.shape[1]).transpose(0, 2, 1), norms


def transpose_centers(centers):
    """Centers feature by feature."""
    return centers.T
