from shoal.core.args cimport Args
from shoal.space.kernels.structs cimport InputRows, KDTree, PackedTiles, TreeNodes


cdef void set_input_rows(InputRows *struct, x, list kept)


cdef class PackedTilesArgs:
    cdef PackedTiles struct
    cdef list kept
    cdef str type


cdef class KDTreeArgs:
    cdef KDTree struct
    cdef list kept
    cdef readonly str type
    cdef readonly Py_ssize_t n_tiles


cdef class TreeNodesArgs(Args):
    cdef TreeNodes struct
