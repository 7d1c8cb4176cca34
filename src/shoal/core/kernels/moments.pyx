"""Sum, and sum of squares about the mean, of each feature of a block of rows.

Sums of squares about the mean merge as in Chan, Golub & LeVeque (1983), eq. 2.1. Cost: 5
flops a value, one read of the rows from memory and one from the cache.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from shoal.core.kernels.row cimport Sums
from shoal.core.kernels.structs cimport Moments
from shoal.core.kernels.vec cimport TILE_CENTERS, TILE_ROWS, real

cdef enum:
    CHUNK = 128     # rows whose mean is computed before their squares
    FEATURES = 256  # at a time, so that their sums stay in the first-level cache


cdef inline void add_moments(const real *x, Py_ssize_t count, const real *following,
                             Py_ssize_t n_following, Py_ssize_t stride, Py_ssize_t d, Sums sums,
                             Sums mean, Sums squares, Sums next_mean) noexcept nogil:
    """squares = Σ (x - mean)² of a chunk; sums += Σ x of the following chunk, and its next_mean.

    Of d features of rows `stride` values apart. Both in one loop, because each sum is added up
    in the order of the rows: an addition waits for the latency of the one before it, in which
    additions to the other sums are free.
    """
    cdef Py_ssize_t i, l
    cdef double e
    for l in range(d):
        squares[l] = 0
        next_mean[l] = 0
    for i in range(min(count, n_following)):
        for l in range(d):
            e = x[i * stride + l] - mean[l]
            squares[l] += e * e
            next_mean[l] += following[i * stride + l]
            sums[l] += following[i * stride + l]
    for i in range(n_following, count):
        for l in range(d):
            e = x[i * stride + l] - mean[l]
            squares[l] += e * e
    for i in range(count, n_following):
        for l in range(d):
            next_mean[l] += following[i * stride + l]
            sums[l] += following[i * stride + l]
    for l in range(d):
        next_mean[l] /= n_following


cdef void moments(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                  void *scratch) noexcept nogil:
    """Sum, and sum of squares about the mean, of each feature; scratch: 4·d doubles."""
    cdef Moments *a = <Moments *> args
    cdef Py_ssize_t d = a.rows.d, chunk = start, end = start, last, l
    cdef double *sums = a.sums + block * d
    cdef double *squares = a.squares + block * d
    cdef double *mean = <double *> scratch
    cdef double *part = mean + d
    cdef double *mean_change = part + d  # mean of the rows before the chunk, less the chunk's mean
    cdef double *next_mean = mean_change + d
    cdef const real *x = <const real *> a.rows.x
    cdef const real *part_of
    cdef const real *next_of
    cdef double before, count
    memset(sums, 0, d * sizeof(double))
    memset(squares, 0, d * sizeof(double))
    while True:
        last = min(stop, end + CHUNK)  # the next chunk is end .. last - 1
        before = chunk - start
        count = end - chunk
        for l in range(d):
            mean_change[l] = (sums[l] - count * mean[l]) / before - mean[l] if before > 0 else 0
        l = 0
        while l < d:
            part_of = x + chunk * d + l
            next_of = x + end * d + l
            if d == 1:  # constant lengths, so that the compiler unrolls
                add_moments(part_of, end - chunk, next_of, last - end, 1, 1, sums, mean, part,
                            next_mean)
                l += 1
            elif d == 2:  # gcc compiles two features at once to slow code
                add_moments(part_of, end - chunk, next_of, last - end, 2, 1, sums + l, mean + l,
                            part + l, next_mean + l)
                l += 1
            elif d == 3:
                add_moments(part_of, end - chunk, next_of, last - end, 3, 3, sums, mean, part,
                            next_mean)
                l += 3
            else:
                add_moments(part_of, end - chunk, next_of, last - end, d,
                            min(<Py_ssize_t> FEATURES, d - l), sums + l, mean + l, part + l,
                            next_mean + l)
                l += FEATURES
        for l in range(d):
            if before > 0:
                part[l] += mean_change[l] * mean_change[l] * (before / (before + count)) * count
            squares[l] += part[l]
        if end == stop:
            break
        mean, next_mean = next_mean, mean
        chunk, end = end, last


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "moments": PyCapsule_New(<void *> moments, "shoal.kernel", NULL),
}

# Sizes that depend on the instruction set and that Python must know.
constants = {"tile_rows": TILE_ROWS, "tile_centers": TILE_CENTERS}
