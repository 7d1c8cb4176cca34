"""The arguments of the kernels of mixtures: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.mixture.kernels.structs cimport Cholesky, EStep, Elementwise, ExactComponents, MStep

from shoal.core.parallel import load_kernels

load_kernels("shoal.mixture.kernels", "e_step", "e_step_low")
load_kernels("shoal.mixture.kernels", "cholesky", "m_step", types=["f8"])


cdef class ExactComponentsArgs:
    """The components in float64; see the struct."""

    cdef ExactComponents struct
    cdef list kept

    def __init__(self, k, d, *, means, factors, constants, center, double radius,
                 double max_factor_norm):
        self.kept = []
        cdef ExactComponents *e = &self.struct
        shape = factors.shape
        if shape not in ((k, d, d), (d, d), (k, d)):
            raise ValueError(f"factors of shape {shape} for {k} components, {d} features")
        e.is_diagonal = factors.ndim == 2 and shape != (d, d)
        e.factor_stride = 0 if shape == (d, d) else d if e.is_diagonal else d * d
        e.means = <const double *> address(means, "f8", k * d, self.kept)
        e.factors = <const double *> address(factors, "f8", factors.size, self.kept)
        e.constants = <const double *> address(constants, "f8", k, self.kept)
        e.center = <const double *> address(center, "f8", d, self.kept)
        e.radius = radius
        e.max_factor_norm = max_factor_norm
        e.max_constant = constants.max()
        e.max_abs_constant = abs(constants).max()


cdef class EStepArgs(Args):
    cdef EStep struct

    def __init__(self, str type, RowArgs rows, Py_ssize_t k, Py_ssize_t chunk_rows,
                 Py_ssize_t n_blocks, *, origin, reference, factors, shifts, constants, totals,
                 Py_ssize_t factor_size, Py_ssize_t n_moments, given_labels=None, given_resp=None,
                 moments=None, log_prob_norm=None, resp=None, labels=None,
                 ExactComponentsArgs exact=None):
        cdef EStep *a = &self.struct
        cdef Py_ssize_t n = rows.struct.n, d = rows.struct.d, padded_k = (k + 3) // 4 * 4
        self.set_rows(rows, &a.rows, sizeof(EStep))
        if labels is not None and exact is None:
            raise ValueError("to assign rows takes the components in float64")
        if (rows.type, type) == ("f8", "f4"):
            raise ValueError("float64 rows are not narrowed")
        a.widens_rows = rows.type != type
        a.rows.origin = address(origin, type, d + 8, self.kept)
        a.k = k
        a.chunk_rows = chunk_rows
        a.factor_size = factor_size
        a.n_moments = n_moments
        a.reference = address(reference, type, k * (d + 8), self.kept)
        a.factors = address(factors, type, factors.size, self.kept)
        a.shifts = address(shifts, type, padded_k * d, self.kept)
        a.constants = address(constants, type, padded_k, self.kept)
        a.given_labels = <const int32_t *> address(given_labels, "i4", n, self.kept)
        a.given_resp = address(given_resp, type, n * k, self.kept)
        a.moments = <double *> address(moments, "f8", n_blocks * k * n_moments, self.kept, True)
        a.totals = <double *> address(totals, "f8", 4 * n_blocks, self.kept, True)
        a.log_prob_norm = address(log_prob_norm, type, n, self.kept, True)
        a.resp = address(resp, type, n * k, self.kept, True)
        a.labels = <int64_t *> address(labels, "i8", n, self.kept, True)
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


cdef class MStepArgs(Args):
    cdef MStep struct

    def __init__(self, k, d, *, weight, first, second, reference, nk, delta, means, lost_digits,
                 bint divides_by_nk, double eps, double reg_covar, double mean_rounding,
                 double max_cancellation):
        cdef MStep *a = &self.struct
        self.pointer = a
        a.d = d
        a.is_diagonal = second is not None and second.ndim == 2
        a.divides_by_nk = divides_by_nk
        a.eps = eps
        a.reg_covar = reg_covar
        a.mean_rounding = mean_rounding
        a.max_cancellation = max_cancellation
        a.weight = <const double *> address(weight, "f8", k, self.kept)
        a.first = <const double *> address(first, "f8", k * d, self.kept)
        length = k * d if a.is_diagonal else k * d * d
        a.second = <double *> address(second, "f8", length, self.kept, True)
        a.reference = <const double *> address(reference, "f8", k * d, self.kept)
        a.nk = <double *> address(nk, "f8", k, self.kept, True)
        a.delta = <double *> address(delta, "f8", k * d, self.kept, True)
        a.means = <double *> address(means, "f8", k * d, self.kept, True)
        a.lost_digits = <uint8_t *> address(lost_digits, "u1", k, self.kept, True)


cdef class CholeskyArgs(Args):
    cdef Cholesky struct

    def __init__(self, k, d, covariances, factors, is_definite):
        cdef Cholesky *a = &self.struct
        self.pointer = a
        a.d = d
        a.covariances = <const double *> address(covariances, "f8", k * d * d, self.kept)
        a.factors = <double *> address(factors, "f8", k * d * d, self.kept, True)
        a.is_definite = <uint8_t *> address(is_definite, "u1", k, self.kept, True)
