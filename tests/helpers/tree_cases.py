"""Spanning trees: edges of rows with heights."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st


@dataclass
class Edges:
    """A tree's edges, and weights of rows with the heights at which their copies part."""

    left: np.ndarray
    right: np.ndarray
    heights: np.ndarray
    weights: np.ndarray | None = None
    row_heights: np.ndarray | None = None

    def shuffled(self, rng):
        """The same edges in another order and direction."""
        order = rng.permutation(len(self.heights))
        flip = rng.random(len(order)) < 0.5
        left, right = self.left[order], self.right[order]
        return Edges(
            np.where(flip, right, left),
            np.where(flip, left, right),
            self.heights[order],
            self.weights,
            self.row_heights,
        )

    def relabelled(self, order):
        """The same tree with rows in another order: row order[i] becomes row i."""
        place = np.argsort(order)
        return Edges(
            place[self.left].astype(np.int32),
            place[self.right].astype(np.int32),
            self.heights,
            None if self.weights is None else self.weights[order],
            None if self.row_heights is None else self.row_heights[order],
        )

    def repeated(self):
        """The tree of repeated rows, and for each of them its row here."""
        counts = self.weights.astype(int)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        rows = np.repeat(np.arange(len(counts)), counts)
        copies = np.setdiff1d(np.arange(len(rows)), first)
        tree = Edges(
            np.concatenate([first[self.left], first[rows[copies]]]).astype(np.int32),
            np.concatenate([first[self.right], copies]).astype(np.int32),
            np.concatenate([self.heights, self.row_heights[rows[copies]]]),
        )
        return tree, rows


def make_edges(rng, n, shape, heights):
    """A random tree: bushy, a chain, or one that is long, with rows in any order."""
    i = np.arange(1, n)
    reach = {"bushy": i, "chain": np.ones(n - 1, int), "long": np.full(n - 1, 4)}[shape]
    parents = i - 1 - rng.integers(0, np.minimum(reach, i), size=n - 1)
    number = rng.permutation(n).astype(np.int32)
    return Edges(number[parents], number[i], heights)


def distinct_heights(rng, n):
    """Heights of all sizes that differ."""
    return np.exp(rng.normal(size=n - 1, scale=rng.choice([0.1, 1.0, 5.0])))


def with_weights(rng, edges):
    """Whole weights, and heights of rows up to those of their edges."""
    n = len(edges.heights) + 1
    nearest = np.full(n, np.inf)
    np.minimum.at(nearest, edges.left, edges.heights)
    np.minimum.at(nearest, edges.right, edges.heights)
    row_heights = nearest * rng.choice([0.0, 0.5, 1.0], size=n)
    weights = rng.choice([1, 1, 2, 3, 9], size=n).astype(float)
    return Edges(edges.left, edges.right, edges.heights, weights, row_heights)


@st.composite
def tied_edges(draw, most=24):
    """Small trees whose heights are few whole numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(2, most))
    least = draw(st.sampled_from([0, 1]))
    heights = rng.integers(least, least + draw(st.integers(1, 6)), n - 1).astype(float)
    shape = draw(st.sampled_from(["bushy", "chain", "long"]))
    return make_edges(rng, n, shape, heights)
