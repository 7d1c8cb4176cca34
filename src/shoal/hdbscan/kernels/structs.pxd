"""The arguments of the kernels of HDBSCAN's hierarchy.

A dendrogram of n rows has n - 1 merges in ascending order of height; merge k is node n + k,
and rows are nodes 0 to n - 1. All values are float64: the kernels are run as "f8".
"""

from libc.stdint cimport int32_t, int64_t, uint8_t


ctypedef struct MergeWeights:
    Py_ssize_t n
    const int64_t *children    # [n - 1, 2]
    const double *weights      # [n]; NULL where all are 1
    double *sizes              # [n - 1]: weight of the rows under each merge


ctypedef struct Condensation:
    # Merges of equal height that are parents of each other are one split: see condense.pyx.
    Py_ssize_t n
    double min_size
    const int64_t *children    # [n - 1, 2]
    const double *heights      # [n - 1]
    const double *weights      # [n]; NULL where all are 1
    const double *row_heights  # [n], with weights: at which the copies of a row part
    bint counts_units          # weights are whole: units of 1 leave one by one
    const double *sizes        # [n - 1]: weight of each merge
    const double *row_counts   # [n - 1]: rows of each merge
    # what group_merges finds
    int32_t *top               # [n - 1]: the topmost merge of the split; of the last one given
    double *falling            # [n - 1]: weight of the small parts, at the top; zero at the start
    int32_t *n_large           # [n - 1]: number of large parts, at the top; zero at the start
    # the state of condense_merges; of the last merge zero and, for `fell_at`, -1
    int32_t *cluster           # [n - 1]
    int32_t *fell_at           # [n - 1]: the split at which a small part left; -1: it is in the
    int32_t *depth             # [n - 1]  cluster; splits above
    int32_t *first             # [n - 1]: leaves before those of the merge
    int64_t *n_clusters        # [1]: found so far, the root included
    # rows, and clusters as they are found
    int32_t *row_cluster       # [n]: what a row falls out of
    double *row_lambda         # [n]
    int32_t *parent            # [clusters]
    double *birth              # [clusters]
    double *death              # [clusters]: the largest lambda at which something leaves
    double *size               # [clusters]
    double *stability          # [clusters]: of the rows alone; zero at the start
    int32_t *birth_depth       # [clusters]
    int32_t *birth_first       # [clusters]


ctypedef struct ClusterTree:
    # Clusters in an order in which parents come first; cluster 0 is the root.
    Py_ssize_t n_clusters
    const int32_t *parent      # [clusters]
    const double *birth        # [clusters]
    const double *size         # [clusters]
    # select_by_mass
    bint allows_root
    double max_size
    double *stability          # [clusters]: of clusters not selected, that of their subtree
    double *subtree            # [clusters]: sums of the children's; zero at the start
    double *rounding           # [clusters]: what these sums lost; zero at the start
    uint8_t *selected          # [clusters]
    # find_owners
    bint nested                # selected clusters may lie within each other
    int32_t *owner             # [clusters]: the selected cluster that a cluster is part of, or -1
    # climb_to_epsilon
    double epsilon
    int32_t *target            # [clusters]
    # find_last_deaths
    double *last_death         # [clusters]: at the start the death of each


ctypedef struct Cut:
    # Components of the first merges of a dendrogram.
    Py_ssize_t n
    const int64_t *children    # [n - 1, 2]
    int32_t *representative    # [n - 1]
    uint8_t *rank              # [n - 1]


ctypedef struct Separations:
    # Where clusters part from the k selected ones. In preorder, the selected clusters that are
    # part of a cluster follow each other, itself the first.
    Py_ssize_t n_clusters
    Py_ssize_t k
    const int32_t *parent      # [clusters]
    const double *birth        # [clusters]
    const int32_t *label       # [clusters]: of selected clusters; -1: not selected
    int32_t *count             # [clusters]: selected ones that are part of it; zero at the start
    int32_t *first             # [clusters]: the place of the first of them
    int32_t *next_place        # [clusters]: of what is not yet placed
    int32_t *columns           # [k]: the label at each place
    const int32_t *clusters    # [rows]: those that are asked for
    double *lambdas            # [rows, k]; NaN: one is part of the other


ctypedef struct GroupSquares:
    # Squared distances from rows to the nearest point of each group.
    Py_ssize_t n
    Py_ssize_t d
    Py_ssize_t n_groups
    const double *panels       # [panels, d, TILE]
    const double *points       # [points, d], one group after the other
    const int64_t *starts      # [n_groups + 1]: the first point of each; none is empty
    double *squares            # [n, n_groups]


ctypedef struct KthLeast:
    # The k-th least value of each run of values, of which one follows the other.
    Py_ssize_t k
    const double *values       # [starts[n_runs]]
    const int64_t *starts      # [n_runs + 1]
    double *least              # [n_runs]; infinite where a run has fewer


ctypedef struct DistancePrim:
    # Prim's algorithm under mutual reachability from row 0. Step k adds the nearest of the n - 1 -
    # k rows that are left: the first ones of `rest`.
    Py_ssize_t n
    Py_ssize_t first_step      # that a run takes
    const double *matrix       # [n, n]: distances; NULL: those of the row added last are in `found`
    const double *found        # [rows left]: in the order of `rest`
    double alpha               # what distances are divided by
    const double *cores        # [n]
    int32_t *rest              # [n - 1]
    double *reach              # [n - 1]: distances of the rest to the tree; infinite at the start
    int32_t *source            # [n - 1]: the row of the tree that is as near; zero at the start
    int32_t *left              # [n - 1]: of the edge that each step adds
    int32_t *right             # [n - 1]: the row that it adds
    double *heights            # [n - 1]
    int64_t *state             # [2]: see the enum below; zero at the start


cdef enum:                     # what DistancePrim.state holds
    CURRENT = 0                # the row added last
    PLACE = 1                  # that it had among the rest
