"""What tests of patching let other processes do."""

import numpy as np
import sklearn.cluster

import shoal


def where_it_runs(X=None):
    """Where a fit of scikit-learn's KMeans runs in this process."""
    sklearn.cluster.KMeans(2, random_state=0).fit(np.eye(9) if X is None else X)
    return {line.where for line in shoal.report()}


def where_hdbscan_runs(X):
    """Where a fit of the hdbscan package's class runs in this process."""
    import hdbscan

    hdbscan.HDBSCAN().fit(X)
    return {line.where for line in shoal.report()}
