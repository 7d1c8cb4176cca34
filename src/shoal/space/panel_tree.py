"""A balanced tree of clusters or points, whose leaves are panels: see kernels/panel_tree.pyx."""

from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.space.args import PANEL, NearestOtherArgs, PanelTreeArgs, n_panels


def panels_of(X: np.ndarray) -> np.ndarray:
    """Rows as panels of float64, (panels, d, PANEL); places beyond the last at infinity."""
    n, d = X.shape
    panels = np.full((n_panels(n), d, PANEL), np.inf)
    full = n // PANEL
    panels[:full] = X[: full * PANEL].reshape(full, PANEL, d).transpose(0, 2, 1)
    if n % PANEL:
        panels[full, :, : n % PANEL] = X[full * PANEL :].T
    return panels


class ClusterTree:
    """Points in the leaves of a tree, and the nearest that each has found.

    A place is a leaf times PANEL and a place within it; the arrays over places are told of
    in hierarchy/kernels/structs.pxd.

    Parameters
    ----------
    x : ndarray of shape (n, d), float64
    numbers : ndarray of shape (n,), int32, or None
        What the points are called; from 0 by default.
    sizes : ndarray of shape (n,), float64, or None
        Points in each cluster, for Ward's criterion; None for squared distances.
    """

    def __init__(
        self, x: np.ndarray, numbers: np.ndarray | None = None, sizes: np.ndarray | None = None
    ) -> None:
        n, d = x.shape
        self.n, self.ward = n, sizes is not None
        levels = (n_panels(n) - 1).bit_length()
        self.leaves = 2**levels
        places = self.leaves * PANEL
        self.panels = np.full((self.leaves, d, PANEL), np.inf)
        self.points = np.full(places, -1, np.int32)
        self.owners = np.full(places, -1.0)
        self.lightness = np.zeros(places)
        self.sizes = np.zeros(places) if self.ward else None
        self.active = np.zeros(places, np.uint8)
        self.best, self.second = np.full((2, places), np.inf)
        self.place = np.full(places, -1, np.int32)
        self._bounds = np.empty((2, 2 * self.leaves, d))
        self._lightest = np.empty(2 * self.leaves)
        self.only = np.empty(2 * self.leaves, np.int32)
        order = np.arange(n, dtype=np.int32)
        self._args = PanelTreeArgs(
            n,
            d,
            self.leaves,
            x,
            order,
            self.panels,
            self.points,
            self.owners,
            self.lightness,
            *self._bounds,
            self._lightest,
            self.only,
        )
        for level in range(levels):
            nodes = 2**level
            # a node has as many panels as another, or one more
            points = (n_panels(n) // nodes + 1) * PANEL
            _, size = parallel.cut_blocks(nodes, (10.0 * d + 300) * points)
            parallel.run_kernel(
                "split", "f8", self._args.at(level), nodes, size, 16 * d + 8 * points
            )
        self._fill(x, order, numbers, sizes)
        self.enclose()

    def _fill(self, x: np.ndarray, order: np.ndarray, numbers: Any, sizes: Any) -> None:
        count = n_panels(self.n)
        leaf = (np.arange(1, count + 1, dtype=np.int64) * self.leaves - 1) // count
        self.panels[leaf] = panels_of(x[order])
        # the place of each point, in the order of places
        self.where = (leaf[:, None] * PANEL + np.arange(PANEL)).ravel()[: self.n]
        self.points[self.where] = order if numbers is None else numbers[order]
        self.owners[self.where] = np.arange(self.n)  # what lies together is numbered together
        self.active[self.where] = 1
        if sizes is not None:
            self.sizes[self.where] = sizes[order]
            self.lightness[self.where] = 0.5 / sizes[order]

    def enclose(self) -> None:
        """Bring the boxes and owners of all nodes up to what lies in the leaves."""
        d = self.panels.shape[1]
        _, size = parallel.cut_blocks(self.leaves, 2 * PANEL * d)
        parallel.run_kernel("enclose", "f8", self._args, self.leaves, size)
        self.enclose_nodes()

    def enclose_nodes(self) -> None:
        """The same, of inner nodes from the leaves."""
        parallel.run_kernel(
            "enclose_nodes", "f8", self._args, self.leaves - 1, 2**20, in_order=True
        )

    def search(self, bounds: np.ndarray | None = None) -> None:
        """Find the nearest of the active points; see `nearest_other`."""
        args = NearestOtherArgs(
            self._args,
            ward=self.ward,
            active=self.active,
            best=self.best,
            second=self.second,
            place=self.place,
            n_owners=0 if bounds is None else len(bounds),
            sizes=self.sizes,
            bounds=bounds,
        )
        # blocks of leaves that lie together share bounds and caches; for few points that look,
        # threads are not worth their start
        few = np.count_nonzero(self.active) * self.panels.shape[1] < 2**11
        size = self.leaves if few else max(1, self.leaves // 256)
        parallel.run_kernel("nearest_other", "f8", args, self.leaves, size)
