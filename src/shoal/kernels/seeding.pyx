"""k-means++ (Arthur & Vassilvitskii 2007), greedy: candidates against every row.

    potential_j = Σ_i w_i min(closest_i, |x_i - candidate_j|²)

Candidates lie in lanes and rows are broadcast, so that every sum runs over the
features, and then over the rows, in their order. Distances are summed directly (no
cancellation) in float64 and, where asked for, rounded to the data's type as
scikit-learn's are.

A row whose nearest seed s has |x - s| <= |s - candidate| / 2 can't come closer to
the candidate (triangle inequality; Raff 2021, arXiv:2105.02936, section 3), and is
not read. Distances are sums of squares with relative error (d + 4)·u in float64
and u once more when rounded; `reach` leaves 1e-6 for it.

Cost: 3·d flops for each open row and candidate; 12 bytes a settled row.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from shoal.kernels.row cimport weight
from shoal.kernels.kmeans_structs cimport Search, Seeding
from shoal.kernels.vec cimport (
    CANDIDATE_ROWS, CANDIDATE_VECTORS, CANDIDATES, DL, d_add, d_less, d_load, d_max, d_min,
    d_mul, d_muladd, d_round, d_set1, d_store, d_sub, real, vdouble,
)

cdef enum:
    SHORT = 8  # rows of fewer features are sooner read than left out


ctypedef struct Distances:
    vdouble to[CANDIDATE_ROWS][CANDIDATE_VECTORS]


cdef inline void dense_distances(const Seeding *a, const Py_ssize_t *row, bint rounded,
                                 Distances *found) noexcept nogil:
    """|x - candidate|² of CANDIDATE_ROWS rows to every candidate.

    `rounded` takes the origin off first, in the data's type; else there is no need.
    """
    cdef Py_ssize_t d = a.rows.d, l
    cdef const real *origin = <const real *> a.rows.origin
    cdef const real *x[CANDIDATE_ROWS]
    cdef const double *candidate = a.candidates
    cdef vdouble c[CANDIDATE_VECTORS]
    cdef vdouble acc[CANDIDATE_ROWS][CANDIDATE_VECTORS]
    cdef vdouble t, e
    cdef int r, m
    for r in range(CANDIDATE_ROWS):
        x[r] = <const real *> a.rows.x + row[r] * d
        for m in range(CANDIDATE_VECTORS):
            acc[r][m] = d_set1(0)
    for l in range(d):
        for m in range(CANDIDATE_VECTORS):
            c[m] = d_load(candidate + m * DL)
        for r in range(CANDIDATE_ROWS):
            if rounded:
                t = d_set1(<double> (x[r][l] - origin[l]))
            else:
                t = d_set1(<double> x[r][l])
            for m in range(CANDIDATE_VECTORS):
                e = d_sub(t, c[m])
                acc[r][m] = d_muladd(e, e, acc[r][m])
        candidate += CANDIDATES
    for r in range(CANDIDATE_ROWS):
        for m in range(CANDIDATE_VECTORS):
            found.to[r][m] = acc[r][m]


cdef inline void sparse_distances(const Seeding *a, const Py_ssize_t *row,
                                  Distances *found) noexcept nogil:
    """The same for rows of CSR data: |x|² + |c|² - 2 x·c, at least 0.

    Each term is the same from x to c as from c to x, so that equal potentials stay equal.
    """
    cdef const real *x = <const real *> a.rows.x
    cdef const double *candidate
    cdef vdouble acc[CANDIDATE_VECTORS]
    cdef vdouble squared
    cdef double norm, t
    cdef Py_ssize_t l
    cdef int r, m
    for r in range(CANDIDATE_ROWS):
        norm = 0
        for m in range(CANDIDATE_VECTORS):
            acc[m] = d_set1(0)
        for l in range(a.rows.indptr[row[r]], a.rows.indptr[row[r] + 1]):
            t = x[l]
            norm += t * t
            candidate = a.candidates + a.rows.indices[l] * CANDIDATES
            for m in range(CANDIDATE_VECTORS):
                acc[m] = d_muladd(d_set1(t), d_load(candidate + m * DL), acc[m])
        for m in range(CANDIDATE_VECTORS):
            squared = d_add(d_load(a.norms + m * DL), d_set1(norm))
            squared = d_sub(squared, d_add(acc[m], acc[m]))
            found.to[r][m] = d_max(squared, d_set1(0))


cdef inline void distances(const Seeding *a, Py_ssize_t *row, Py_ssize_t count,
                           Distances *found) noexcept nogil:
    """Distances of `count` rows; a short group repeats its last row."""
    cdef int r, m
    for r in range(count, CANDIDATE_ROWS):
        row[r] = row[count - 1]
    if a.rows.indptr != NULL:
        sparse_distances(a, row, found)
    elif a.rounded:
        dense_distances(a, row, True, found)
    else:
        dense_distances(a, row, False, found)
    if a.rounded:
        for r in range(CANDIDATE_ROWS):
            for m in range(CANDIDATE_VECTORS):
                found.to[r][m] = d_round(found.to[r][m])


cdef inline void look(const Seeding *a, Py_ssize_t *row, Py_ssize_t count,
                      vdouble *potentials) noexcept nogil:
    """Add open rows to the potentials and note which candidates are nearer to them."""
    cdef Distances found
    cdef real *columns = <real *> a.columns
    cdef double values[CANDIDATES]
    cdef vdouble closest, squared, w
    cdef Py_ssize_t r, j
    cdef int m, nearer
    distances(a, row, count, &found)
    for r in range(count):
        closest = d_set1(a.closest[row[r]])
        w = d_set1(weight(&a.rows, row[r]))
        nearer = 0
        for m in range(CANDIDATE_VECTORS):
            squared = found.to[r][m]
            nearer |= d_less(squared, closest) << (m * DL)
            squared = d_min(squared, closest)
            potentials[m] = d_add(potentials[m], d_mul(w, squared))
            if columns != NULL:
                d_store(values + m * DL, squared)
        a.nearer[row[r]] = nearer
        if columns != NULL:
            for j in range(a.n_candidates):
                columns[j * a.rows.n + row[r]] = <real> values[j]


cdef void seed(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
               void *scratch) noexcept nogil:
    """Potentials over rows start .. stop - 1."""
    cdef Seeding *a = <Seeding *> args
    cdef real *columns = <real *> a.columns
    cdef double *out = a.potentials + block * CANDIDATES
    cdef vdouble potentials[CANDIDATE_VECTORS]
    cdef Py_ssize_t row[CANDIDATE_ROWS]
    cdef Py_ssize_t n_open = 0, i, j
    cdef double settled = 0
    cdef bint prune = a.rows.indptr != NULL or a.rows.d >= SHORT
    cdef int m
    for m in range(CANDIDATE_VECTORS):
        potentials[m] = d_set1(0)
    for i in range(start, stop):
        if prune and a.nearest[i] >= 0 and a.closest[i] <= a.reach[a.nearest[i]]:
            settled += weight(&a.rows, i) * a.closest[i]
            a.nearer[i] = 0
            if columns != NULL:
                for j in range(a.n_candidates):
                    columns[j * a.rows.n + i] = <real> a.closest[i]
            continue
        row[n_open] = i
        n_open += 1
        if n_open == CANDIDATE_ROWS:
            look(a, row, n_open, potentials)
            n_open = 0
    if n_open:
        look(a, row, n_open, potentials)
    for m in range(CANDIDATE_VECTORS):
        d_store(out + m * DL, d_add(potentials[m], d_set1(settled)))


cdef inline void take(const Seeding *a, Py_ssize_t *row, Py_ssize_t count) noexcept nogil:
    cdef Distances found
    cdef double values[CANDIDATES]
    cdef Py_ssize_t r
    cdef int m
    distances(a, row, count, &found)
    for r in range(count):
        for m in range(CANDIDATE_VECTORS):
            d_store(values + m * DL, found.to[r][m])
        a.closest[row[r]] = values[a.chosen]
        a.nearest[row[r]] = a.seed


cdef void accept(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                 void *scratch) noexcept nogil:
    """Make the chosen candidate the seed of the rows that it is nearer to."""
    cdef Seeding *a = <Seeding *> args
    cdef Py_ssize_t row[CANDIDATE_ROWS]
    cdef Py_ssize_t n_open = 0, i
    cdef uint64_t eight, wanted = <uint64_t> 0x0101010101010101 << a.chosen
    i = start - 1
    while i + 1 < stop:
        i += 1
        if i + 8 <= stop:  # most rows are not nearer
            memcpy(&eight, a.nearer + i, 8)
            if not eight & wanted:
                i += 7
                continue
        row[n_open] = i
        n_open += a.nearer[i] >> a.chosen & 1
        if n_open == CANDIDATE_ROWS:
            take(a, row, n_open)
            n_open = 0
    if n_open:
        take(a, row, n_open)


cdef void search(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                 void *scratch) noexcept nogil:
    """First row whose running sum of w·closest reaches each target (ascending).

    The sum runs one row after the other as numpy's cumsum does, and in the data's own
    type where `rounded`: in float32 its rounding decides which row is drawn.
    """
    cdef Search *a = <Search *> args
    cdef const real *weights = <const real *> a.weights
    cdef double running = 0, w = 1
    cdef Py_ssize_t i, t = 0
    for i in range(start, stop):
        if weights != NULL:
            w = weights[i]
        if a.rounded:
            running = <real> (<real> running + <real> (<real> w * <real> a.closest[i]))
        else:
            running += w * a.closest[i]
        while t < a.n_targets and running >= a.targets[t]:
            a.found[t] = i
            t += 1
        if t == a.n_targets:
            return
    while t < a.n_targets:
        a.found[t] = stop - 1
        t += 1


# What _run.py hands to threads: name -> address.
kernels = {
    "seed": PyCapsule_New(<void *> seed, "shoal.kernel", NULL),
    "accept": PyCapsule_New(<void *> accept, "shoal.kernel", NULL),
    "search": PyCapsule_New(<void *> search, "shoal.kernel", NULL),
}

candidates = CANDIDATES
