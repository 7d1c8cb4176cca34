"""Where a condensed matrix (SciPy's word) of m points holds d(i, j), i < j: row by row."""


cdef inline Py_ssize_t row_start(Py_ssize_t m, Py_ssize_t i) noexcept nogil:
    """Index of d(i, i + 1)."""
    return i * m - i * (i + 1) // 2


cdef inline Py_ssize_t condensed_index(Py_ssize_t m, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Index of d(i, j)."""
    if i > j:
        i, j = j, i
    return row_start(m, i) + j - i - 1
