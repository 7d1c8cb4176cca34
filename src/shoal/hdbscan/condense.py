"""The condensed tree: clusters of at least a minimum size, and where rows fall out of them."""

from dataclasses import dataclass

import numpy as np

from shoal.core import parallel
from shoal.hdbscan.args import CondensationArgs
from shoal.hdbscan.linkage import SingleLinkage, weigh_merges
from shoal.space.dendrogram import BLOCK

MAX_UNITS = 2**28  # that are added one by one: a quarter of a second


@dataclass(frozen=True)
class Condensed:
    """A condensed tree. Cluster 0 is the root; parents come before their children.

    Lambda is 1 / height. Where all heights of the dendrogram differ, clusters are numbered as
    scikit-learn numbers them: by the depth of the split that they are born in, and from left
    to right. What is here does not depend on the order of rows, but for these numbers.
    """

    row_cluster: np.ndarray  # int32 of shape (n,): the cluster that each row falls out of
    row_lambda: np.ndarray  # float64 of shape (n,): where it does
    parent: np.ndarray  # int32 of shape (n_clusters,); of the root -1
    birth: np.ndarray  # float64, as all below: lambda at which a cluster splits off
    death: np.ndarray  # the largest lambda at which anything leaves it
    size: np.ndarray  # rows, or their weight
    stability: np.ndarray  # Σ (lambda at which a row leaves it - birth) · weight
    weights: np.ndarray | None  # float64 of shape (n,); None: all are 1

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.row_cluster)

    @property
    def n_clusters(self) -> int:
        """Number of clusters, the root included."""
        return len(self.parent)


def condense(
    linkage: SingleLinkage,
    min_cluster_size: float,
    weights: np.ndarray | None = None,
    row_heights: np.ndarray | None = None,
) -> Condensed:
    """Condense a dendrogram; merges of equal height happen at once.

    Parameters
    ----------
    linkage : SingleLinkage
    min_cluster_size : float
        Rows, or weight, that a part of a split has at least if it is a cluster.
    weights : ndarray of shape (n,), optional
        Positive float64 weights: a row of weight w counts as w rows in its place.
    row_heights : ndarray of shape (n,), optional
        Heights at which the copies of a row part, needed with weights: core distances.
    """
    n = linkage.n_rows
    sizes = linkage.sizes if weights is None else weigh_merges(linkage.children, weights)
    top, n_large = np.zeros((2, n - 1), np.int32)
    falling = np.zeros(n - 1)
    top[-1:] = n - 2
    args = CondensationArgs(
        n,
        min_cluster_size,
        linkage.children,
        linkage.heights,
        weights,
        row_heights,
        sizes,
        linkage.sizes,
        counts_units=weights is None or _are_counts(weights),
        top=top,
        falling=falling,
        n_large=n_large,
    )
    parallel.run_kernel("group_merges", "f8", args, n - 1, BLOCK, in_order=True)
    n_clusters = 1 + int(n_large[n_large > 1].sum())
    cluster, fell_at, depth, first = np.zeros((4, n - 1), np.int32)
    fell_at[-1:] = -1
    parent, birth_depth, birth_first = np.full((3, n_clusters), -1, np.int32)
    birth, death, size, stability = np.zeros((4, n_clusters))
    size[0] = n if weights is None else weights.sum()
    row_cluster, row_lambda = np.empty(n, np.int32), np.empty(n)
    args.set_clusters(
        np.ones(1, np.int64),
        cluster=cluster,
        fell_at=fell_at,
        depth=depth,
        first=first,
        row_cluster=row_cluster,
        row_lambda=row_lambda,
        parent=parent,
        birth=birth,
        death=death,
        size=size,
        stability=stability,
        birth_depth=birth_depth,
        birth_first=birth_first,
    )
    parallel.run_kernel("condense_merges", "f8", args, n - 1, BLOCK, in_order=True)
    order = np.lexsort((birth_first, birth_depth))
    number = np.empty(n_clusters, np.int32)
    number[order] = np.arange(n_clusters, dtype=np.int32)
    parent = number[parent[order]]
    parent[0] = -1
    birth, death, size, stability = (x[order] for x in (birth, death, size, stability))
    _add_splits(parent, birth, size, stability)
    return Condensed(
        number[row_cluster], row_lambda, parent, birth, death, size, stability, weights
    )


def _are_counts(weights: np.ndarray) -> bool:
    """Whether weights are whole, and not too many to count them one by one."""
    return bool(weights.sum() <= MAX_UNITS and (weights == np.floor(weights)).all())


def _add_splits(
    parent: np.ndarray, birth: np.ndarray, size: np.ndarray, stability: np.ndarray
) -> None:
    """Add what leaves as clusters, the largest first, so that rounding knows no other order."""
    children = 1 + np.argsort(-size[1:], kind="stable")
    parents = parent[children]
    with np.errstate(invalid="ignore"):  # clusters of rows that are equal are born at infinity
        terms = (birth[children] - birth[parents]) * size[children]
        np.add.at(stability, parents, terms)
