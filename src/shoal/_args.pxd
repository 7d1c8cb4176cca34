from shoal.kernels.structs cimport (
    Assignment, Centers, Measure, Moments, Packing, Reduction, Rows, Search, Seeding, Update,
)


cdef class Args:
    cdef void *pointer      # to the struct that the kernel reads
    cdef list kept          # the arrays it points into


cdef class RowArgs:
    cdef Rows struct
    cdef list kept
    cdef str type


cdef class CenterArgs:
    cdef Centers struct
    cdef list kept
    cdef str type
