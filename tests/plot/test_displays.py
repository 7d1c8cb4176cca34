"""Displays: what is drawn, by its structure, and how bad input is refused."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.exceptions import NotFittedError

import shoal
import shoal.plot
from shoal.plot import (
    CentersDisplay,
    CondensedTreeDisplay,
    DBSCANDisplay,
    DecisionBoundaryDisplay,
    DendrogramDisplay,
    ElbowDisplay,
    KDistanceDisplay,
    MixtureDisplay,
    SelectionDisplay,
    SilhouetteDisplay,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

X = make_blobs(300, centers=[[0, 0], [5, 5], [0, 9]], random_state=0)[0]
MANY = make_blobs(3000, centers=200, center_box=(-40, 40), cluster_std=0.3, random_state=1)[0]
MOONS = make_moons(300, noise=0.05, random_state=0)[0]
DIGITS = load_digits().data
KMEANS = shoal.KMeans(3, random_state=0).fit(X)
MIXTURE = shoal.GaussianMixture(3, random_state=0).fit(X)
DENSE = shoal.DBSCAN(eps=0.15).fit(MOONS)
TREE = shoal.AgglomerativeClustering(3, compute_distances=True).fit(X)
HIERARCHY = shoal.HDBSCAN(min_cluster_size=10, copy=True).fit(MOONS)


@pytest.fixture(autouse=True)
def close_figures():
    from matplotlib import pyplot

    yield
    for number in pyplot.get_fignums():  # whatever a test has drawn can be rendered
        pyplot.figure(number).canvas.draw()
    pyplot.close("all")


def every_display():
    """Each, drawn by a function of keywords."""
    selection = shoal.select_n_clusters(X, range(2, 6), random_state=0)
    yield "silhouette", lambda **kw: SilhouetteDisplay.from_estimator(KMEANS, X, **kw)
    yield "elbow", lambda **kw: ElbowDisplay.from_selection(selection, **kw)
    yield "selection", lambda **kw: SelectionDisplay.from_selection(selection, **kw)
    yield "boundary", lambda **kw: DecisionBoundaryDisplay.from_estimator(KMEANS, X, **kw)
    yield "mixture", lambda **kw: MixtureDisplay.from_estimator(MIXTURE, X, **kw)
    yield "dbscan", lambda **kw: DBSCANDisplay.from_estimator(DENSE, MOONS, **kw)
    yield "distances", lambda **kw: KDistanceDisplay.from_estimator(DENSE, MOONS, **kw)
    yield "dendrogram", lambda **kw: DendrogramDisplay.from_estimator(TREE, **kw)
    yield "condensed", lambda **kw: CondensedTreeDisplay.from_estimator(HIERARCHY, **kw)
    yield "centers", lambda **kw: CentersDisplay.from_estimator(KMEANS, **kw)


EVERY = dict(every_display())


@pytest.mark.parametrize("name", EVERY)
def test_convention(name):
    """A figure of its own, or the axes given; drawn again by plot."""
    from matplotlib import pyplot

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        display = EVERY[name]()
    assert display.figure_ is display.ax_.figure
    figure, axes = pyplot.subplots(1, 2)
    assert display.plot(ax=axes[1]) is display
    assert display.figure_ is figure
    if name == "selection":  # its panels take the place of the axes
        assert not axes[1].axison and len(figure.axes) == 2 + len(display.axes_)
    else:
        assert display.ax_ is axes[1] and not axes[0].has_data()


@pytest.mark.parametrize("name", EVERY)
def test_dark_backgrounds_and_small_figures(name):
    from matplotlib import pyplot

    with pyplot.style.context("dark_background"):
        figure, ax = pyplot.subplots(figsize=(2.8, 2.2), layout="constrained")
        EVERY[name](ax=ax)
        figure.canvas.draw()
    from shoal.plot.base import foreground

    assert foreground(ax) == "white"


def test_silhouettes():
    display = SilhouetteDisplay.from_estimator(KMEANS, X, alpha=0.5)
    expected = shoal.silhouette_samples(X, KMEANS.labels_)
    assert display.silhouette_score == pytest.approx(expected.mean())
    assert len(display.polygons_) == 3 and display.polygons_[0].get_alpha() == 0.5
    bottom = 0.0
    for label, polygon in enumerate(display.polygons_):
        points = polygon.get_paths()[0].vertices
        mine = expected[KMEANS.labels_ == label]
        assert np.ptp(points[:, 1]) == pytest.approx(len(mine))
        assert points[:, 0].max() == pytest.approx(mine.max())
        assert points[:, 1].min() > bottom
        bottom = points[:, 1].max()
    assert display.line_.get_xdata()[0] == display.silhouette_score
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["0", "1", "2"]


def test_silhouettes_of_labels():
    """Strings; noise left out, and said so; many clusters, of which some have a number."""
    words = np.array(["a", "b", "c"])[KMEANS.labels_]
    assert SilhouetteDisplay.from_predictions(X, words).classes.tolist() == ["a", "b", "c"]
    labels = np.where(np.arange(300) < 30, -1, KMEANS.labels_)
    display = SilhouetteDisplay.from_predictions(X, labels)
    expected = shoal.silhouette_samples(X[30:], labels[30:])
    np.testing.assert_array_equal(display.silhouettes, expected)
    assert display.note == "30 rows of noise left out"
    model = shoal.KMeans(200, random_state=0).fit(MANY)
    display = SilhouetteDisplay.from_estimator(model, MANY)
    assert len(display.polygons_) == 200
    places = display.ax_.get_yticks()
    per_label = display.ax_.get_window_extent().height / len(places)
    assert 3 < len(places) < 200 and per_label > 10


def test_silhouettes_of_a_sample(tmp_path):
    display = SilhouetteDisplay.from_estimator(KMEANS, X, sample_size=100)
    assert len(display.silhouettes) == 100 and display.note == "100 of 300 rows"
    np.save(tmp_path / "x.npy", X)
    from_file = SilhouetteDisplay.from_estimator(KMEANS, tmp_path / "x.npy", sample_size=100)
    np.testing.assert_array_equal(from_file.silhouettes, display.silhouettes)
    other = SilhouetteDisplay.from_estimator(KMEANS, X[:50] + 0.1)  # predicted
    np.testing.assert_array_equal(other.labels, KMEANS.predict(X[:50] + 0.1))


def test_outlines_are_short():
    """A million rows are drawn by few points."""
    rng = np.random.default_rng(0)
    display = SilhouetteDisplay(rng.random(10**6), rng.integers(5, size=10**6)).plot()
    assert sum(len(p.get_paths()[0].vertices) for p in display.polygons_) < 5000


def test_elbow():
    display = ElbowDisplay.from_estimator(shoal.KMeans(random_state=0), X, range(1, 8))
    assert display.knee == 3
    np.testing.assert_array_equal(display.line_.get_xdata(), range(1, 8))
    np.testing.assert_array_equal(display.line_.get_ydata(), display.inertia)
    assert display.knee_.get_xdata() == [3]
    straight = ElbowDisplay([1, 2, 3], [3.0, 2.0, 1.0]).plot()
    assert straight.knee is None and straight.knee_ is None
    selection = shoal.select_n_clusters(X, range(2, 4), scores=["silhouette"], random_state=0)
    with pytest.raises(ValueError, match="has no inertia"):
        ElbowDisplay.from_selection(selection)


def test_selection():
    display = SelectionDisplay.from_estimator(
        shoal.GaussianMixture(random_state=0), X, range(1, 6), covariance_types=["full", "diag"]
    )
    assert [len(lines) for lines in display.lines_] == [2, 2] and len(display.axes_) == 2
    best = display.selection.best_n_clusters
    assert any(set(line.get_xdata()) == {best} for line in display.axes_[0].lines)
    assert [t.get_text() for t in display.ax_.get_legend().texts] == ["full", "diag"]
    one = SelectionDisplay(display.selection).plot(scores=["aic"])
    assert [ax.get_title() for ax in one.axes_] == ["AIC (low)"]


def test_boundaries():
    display = DecisionBoundaryDisplay.from_estimator(KMEANS, X, resolution=50)
    assert display.regions.shape == (50, 50) and set(display.regions.flat) == {0, 1, 2}
    left, right, bottom, top = display.extent
    np.testing.assert_allclose(display.ax_.get_xlim(), (left, right))
    assert left < X[:, 0].min() and top > X[:, 1].max()
    row, column = 10, 40
    place = [
        left + (column + 0.5) / 50 * (right - left),
        bottom + (row + 0.5) / 50 * (top - bottom),
    ]
    assert KMEANS.predict([place])[0] == display.regions[row, column]
    assert len(display.boundaries_) == 2 and len(display.scatter_.get_offsets()) == 300
    np.testing.assert_array_equal(display.centers_.get_offsets(), KMEANS.cluster_centers_)


def test_boundaries_without_predict():
    """Regions of the nearest row."""
    display = DecisionBoundaryDisplay.from_estimator(TREE, X, resolution=40)
    again = DecisionBoundaryDisplay.from_predictions(X, TREE.labels_, resolution=40)
    np.testing.assert_array_equal(display.regions, again.regions)
    assert set(display.regions.flat) == {0, 1, 2} and display.centers_ is None


@pytest.mark.parametrize("d", [1, 2, 5, 64])
def test_features(d):
    """Axes are features, or say that they are principal axes."""
    rows = DIGITS[:300, 20 : 20 + d] if d < 64 else DIGITS[:300]
    labels = shoal.KMeans(2, random_state=0).fit(rows)
    for display in (
        DecisionBoundaryDisplay.from_estimator(labels, rows, resolution=20),
        DBSCANDisplay.from_predictions(rows, labels.labels_),
        MixtureDisplay.from_estimator(
            shoal.GaussianMixture(2, reg_covar=0.1, random_state=0).fit(rows), rows,
            resolution=20, quantile=0.1,
        ),
    ):  # fmt: skip
        word = "feature 0" if d <= 2 else "principal axis 1"
        assert display.ax_.get_xlabel().startswith(word)


def test_labels_of_any_kind():
    """Words, floats and large numbers, as colours go."""
    for labels in (
        np.array(["a", "b", "c"])[KMEANS.labels_],
        KMEANS.labels_ * 1.0,
        KMEANS.labels_ * 10**9,
        KMEANS.labels_ + 0.5,
    ):
        display = DBSCANDisplay.from_predictions(X, labels)
        assert len(np.unique(display.cores_.get_facecolors(), axis=0)) == 3
        regions = DecisionBoundaryDisplay.from_predictions(X, labels, resolution=20).regions
        assert len(np.unique(regions)) == 3


def test_rows_that_took_no_part():
    """Rows of NaN, which HDBSCAN leaves out, join a dendrogram at infinity."""
    rows = MOONS.copy()
    rows[3] = np.nan
    model = shoal.HDBSCAN(min_cluster_size=10, copy=True).fit(rows)
    display = DendrogramDisplay.from_estimator(model, max_leaves=20)
    assert len(display.branches_.get_segments()) == 36 and display.leaf_sizes.sum() == 300
    CondensedTreeDisplay.from_estimator(model)


def test_names_of_features():
    import pandas as pd

    frame = pd.DataFrame(X, columns=["height", "width"])
    MixtureDisplay.from_estimator(shoal.GaussianMixture(2).fit(frame), frame, resolution=20)
    SilhouetteDisplay.from_estimator(shoal.KMeans(3, random_state=0).fit(frame), frame[:50])
    display = DecisionBoundaryDisplay.from_estimator(
        shoal.KMeans(3, random_state=0).fit(frame), frame, resolution=20
    )
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("height", "width")


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_mixture(kind):
    model = shoal.GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    display = MixtureDisplay.from_estimator(model, X, quantile=0.04, resolution=60)
    assert len(display.ellipses_) == 6 and display.anomalies.sum() == 12
    assert len(display.anomalies_.get_offsets()) == 12
    # in two dimensions the marginal mixture is the mixture
    np.testing.assert_allclose(display.marginal.score_samples(X), model.score_samples(X))
    variances = np.linalg.eigvalsh(display.marginal.covariances_[0])
    widths = sorted([display.ellipses_[0].width, display.ellipses_[0].height])
    np.testing.assert_allclose(widths, 2 * np.sqrt(variances))
    assert MixtureDisplay.from_estimator(model, X, resolution=20).anomalies_ is None


def test_mixture_without_weight():
    """A component that no row has left draws no ellipse."""
    model = shoal.BayesianGaussianMixture(
        n_components=8, weight_concentration_prior=1e-5, random_state=0, max_iter=500
    ).fit(X)
    display = MixtureDisplay.from_estimator(model, X, resolution=30)
    assert len(display.ellipses_) == 2 * np.sum(model.weights_ >= 1e-3) < 16


def test_dbscan():
    display = DBSCANDisplay.from_estimator(DENSE, MOONS)
    is_core = np.isin(np.arange(300), DENSE.core_sample_indices_)
    n_noise = np.sum(DENSE.labels_ < 0)
    assert n_noise and len(display.noise_.get_offsets()) == n_noise
    assert len(display.cores_.get_offsets()) == is_core.sum()
    assert len(display.borders_.get_offsets()) == 300 - is_core.sum() - n_noise
    n_clusters = DENSE.labels_.max() + 1
    title = f"{n_clusters} cluster{'' if n_clusters == 1 else 's'}"
    assert display.ax_.get_legend().get_title().get_text() == title
    noise = DBSCANDisplay.from_estimator(shoal.DBSCAN(eps=1e-9).fit(MOONS), MOONS)
    assert noise.cores_ is None is noise.borders_
    assert noise.ax_.get_legend().get_title().get_text() == "0 clusters"
    assert DBSCANDisplay.from_estimator(HIERARCHY, MOONS).borders_ is None


def test_many_points_are_sampled_and_rasterized():
    rows = np.random.default_rng(0).random((1_000_000, 3))
    labels = np.arange(1_000_000) % 200
    display = DBSCANDisplay.from_predictions(rows, labels)
    assert len(display.points) == 20_000 and display.note == "20,000 of 1,000,000 rows"
    assert display.cores_.get_rasterized()


def test_k_distances():
    from sklearn.neighbors import NearestNeighbors

    expected = NearestNeighbors(n_neighbors=5).fit(MOONS).kneighbors(MOONS)[0][:, -1]
    display = KDistanceDisplay.from_estimator(DENSE, MOONS)
    np.testing.assert_allclose(display.distances, np.sort(expected))
    assert display.eps == 0.15 == display.eps_.get_ydata()[0]
    is_core = display.distances <= 0.15
    assert is_core.sum() == len(DENSE.core_sample_indices_)
    assert display.suggestion_.get_ydata()[0] == display.suggested_eps
    assert display.suggested_eps in display.distances
    for metric in ("manhattan", "cosine", "l2"):
        expected = NearestNeighbors(n_neighbors=4, metric=metric).fit(MOONS)
        expected = np.sort(expected.kneighbors(MOONS)[0][:, -1])
        found = KDistanceDisplay.from_data(MOONS, 4, metric=metric)
        np.testing.assert_allclose(found.distances, expected, atol=1e-12)
    sparse = KDistanceDisplay.from_data(sp.csr_array(MOONS), 5)
    np.testing.assert_allclose(sparse.distances, display.distances, atol=1e-7)
    equal = KDistanceDisplay.from_data(np.ones((9, 2)), 3)
    assert equal.suggested_eps is None is equal.suggestion_


def test_long_curves_keep_their_end():
    distances = np.sort(np.random.default_rng(0).pareto(2, 10**6))
    display = KDistanceDisplay(distances, 10).plot()
    assert len(display.line_.get_xdata()) < 4000
    assert display.line_.get_ydata()[-1] == distances[-1]


def test_dendrogram():
    display = DendrogramDisplay.from_estimator(TREE, max_leaves=10)
    assert len(display.branches_.get_segments()) == 18 and len(display.leaf_sizes) == 10
    assert display.leaf_sizes.sum() == 300
    above = np.sum(TREE.distances_ > display.threshold)
    assert above == 2  # cuts three clusters
    colors = {tuple(color) for color in display.branches_.get_colors()}
    assert len(colors) == 4
    whole = DendrogramDisplay.from_estimator(TREE, max_leaves=300)
    assert len(whole.branches_.get_segments()) == 598 and set(whole.leaf_sizes) == {1}


@pytest.mark.parametrize("linkage", ["ward", "complete", "average", "single"])
@pytest.mark.parametrize("max_leaves", [2, 3, 7, 60])
def test_colours_of_a_dendrogram_are_clusters(linkage, max_leaves):
    """Leaves of one colour are the rows of one cluster."""
    rows = X[::5]
    for k in (2, 3, 5):
        model = shoal.AgglomerativeClustering(k, linkage=linkage, compute_distances=True).fit(rows)
        display = DendrogramDisplay.from_estimator(model, max_leaves=max_leaves)
        colors = np.round(display.branches_.get_colors(), 6)
        lines = np.array(display.branches_.get_segments())
        is_below = lines[:, 1, 1] <= display.threshold
        assert (colors[~is_below, :3] == 0).all()
        sizes = np.sort(np.bincount(model.labels_))
        if max_leaves == 60 and is_below.any():
            is_leaf = (lines[:, 0, 1] == 0) & is_below
            found = np.unique(colors[is_leaf], axis=0, return_counts=True)[1]
            np.testing.assert_array_equal(np.sort(found), sizes[sizes > 1])


def test_merges_out_of_order():
    """Heights need not ascend, as of centroids: children come before parents all the same."""
    children = np.array([[0, 1], [2, 3], [4, 5], [6, 7]])
    display = DendrogramDisplay(children[:3], np.array([2.0, 1.0, 3.0])).plot()
    assert display.heights.tolist() == [1.0, 2.0, 3.0]
    assert display.children.tolist() == [[2, 3], [0, 1], [5, 4]]
    assert display.leaf_sizes.tolist() == [1, 1, 1, 1]


def test_condensed_tree():
    display = CondensedTreeDisplay.from_estimator(HIERARCHY)
    from matplotlib.patches import Ellipse

    n_clusters = HIERARCHY.labels_.max() + 1
    assert sum(isinstance(a, Ellipse) for a in display.ax_.get_children()) == n_clusters
    assert display.tree.n_selected == n_clusters


def test_centers():
    model = shoal.KMeans(10, random_state=0).fit(DIGITS)
    display = CentersDisplay.from_estimator(model, image_shape=(8, 8))
    assert len(display.images_) == 10 and not display.lines_
    image = display.images_[3].get_array()
    np.testing.assert_array_equal(image, model.cluster_centers_[3].reshape(8, 8))
    titles = [text.get_text() for text in display.ax_.texts]
    assert titles[0] == f"0: {np.sum(model.labels_ == 0)}"
    lines = CentersDisplay.from_estimator(model)
    assert len(lines.lines_) == 10 and len(lines.lines_[0].get_xdata()) == 64
    colours = CentersDisplay(np.random.default_rng(0).random((4, 12)), image_shape=(2, 2, 3)).plot()
    assert colours.images_[0].get_array().shape == (2, 2, 3)
    many = CentersDisplay(DIGITS[:200], image_shape=(8, 8)).plot()
    assert len(many.images_) == 200 and not many.ax_.texts
    extents = np.array([image.get_extent() for image in many.images_])
    assert len(np.unique(extents, axis=0)) == 200


def bad_calls():
    holes = X.copy()
    holes[3, 1] = np.nan
    yield SilhouetteDisplay.from_predictions, (holes, KMEANS.labels_), "contains NaN"
    yield SilhouetteDisplay.from_predictions, (X, KMEANS.labels_[:-1]), "inconsistent numbers"
    yield SilhouetteDisplay.from_predictions, (X, np.zeros(300)), "Number of labels is 1"
    yield SilhouetteDisplay.from_predictions, (X, np.full(300, -1)), "All rows are noise"
    yield DecisionBoundaryDisplay.from_predictions, (X, np.full(300, -1)), "All rows are noise"
    yield DecisionBoundaryDisplay.from_estimator, (KMEANS, holes), "contains NaN"
    yield DecisionBoundaryDisplay.from_estimator, (TREE, X[:9]), "can't predict"
    yield DecisionBoundaryDisplay.from_estimator, (KMEANS, X[:, :1]), "features"
    yield MixtureDisplay.from_estimator, (MIXTURE, holes), "contains NaN"
    yield DBSCANDisplay.from_estimator, (DENSE, X[:9]), "inconsistent numbers"
    yield KDistanceDisplay.from_data, (holes,), "contains NaN"
    yield KDistanceDisplay.from_data, (X, 301), "k must be an integer from 1"
    yield KDistanceDisplay.from_data, (X, 2.5), "k must be an integer"
    yield DBSCANDisplay.from_predictions, (X, KMEANS.labels_, [300]), "must be from 0 to 299"
    yield KDistanceDisplay.from_estimator, (KMEANS, X), "no min_samples"
    yield DendrogramDisplay.from_estimator, (KMEANS,), "no tree"
    flat = shoal.AgglomerativeClustering(3).fit(X)
    yield DendrogramDisplay.from_estimator, (flat,), "compute_distances=True"
    yield CondensedTreeDisplay.from_estimator, (KMEANS,), "no condensed tree"
    yield CentersDisplay.from_estimator, (DENSE,), "no centers"
    yield CentersDisplay, (np.full((2, 3), np.nan),), "contains NaN"


@pytest.mark.parametrize(("function", "args", "message"), list(bad_calls()))
def test_bad_calls(function, args, message):
    from matplotlib import pyplot

    with pytest.raises(ValueError, match=message):
        function(*args)
    assert not pyplot.get_fignums()  # nothing half drawn is left


def test_bad_settings():
    with pytest.raises(ValueError, match="image_shape"):
        CentersDisplay.from_estimator(KMEANS, image_shape=(8, 8))
    with pytest.raises(ValueError, match="quantile"):
        MixtureDisplay.from_estimator(MIXTURE, X, quantile=2)
    with pytest.raises(ValueError, match="max_leaves"):
        DendrogramDisplay.from_estimator(TREE, max_leaves=1)


@pytest.mark.parametrize(
    ("display", "model"),
    [
        (SilhouetteDisplay, KMEANS),
        (DecisionBoundaryDisplay, KMEANS),
        (MixtureDisplay, MIXTURE),
        (DBSCANDisplay, DENSE),
        (DendrogramDisplay, TREE),
        (CondensedTreeDisplay, HIERARCHY),
        (CentersDisplay, KMEANS),
    ],
)
def test_unfitted(display, model):
    with pytest.raises(NotFittedError):
        display.from_estimator(clone(model), X)


def test_one_cluster():
    model = shoal.KMeans(1, random_state=0).fit(X)
    display = DecisionBoundaryDisplay.from_estimator(model, X, resolution=20)
    assert display.boundaries_ == [] and len(display.centers_.get_offsets()) == 1
    MixtureDisplay.from_estimator(shoal.GaussianMixture(1).fit(X), X, resolution=20)
    tree = shoal.AgglomerativeClustering(1, compute_distances=True).fit(X)
    assert DendrogramDisplay.from_estimator(tree).threshold is None


def test_matplotlib_is_imported_when_drawn(monkeypatch):
    code = "import sys, shoal.plot; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    for draw in EVERY.values():
        with pytest.raises(ImportError, match=r'pip install "shoal\[plot\]"'):
            draw()
