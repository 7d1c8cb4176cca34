"""A balanced tree of points or centroids, whose leaves are panels: see kernels/panel_tree.pyx."""

from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.space.args import PANEL, NearestOtherArgs, PanelTreeArgs, count_panels


def pack_panels(X: np.ndarray) -> np.ndarray:
    """Rows as panels of float64, (panels, d, PANEL); positions beyond the last at infinity."""
    n, d = X.shape
    panels = np.full((count_panels(n), d, PANEL), np.inf)
    full = n // PANEL
    panels[:full] = X[: full * PANEL].reshape(full, PANEL, d).transpose(0, 2, 1)
    if n % PANEL:
        panels[full, :, : n % PANEL] = X[full * PANEL :].T
    return panels


class PanelTree:
    """Points in the leaves of a tree, and the nearest neighbour found for each.

    The arrays over positions (a leaf times PANEL plus a place in its panel) are described in
    kernels/structs.pxd.

    Parameters
    ----------
    x : ndarray of shape (n, d), float64
    numbers : ndarray of shape (n,), int32, or None
        Numbers of the points; from 0 by default.
    sizes : ndarray of shape (n,), float64, or None
        Points in each cluster, for Ward's criterion; None for squared distances.
    """

    def __init__(
        self, x: np.ndarray, numbers: np.ndarray | None = None, sizes: np.ndarray | None = None
    ) -> None:
        n, d = x.shape
        self.n, self.ward = n, sizes is not None
        levels = (count_panels(n) - 1).bit_length()
        self.leaves = 2**levels
        n_positions = self.leaves * PANEL
        self.panels = np.full((self.leaves, d, PANEL), np.inf)
        self.points = np.full(n_positions, -1, np.int32)
        self.components = np.full(n_positions, -1.0)
        self.half_inverse_size = np.zeros(n_positions)
        self.sizes = np.zeros(n_positions) if self.ward else None
        self.active = np.zeros(n_positions, np.uint8)
        self.distance, self.second_distance = np.full((2, n_positions), np.inf)
        self.neighbor = np.full(n_positions, -1, np.int32)
        self._boxes = np.empty((2, 2 * self.leaves, d))
        self._max_half_inverse_size = np.empty(2 * self.leaves)
        self.node_component = np.empty(2 * self.leaves, np.int32)
        order = np.arange(n, dtype=np.int32)
        self._args = PanelTreeArgs(
            n,
            d,
            self.leaves,
            x,
            order,
            self.panels,
            self.points,
            self.components,
            self.half_inverse_size,
            *self._boxes,
            self._max_half_inverse_size,
            self.node_component,
        )
        for level in range(levels):
            n_nodes = 2**level
            # the numbers of panels of any two nodes differ by at most one
            node_points = (count_panels(n) // n_nodes + 1) * PANEL
            _, size = parallel.cut_blocks(n_nodes, (10.0 * d + 300) * node_points)
            args, scratch = self._args.at_level(level), 16 * d + 8 * node_points
            parallel.run_kernel("split_panel_nodes", "f8", args, n_nodes, size, scratch)
        self._fill(x, order, numbers, sizes)
        self.update_boxes()

    def _fill(self, x: np.ndarray, order: np.ndarray, numbers: Any, sizes: Any) -> None:
        count = count_panels(self.n)
        leaf = (np.arange(1, count + 1, dtype=np.int64) * self.leaves - 1) // count
        self.panels[leaf] = pack_panels(x[order])
        # those of the points, in ascending order
        self.positions = (leaf[:, None] * PANEL + np.arange(PANEL)).ravel()[: self.n]
        self.points[self.positions] = order if numbers is None else numbers[order]
        self.components[self.positions] = np.arange(self.n)  # near points have near numbers
        self.active[self.positions] = 1
        if sizes is not None:
            self.sizes[self.positions] = sizes[order]
            self.half_inverse_size[self.positions] = 0.5 / sizes[order]

    def update_boxes(self) -> None:
        """Compute bounding boxes and components of all nodes, after points have changed."""
        d = self.panels.shape[1]
        _, size = parallel.cut_blocks(self.leaves, 2 * PANEL * d)
        parallel.run_kernel("compute_leaf_boxes", "f8", self._args, self.leaves, size)
        self.update_inner_boxes()

    def update_inner_boxes(self) -> None:
        """The same for inner nodes, from those of the leaves."""
        parallel.run_kernel(
            "compute_inner_boxes", "f8", self._args, self.leaves - 1, 2**20, in_order=True
        )

    def find_nearest_other(self, component_bounds: np.ndarray | None = None) -> None:
        """Find the nearest point of another component for active points; see the kernel."""
        args = NearestOtherArgs(
            self._args,
            ward=self.ward,
            active=self.active,
            distance=self.distance,
            second_distance=self.second_distance,
            neighbor=self.neighbor,
            n_components=0 if component_bounds is None else len(component_bounds),
            sizes=self.sizes,
            component_bounds=component_bounds,
        )
        # leaves of a block are near each other: they share bounds and caches; few active points
        # are not worth the start of threads
        few = np.count_nonzero(self.active) * self.panels.shape[1] < 2**11
        size = self.leaves if few else max(1, self.leaves // 256)
        parallel.run_kernel("find_nearest_other", "f8", args, self.leaves, size)
