"""to_sklearn and from_sklearn, for every estimator."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import sklearn.cluster
import sklearn.ensemble
from sklearn.datasets import make_blobs

import shoal
from shoal.accel.table import pairs
from shoal.core.convert import parameter_names

X = make_blobs(150, 3, centers=4, random_state=1)[0]
CLASSES = [pair for pair in pairs() if pair.is_class]
ANSWERS = ("predict", "transform", "predict_proba", "score_samples", "score")


def parameters(cls):
    wanted = {"n_clusters": 3, "n_components": 3, "random_state": 0, "eps": 1.2, "copy": True}
    wanted["gamma"] = 0.1  # a graph in one part: of others, scikit-learn 1.8 may miss some
    return {name: value for name, value in wanted.items() if name in parameter_names(cls)}


@pytest.mark.parametrize("pair", CLASSES, ids=lambda pair: pair.name)
def test_there_and_back(pair):
    ours = pair.ours(**parameters(pair.ours)).fit(X)
    theirs = ours.to_sklearn()
    assert type(theirs) is pair.theirs
    assert b"shoal" not in pickle.dumps(theirs)
    shared = parameter_names(pair.theirs)
    params = {name: value for name, value in ours.get_params().items() if name in shared}
    assert theirs.get_params() == params
    fitted = pair.theirs(**parameters(pair.theirs)).fit(X)
    assert {n for n in vars(fitted) if n.endswith("_")} <= vars(theirs).keys()

    back = shoal.from_sklearn(theirs)
    assert type(back) is pair.ours
    assert {name: back.get_params()[name] for name in params} == params
    for other in (theirs, back, shoal.from_sklearn(fitted)):
        if hasattr(ours, "labels_"):
            np.testing.assert_array_equal(other.labels_, ours.labels_)
        for name in ANSWERS:
            if hasattr(fitted, name):
                expected = getattr(ours, name)(X)
                np.testing.assert_allclose(getattr(other, name)(X), expected, rtol=1e-6, atol=1e-20)
    if hasattr(theirs, "partial_fit"):
        for other in (theirs, back):
            other.partial_fit(X)
        np.testing.assert_allclose(theirs.cluster_centers_, back.cluster_centers_)


@pytest.mark.parametrize("pair", CLASSES, ids=lambda pair: pair.name)
def test_unfitted(pair):
    theirs = pair.ours(**parameters(pair.ours)).to_sklearn()
    assert theirs.get_params() == pair.theirs(**parameters(pair.theirs)).get_params()
    assert not hasattr(theirs, "n_features_in_")
    assert type(shoal.from_sklearn(theirs)) is pair.ours
    ours = shoal.from_sklearn(theirs)
    assert shoal.from_sklearn(ours) is ours


def test_hdbscan_trees_come_along():
    """What scikit-learn keeps of a fit is enough for trees, scores and cuts."""
    rows = X.copy()
    rows[[3, 50]] = np.nan
    rows[7] = np.inf
    theirs = sklearn.cluster.HDBSCAN(copy=True).fit(rows)
    found = shoal.from_sklearn(theirs)
    expected = shoal.HDBSCAN().fit(rows)
    merges = len(X) - 4  # of rows that are finite
    trees = [each._single_linkage_tree_[:merges] for each in (found, theirs)]
    np.testing.assert_array_equal(*trees)
    with pytest.raises(AttributeError, match="was fitted by scikit-learn"):
        found.predict(X)
    tree, same = (each.condensed_tree_.to_numpy() for each in (found, expected))
    np.testing.assert_allclose(np.sort(tree["lambda_val"]), np.sort(same["lambda_val"]))
    np.testing.assert_allclose(found.outlier_scores_, expected.outlier_scores_)
    np.testing.assert_array_equal(
        found.dbscan_clustering(1.0) < 0, expected.dbscan_clustering(1.0) < 0
    )


def test_bad_input():
    for stranger in (sklearn.ensemble.IsolationForest(), 3, sklearn.cluster.Birch()):
        with pytest.raises(TypeError, match="shoal has no"):
            shoal.from_sklearn(stranger)

    class Own(sklearn.cluster.KMeans):
        pass

    with pytest.raises(TypeError, match="shoal has no"):  # what it adds would be lost
        shoal.from_sklearn(Own())

    class Ours(shoal.KMeans):
        pass

    assert type(Ours(2).to_sklearn()) is sklearn.cluster.KMeans


def test_pickles_load_without_shoal(tmp_path):
    """In a process in which this package cannot be imported."""
    with shoal.patched():
        fitted = [pair.theirs(**parameters(pair.theirs)).fit(X) for pair in CLASSES]
    converted = [pair.ours(**parameters(pair.ours)).fit(X).to_sklearn() for pair in CLASSES]
    (tmp_path / "pickle").write_bytes(pickle.dumps((fitted + converted, X)))
    code = """
import pickle, sys
sys.modules["shoal"] = None
models, X = pickle.load(open(sys.argv[1], "rb"))
for model in models:
    for name in ("predict", "transform", "score", "partial_fit", "fit_predict"):
        if hasattr(model, name):
            getattr(model, name)(X)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "pickle")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
