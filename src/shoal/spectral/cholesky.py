"""Cholesky factorisation of a dense symmetric matrix, by panels of columns.

    for each panel J:  A_JJ = L_JJ L_JJᵀ,  L_IJ = A_IJ L_JJ⁻ᵀ below,  A_IK -= L_IJ L_KJᵀ right of it

Right-looking, as LAPACK's dpotrf (Golub & Van Loan, Matrix Computations, 4.2.9), n³/3 flops at the
speed of a matrix product. Only the lower triangle is stored, half of the memory, and control
returns to Python between two products, so that Ctrl-C is answered.
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError
from scipy.linalg.blas import dgemm, dtrsm
from scipy.linalg.lapack import dpotrf

PANEL_WIDTH = 256  # products are at full speed, and diagonal blocks take little of the time


class Cholesky:
    """The factor L of a matrix of n rows, and solutions with it.

    Parameters
    ----------
    n : int
    get_columns : callable
        `get_columns(first, last)` returns columns first .. last - 1 of the matrix, from row
        `first` on, as a new array in C order, which is overwritten by the factor.

    Raises
    ------
    LinAlgError
        If the matrix is not positive definite.
    """

    def __init__(self, n: int, get_columns: Callable[[int, int], np.ndarray]) -> None:
        self.starts = range(0, n, PANEL_WIDTH)
        self.panels = [get_columns(first, min(n, first + PANEL_WIDTH)) for first in self.starts]
        for j, panel in enumerate(self.panels):
            # BLAS reads arrays in C order as their transposes, and overwrites them in place
            width = panel.shape[1]
            diagonal, failed = dpotrf(panel[:width].T, lower=0, overwrite_a=1)
            if failed:
                raise LinAlgError("the matrix is not positive definite")
            if len(panel) > width:
                dtrsm(1, diagonal, panel[width:].T, trans_a=1, overwrite_b=1)
            for k, trailing in enumerate(self.panels[j + 1 :], start=1):
                rows = panel[k * PANEL_WIDTH :]  # L_IJ, and its first rows L_KJ
                dgemm(
                    -1, rows[: trailing.shape[1]].T, rows.T, 1, trailing.T, trans_a=1, overwrite_c=1
                )

    def solve(self, x: np.ndarray) -> np.ndarray:
        """The matrix's inverse times the vectors x, of shape (n, count)."""
        x = np.array(x, order="C")
        steps = []
        for first, panel in zip(self.starts, self.panels, strict=True):
            width = panel.shape[1]
            last = first + width
            steps.append((panel[:width].T, panel[width:].T, x[first:last].T, x[last:].T))
        for diagonal, below, current, rest in steps:  # L y = x
            dtrsm(1, diagonal, current, side=1, overwrite_b=1)
            if rest.size:
                dgemm(-1, current, below, 1, rest, overwrite_c=1)
        for diagonal, below, current, rest in reversed(steps):  # Lᵀ z = y
            if rest.size:
                dgemm(-1, rest, below, 1, current, trans_b=1, overwrite_c=1)
            dtrsm(1, diagonal, current, side=1, trans_a=1, overwrite_b=1)
        return x
