from libc.stdint cimport int64_t


ctypedef struct Source:
    # Rows in a file: their offset, shape and type.
    int descriptor
    int64_t begin              # byte at which row 0 starts
    Py_ssize_t n
    Py_ssize_t d
    Py_ssize_t itemsize        # bytes of a value in the file
    Py_ssize_t real_size       # bytes of a value in memory: 4 or 8
    char kind                  # f, i or u, as in numpy; 0: values are as in memory
    bint is_swapped            # byte order is not native
    const char *held           # the first n_held rows, in memory; NULL: none
    Py_ssize_t n_held


cdef class File:
    cdef Source source
    cdef readonly str name
    cdef File owner            # the File that closes the descriptor; None: this one
    cdef readonly tuple shape
    cdef readonly object dtype
    cdef readonly object stored    # dtype of the values in the file
    cdef object memory         # the array of the rows that are held


cdef Py_ssize_t read_cached(const Source *s, Py_ssize_t start, Py_ssize_t stop, char *out,
                            char *raw) noexcept nogil
cdef int read_rest(const Source *s, Py_ssize_t start, Py_ssize_t stop, char *out, char *raw,
                   Py_ssize_t done) noexcept nogil
cdef void convert_rows(const Source *s, Py_ssize_t start, Py_ssize_t stop, char *out,
                       char *raw) noexcept nogil
cdef int read_rows(const Source *s, Py_ssize_t start, Py_ssize_t stop, char *out,
                   char *raw) noexcept nogil
cdef Py_ssize_t raw_bytes(const Source *s, Py_ssize_t rows) noexcept nogil
cdef object reading_failed(File file, int error)
