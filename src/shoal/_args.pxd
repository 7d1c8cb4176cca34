from shoal.kernels.structs cimport Moments, Rows


cdef void *address(object array, str type, Py_ssize_t length, list kept,
                   bint writable=*) except? NULL


cdef class Args:
    cdef void *pointer      # to the struct that the kernel reads
    cdef list kept          # the arrays it points into


cdef class RowArgs:
    cdef Rows struct
    cdef list kept
    cdef str type
