"""The arguments of the kernels of mixtures: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.mixture.kernels.structs cimport Elementwise, Estimation, Exact, Factors, Mixture

from shoal.core.parallel import load_kernels

load_kernels("shoal.mixture.kernels", "estimate", "expect", "expect_low", "factorise")


cdef class ExactArgs:
    """The components in float64; see the struct."""

    cdef Exact struct
    cdef list kept

    def __init__(self, k, d, *, means, factors, constants, center, double reach, double size):
        self.kept = []
        cdef Exact *e = &self.struct
        shape = factors.shape
        if shape not in ((k, d, d), (d, d), (k, d)):
            raise ValueError(f"factors of shape {shape} for {k} components, {d} features")
        e.diagonal = factors.ndim == 2 and shape != (d, d)
        e.step = 0 if shape == (d, d) else d if e.diagonal else d * d
        e.means = <const double *> address(means, "f8", k * d, self.kept)
        e.factors = <const double *> address(factors, "f8", factors.size, self.kept)
        e.constants = <const double *> address(constants, "f8", k, self.kept)
        e.center = <const double *> address(center, "f8", d, self.kept)
        e.reach = reach
        e.size = size
        e.largest = constants.max()
        e.height = abs(constants).max()


cdef class MixtureArgs(Args):
    cdef Mixture struct

    def __init__(self, str type, RowArgs rows, Py_ssize_t k, Py_ssize_t chunk,
                 Py_ssize_t n_blocks, *, origin, reference, factors, shifts, constants, totals,
                 Py_ssize_t n_factors, Py_ssize_t n_moments, labels=None, given=None,
                 moments=None, log_norm=None, posterior=None, assigned=None,
                 ExactArgs exact=None):
        cdef Mixture *a = &self.struct
        cdef Py_ssize_t n = rows.struct.n, d = rows.struct.d, fours = (k + 3) // 4 * 4
        self.set_rows(rows, &a.rows, sizeof(Mixture))
        if assigned is not None and exact is None:
            raise ValueError("to assign rows takes the components in float64")
        if (rows.type, type) == ("f8", "f4"):
            raise ValueError("float64 rows are not narrowed")
        a.narrow = rows.type != type
        a.rows.origin = address(origin, type, d + 8, self.kept)
        a.k = k
        a.chunk = chunk
        a.n_factors = n_factors
        a.n_moments = n_moments
        a.reference = address(reference, type, k * (d + 8), self.kept)
        a.factors = address(factors, type, factors.size, self.kept)
        a.shifts = address(shifts, type, fours * d, self.kept)
        a.constants = address(constants, type, fours, self.kept)
        a.labels = <const int32_t *> address(labels, "i4", n, self.kept)
        a.given = address(given, type, n * k, self.kept)
        a.moments = <double *> address(moments, "f8", n_blocks * k * n_moments, self.kept, True)
        a.totals = <double *> address(totals, "f8", 4 * n_blocks, self.kept, True)
        a.log_norm = address(log_norm, type, n, self.kept, True)
        a.posterior = address(posterior, type, n * k, self.kept, True)
        a.assigned = <int64_t *> address(assigned, "i8", n, self.kept, True)
        if exact is not None:
            a.exact = exact.struct
            self.kept.append(exact)


cdef class ElementwiseArgs(Args):
    cdef Elementwise struct

    def __init__(self, str type, x, out):
        cdef Elementwise *a = &self.struct
        self.pointer = a
        a.n = len(x)
        a.x = address(x, type, a.n, self.kept)
        a.out = address(out, type, a.n, self.kept, True)


cdef class EstimationArgs(Args):
    cdef Estimation struct

    def __init__(self, k, d, *, weight, first, second, reference, nk, delta, means, lost,
                 bint divide, double eps, double added, double rounding, double digits):
        cdef Estimation *a = &self.struct
        self.pointer = a
        a.d = d
        a.diagonal = second is not None and second.ndim == 2
        a.divide = divide
        a.eps = eps
        a.added = added
        a.rounding = rounding
        a.digits = digits
        a.weight = <const double *> address(weight, "f8", k, self.kept)
        a.first = <const double *> address(first, "f8", k * d, self.kept)
        length = k * d if a.diagonal else k * d * d
        a.second = <double *> address(second, "f8", length, self.kept, True)
        a.reference = <const double *> address(reference, "f8", k * d, self.kept)
        a.nk = <double *> address(nk, "f8", k, self.kept, True)
        a.delta = <double *> address(delta, "f8", k * d, self.kept, True)
        a.means = <double *> address(means, "f8", k * d, self.kept, True)
        a.lost = <uint8_t *> address(lost, "u1", k, self.kept, True)


cdef class FactorArgs(Args):
    cdef Factors struct

    def __init__(self, k, d, covariances, factors, definite):
        cdef Factors *a = &self.struct
        self.pointer = a
        a.d = d
        a.covariances = <const double *> address(covariances, "f8", k * d * d, self.kept)
        a.factors = <double *> address(factors, "f8", k * d * d, self.kept, True)
        a.definite = <uint8_t *> address(definite, "u1", k, self.kept, True)
