"""Products of a sparse graph of n nodes with vectors, for spectral clustering.

    Y = α A X + β X + γ Y

a step of a Chebyshev recurrence: T_{m+1}(A) X = 2 A T_m(A) X - T_{m-1}(A) X takes the place of
T_{m-1}(A) X. A has its values in CSR form; X and Y have the vectors of a node side by side, so
that each of its neighbours is one stretch of memory.

Cost: 2·(nonzeros + 3·n) flops a vector; 12 bytes a nonzero, and 8 bytes a vector and nonzero from
whichever cache holds X.
"""

from cpython.pycapsule cimport PyCapsule_New

from shoal.core.kernels.vec cimport VL, real, v_fma, v_load, v_mul, v_set1, v_store, vreal
from shoal.spectral.kernels.panel cimport NR, NR_VECTORS
from shoal.spectral.kernels.structs cimport SparseGraph

cdef inline void combine_row(const SparseGraph *g, Py_ssize_t i, Py_ssize_t panel) noexcept nogil:
    """NR values of row i of Y."""
    cdef const real *x = <const real *> g.x + panel
    cdef real *y = <real *> g.y + i * g.n_vectors + panel
    cdef vreal acc[NR_VECTORS]
    cdef vreal value
    cdef vreal alpha = v_set1(g.alpha), beta = v_set1(g.beta), gamma = v_set1(g.gamma)
    cdef const real *neighbor
    cdef Py_ssize_t l
    cdef int m
    for m in range(NR_VECTORS):
        acc[m] = v_set1(0)
    for l in range(g.indptr[i], g.indptr[i + 1]):
        value = v_set1(g.values[l])
        neighbor = x + g.indices[l] * g.n_vectors
        for m in range(NR_VECTORS):
            acc[m] = v_fma(value, v_load(neighbor + m * VL), acc[m])
    for m in range(NR_VECTORS):
        value = v_mul(gamma, v_load(y + m * VL))
        value = v_fma(beta, v_load(x + i * g.n_vectors + m * VL), value)
        v_store(y + m * VL, v_fma(alpha, acc[m], value))


cdef void multiply_sparse_graph(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                void *scratch) noexcept nogil:
    """Rows start .. stop - 1 of Y."""
    cdef const SparseGraph *g = <const SparseGraph *> args
    cdef Py_ssize_t i, panel
    for i in range(start, stop):
        panel = 0
        while panel < g.n_vectors:
            combine_row(g, i, panel)
            panel += NR


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "multiply_sparse_graph": PyCapsule_New(<void *> multiply_sparse_graph, "shoal.kernel", NULL),
}
