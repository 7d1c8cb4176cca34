from shoal.core.files cimport File
from shoal.core.kernels.structs cimport Moments, Rows


cdef void *address(object array, str type, Py_ssize_t length, list kept,
                   bint writable=*) except? NULL


cdef class RowArgs:
    cdef Rows struct
    cdef list kept
    cdef str type
    cdef File file          # where x is; None: elsewhere
    cdef object stored      # StoredRows that x is read from; None: elsewhere


cdef class Args:
    cdef void *pointer      # to the struct that the kernel reads
    cdef list kept          # the arrays it points into
    cdef RowArgs over       # rows that a run goes over, where the struct begins with Rows
    cdef Py_ssize_t size    # bytes of that struct
    cdef void set_rows(self, RowArgs rows, Rows *struct, Py_ssize_t size)
