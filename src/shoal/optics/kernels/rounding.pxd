"""np.around to 15 decimals, as scikit-learn rounds reachabilities: x · 1e15 to an integer, / 1e15.

Multiplying, rounding to an integer and dividing are monotone, so rounded bounds bound what is
rounded. Beyond 2^52 all numbers are integers.
"""

from libc.math cimport rint


cdef inline double round_to_decimals(double x) noexcept nogil:
    x *= 1e15
    if x < 4503599627370496.0:
        x = rint(x)
    return x / 1e15
