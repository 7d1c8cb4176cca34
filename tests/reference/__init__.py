"""A short, slow, readable twin of every kernel, under the kernel's own name.

A twin takes and gives plain arrays: `x` is rows less their origin, in float64,
`weights` one number a row, `centers` float64 of shape (k, d). What a twin gives
is exact to the bit where its text says so, and in long double elsewhere.
"""

from ._batches import assign_batch, step
from ._labels import assign, assign_bounded, assign_sparse
from ._measures import inertia, moments, transform
from ._mixtures import (
    expect_diag,
    expect_full,
    expect_low,
    expect_tied,
    exponentials,
    factorise,
    logarithms,
)
from ._seeds import accept, search, seed
from ._updates import add_blocks, add_in_order, add_members, average, pack

__all__ = [  # noqa: RUF022 (in the order of a fit)
    "search", "seed", "accept",
    "assign", "assign_bounded", "assign_sparse",
    "add_blocks", "add_members", "add_in_order", "average", "pack",
    "assign_batch", "step",
    "inertia", "moments", "transform",
    "expect_low", "expect_full", "expect_tied", "expect_diag", "factorise",
    "exponentials", "logarithms",
]  # fmt: skip
