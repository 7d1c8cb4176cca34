"""When a row is a near-tie, and the canonical rules by which candidates.pyx decides it.

Computed in float64 whatever the data's type, in one order of summation, and fused only
where written so: the bits are the same under every instruction set. The two rules are
scikit-learn's (sklearn/cluster/_k_means_lloyd.pyx, _k_means_elkan.pyx):

- lloyd: least |c_j|² - 2 x·c_j, a chain of fused steps as in the BLAS kernels that
  scikit-learn calls, so that exact ties of small data are resolved alike; the lowest index
  wins a tie.
- elkan: least √Σ(x - c_j)², summed in fours; the current label wins a tie, else
  the lowest index.

When is it needed? The tile's v_j errs by at most e_j = (D + 5)·u·(|c_j|² + 2|x||c_j|),
with u the unit roundoff and D the longest chain of additions (tile.pxd cuts the
features into stretches): D fused steps, the roundings of x, c and |c|², and of the
products where nothing is fused. Two centers can change places only where
v_second - v_best <= 2 max e_j. Each of these bounds e_j:

- |c_j|² + 2|x||c_j| <= 2 r² + |x|² with r the largest |c_j|;
- |c_j|² + 2|x||c_j| <= (2|x| + d_j)² <= 8|x|² + 2 d_j² with d_j² = |x|² + v_j, which
  for j = second also covers every center further away: K (5|x|² + v_second) with
  K = 4 (D + 5) u. It holds whatever centers there are far out.

For float64 data the canonical routine errs by d + 5 steps, which are added. Where
products underflow, each of the D + 5 steps errs by up to the smallest normal value
besides (some libraries have subnormals flushed to zero): `underflow_error`.
"""

from shoal.core.kernels.vec cimport REAL_EPS, REAL_MAX, REAL_MIN, STRETCH, real


cdef inline double tie_margin(Py_ssize_t d) noexcept nogil:
    """K of the header, with 3 steps more for the rounding of the comparisons."""
    cdef Py_ssize_t depth = min(d, <Py_ssize_t> STRETCH) + d // STRETCH
    if sizeof(real) == 4:
        return 2.0 * (depth + 8) * REAL_EPS
    return 2.0 * (depth + 8 + d + 8) * REAL_EPS  # the canonical chain has no stretches


cdef inline real underflow_error(real margin) noexcept nogil:
    """What underflow adds to the error of a difference of two v_j."""
    return margin * <real> (2 * REAL_MIN / REAL_EPS)


cdef inline bint is_near_tie(real best, real second, real x_squared_norm, real margin,
                             real max_squared_norm) noexcept nogil:
    """Whether rounding could change which center is nearest, or sums could overflow.

    `x_squared_norm` is |x|², `max_squared_norm` the largest |c_j|².
    """
    cdef real underflow = underflow_error(margin)
    cdef real bound = max_squared_norm + max_squared_norm + x_squared_norm  # >= |c|² + 2|x||c|
    # cast, because literals in Cython are double and would make the arithmetic so
    cdef real one_minus_margin = <real> (1 - margin), five_margins = <real> (5 * margin)
    cdef real half_margin = <real> (margin / 2)
    return not (((second * one_minus_margin - best > five_margins * x_squared_norm + underflow)
                 | (second - best > half_margin * bound + underflow))
                & (bound < <real> (REAL_MAX / 8)))
