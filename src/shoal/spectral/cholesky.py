"""Cholesky factorisation of a dense symmetric matrix, by panels of columns.

    for each panel J:  A_JJ = L_JJ L_JJᵀ,  L_IJ = A_IJ L_JJ⁻ᵀ below,  A_IK -= L_IJ L_KJᵀ right of it

Right-looking, as LAPACK's dpotrf (Golub & Van Loan, Matrix Computations, 4.2.9), n³/3 flops at the
speed of a matrix product. Only the lower triangle is there, so it takes half of the memory, and
Python comes by between two products, so that Ctrl-C is answered.
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError
from scipy.linalg.blas import dgemm, dtrsm
from scipy.linalg.lapack import dpotrf

WIDTH = 256  # columns of a panel: products are at full speed, and corners take little of it


class Cholesky:
    """The factor L of a matrix of n rows, and solutions by it.

    Parameters
    ----------
    n : int
    columns : callable
        `columns(first, last)` gives columns first .. last - 1 of the matrix, from row `first`
        on, as an array of its own in C order, which becomes part of the factor.

    Raises
    ------
    LinAlgError
        If the matrix is not positive definite.
    """

    def __init__(self, n: int, columns: Callable[[int, int], np.ndarray]) -> None:
        self.starts = range(0, n, WIDTH)
        self.panels = [columns(first, min(n, first + WIDTH)) for first in self.starts]
        for j, panel in enumerate(self.panels):
            # BLAS sees the transpose of what is in C order, and writes to it where it lies
            width = panel.shape[1]
            corner, failed = dpotrf(panel[:width].T, lower=0, overwrite_a=1)
            if failed:
                raise LinAlgError("the matrix is not positive definite")
            if len(panel) > width:
                dtrsm(1, corner, panel[width:].T, trans_a=1, overwrite_b=1)
            for k, other in enumerate(self.panels[j + 1 :], start=1):
                below = panel[k * WIDTH :]
                beside = below[: other.shape[1]]
                dgemm(-1, beside.T, below.T, 1, other.T, trans_a=1, overwrite_c=1)

    def solve(self, x: np.ndarray) -> np.ndarray:
        """The matrix's inverse times the vectors x, of shape (n, count)."""
        x = np.array(x, order="C")
        parts = []
        for first, panel in zip(self.starts, self.panels, strict=True):
            width = panel.shape[1]
            last = first + width
            parts.append((panel[:width].T, panel[width:].T, x[first:last].T, x[last:].T))
        for corner, below, mine, rest in parts:
            dtrsm(1, corner, mine, side=1, overwrite_b=1)
            if rest.size:
                dgemm(-1, mine, below, 1, rest, overwrite_c=1)
        for corner, below, mine, rest in reversed(parts):
            if rest.size:
                dgemm(-1, rest, below, 1, mine, trans_b=1, overwrite_c=1)
            dtrsm(1, corner, mine, side=1, trans_a=1, overwrite_b=1)
        return x
