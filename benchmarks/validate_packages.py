"""Test suites of packages that cluster by scikit-learn, plain and under `python -m shoal`.

    python benchmarks/validate_packages.py
    python benchmarks/validate_packages.py --only imblearn skimage --sources FOLDER

Suites that packages install are named by module; those that are in a package's source alone
by a path below FOLDER, which holds the sources of scikit-image, umap, yellowbrick, scikit-lego,
sklearn-onnx and librosa under these names. What is not there is left out. Each suite is run twice
with the same random order of hashes, and the outcome of each test is compared. Packages that take
fitted estimators (ONNX, SHAP, MLflow, skops) are given those that `to_sklearn` makes. The exit code
is 1 where a test passes plain and not under the patch, or such a package makes another answer.
Needs pytest.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

WHOLE = "sklearn, whole"  # hours: only if it is named, with a --timeout to match
# name of a line -> what pytest is given: --pyargs MODULES, or paths below --sources
SUITES = {
    "sklearn.cluster": "sklearn.cluster",
    "sklearn.mixture": "sklearn.mixture",
    "sklearn.metrics.cluster": "sklearn.metrics.cluster",
    "sklearn.preprocessing (KBinsDiscretizer)": "sklearn.preprocessing.tests.test_discretization",
    "sklearn.pipeline": "sklearn.tests.test_pipeline",
    "sklearn.model_selection (searches)": "sklearn.model_selection.tests.test_search",
    # the other modules whose tests name what is patched
    "sklearn, all else that comes to it": (
        "sklearn.feature_selection.tests.test_sequential sklearn.frozen "
        "sklearn.inspection._plot.tests.test_boundary_decision_display "
        "sklearn.inspection.tests.test_partial_dependence "
        "sklearn.manifold.tests.test_spectral_embedding sklearn.metrics.tests.test_score_objects "
        "sklearn.model_selection.tests.test_validation "
        "sklearn.neighbors.tests.test_neighbors_pipeline "
        "sklearn.tests.test_base "
        "sklearn.tests.test_discriminant_analysis sklearn.tests.test_docstring_parameters "
        "sklearn.tests.test_docstrings sklearn.tests.test_metaestimators "
        "sklearn.tests.test_public_functions sklearn.utils._repr_html.tests.test_estimator "
        "sklearn.utils.tests.test_response"
    ),
    "sklearn.tests.test_common (every estimator)": "sklearn.tests.test_common",
    "sklearn.utils (estimator checks)": "sklearn.utils.tests.test_estimator_checks",
    WHOLE: "sklearn",
    "hdbscan": (
        "hdbscan.tests.test_hdbscan hdbscan.tests.test_prediction_utils hdbscan.tests.test_flat "
        "hdbscan.tests.test_branches"
    ),
    "imblearn (KMeansSMOTE)": "imblearn.over_sampling._smote.tests.test_kmeans_smote",
    "imblearn (ClusterCentroids)": "imblearn.under_sampling._prototype_generation",
    "skimage (Fisher vectors)": "scikit-image/tests/skimage/feature/test_fisher_vector.py",
    "umap (iris, aligned, operations)": (
        "umap/umap/tests/test_umap_on_iris.py umap/umap/tests/test_aligned_umap.py "
        "umap/umap/tests/test_umap_ops.py"
    ),
    "yellowbrick (cluster)": "yellowbrick/tests/test_cluster",
    "scikit-lego (mixtures)": (
        "scikit-lego/tests/test_estimators/test_gmm_naive_bayes.py "
        "scikit-lego/tests/test_estimators/test_mixture_classifier.py "
        "scikit-lego/tests/test_estimators/test_mixture_detector.py "
        "scikit-lego/tests/test_model_selection/test_clusterfold.py"
    ),
    "skl2onnx (k-means, mixtures)": (
        "sklearn-onnx/tests/test_sklearn_k_means_converter.py "
        "sklearn-onnx/tests/test_sklearn_gaussian_mixture_converter.py"
    ),
    "librosa (segments)": "librosa/tests/test_segment.py",
}
# packages that take what `to_sklearn` makes: modules that are needed, and what asserts it
PREPARED = """
import numpy as np, shoal
X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
fitted = [shoal.KMeans(3, random_state=0), shoal.MiniBatchKMeans(3, random_state=0)]
fitted += [shoal.BisectingKMeans(3, random_state=0), shoal.GaussianMixture(2, random_state=0)]
fitted = [estimator.fit(X) for estimator in fitted]
"""
USES = {
    "skl2onnx onnxruntime": """
import onnxruntime, skl2onnx
for estimator in fitted:
    if isinstance(estimator, shoal.BisectingKMeans):
        continue  # which it does not know
    model = skl2onnx.to_onnx(estimator.to_sklearn(), X).SerializeToString()
    run = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run
    assert (run(None, {"X": X})[0].ravel() == estimator.predict(X)).all()
""",
    "skops": """
import skops.io
fitted += [shoal.DBSCAN(eps=1).fit(X), shoal.HDBSCAN().fit(X), shoal.OPTICS().fit(X)]
fitted += [shoal.AgglomerativeClustering(3).fit(X), shoal.SpectralClustering(3).fit(X)]
for estimator in fitted:
    data = skops.io.dumps(estimator.to_sklearn())
    types = skops.io.get_untrusted_types(data=data)
    assert not any("shoal" in name for name in types)
    loaded = skops.io.loads(data, trusted=types)
    for name in {"labels_", "means_"} & vars(estimator).keys():
        assert (getattr(loaded, name) == getattr(estimator, name)).all()
""",
    "shap": """
import shap
plain = shap.kmeans(X, 5)
with shoal.patched():
    patched = shap.kmeans(X, 5)
assert shoal.report()[0].where == "shoal"
assert np.allclose(plain.data, patched.data) and (plain.weights == patched.weights).all()
explainer = shap.KernelExplainer(fitted[0].to_sklearn().predict, patched.data)
assert explainer.shap_values(X[:3], silent=True).shape == (3, 4)
""",
    "mlflow": """
import tempfile, mlflow.sklearn
for estimator in fitted:
    with tempfile.TemporaryDirectory() as folder:
        model = estimator.to_sklearn()
        mlflow.sklearn.save_model(model, f"{folder}/model", serialization_format="pickle")
        loaded = mlflow.sklearn.load_model(f"{folder}/model")
    assert (loaded.predict(X) == estimator.predict(X)).all()
""",
}
OPTIONS = {"hdbscan": ["--hdbscan"]}  # of `python -m shoal` for one suite
REPORTED = re.compile(r"^shoal: (\d+) calls, \S+ s, scikit-learn: (\d+) calls", re.M)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--sources", type=Path, help="folder of sources that have suites")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for a suite")
    options = parser.parse_args()
    rows = []
    for name, where in SUITES.items():
        wanted = not options.only or any(part in name for part in options.only)
        if not wanted or (name == WHOLE and WHOLE not in options.only):
            continue
        target = locate(where, options.sources)
        if target is None:
            print(f"{name}: not here", flush=True)
            continue
        try:
            rows.append((name, *compare(target, options.timeout, OPTIONS.get(name, []))))
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}", flush=True)
            continue
        print(*rows[-1], sep=" | ", flush=True)
    used = {}
    for modules, code in USES.items():
        wanted = not options.only or any(part in modules for part in options.only)
        if wanted and all(find_spec(module) for module in modules.split()):
            done = subprocess.run([sys.executable, "-c", PREPARED + code], check=False)
            used[modules] = "the same answers" if done.returncode == 0 else "fails"
            print(modules, used[modules], sep=" | ", flush=True)
    print("\n" + table(rows))
    print(*(f"| `to_sklearn()`: {name} | {outcome} |" for name, outcome in used.items()), sep="\n")
    sys.exit(any(row[-1] for row in rows) or "fails" in used.values())


def locate(where, sources):
    """Arguments of pytest, or None where the suite is not here."""
    if "/" not in where:
        try:
            modules = where.split()
            return ["--pyargs", *modules] if all(map(find_spec, modules)) else None
        except ModuleNotFoundError:
            return None
    paths = [sources.resolve() / path for path in where.split()] if sources else []
    return list(map(str, paths)) if paths and all(path.exists() for path in paths) else None


def compare(target, timeout, options):
    """Outcomes plain, outcomes patched, calls, seconds of both, tests that are worse."""
    plain, _, plain_seconds = run([], target, timeout)
    patched, errors, seconds = run(["-m", "shoal", "--report", *options], target, timeout)
    calls = REPORTED.findall(errors)
    worse = {test: patched.get(test, "is missing") for test in plain}
    worse = {
        test: outcome
        for test, outcome in worse.items()
        if plain[test] == "passed" and outcome != "passed"
    }
    text = f"{calls[0][0]}, {calls[0][1]} left" if calls else ""
    return Counter(plain.values()), Counter(patched.values()), text, plain_seconds, seconds, worse


def run(prefix, target, timeout):
    """Run a suite: the outcome of each test, what was written to stderr, and seconds."""
    environment = os.environ | {"PYTHONHASHSEED": "0", "MPLBACKEND": "agg"}
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        # sources import their `tests`; installed suites must not find those of this folder
        home = re.sub("/tests/.*", "", target[0]) if target[0] != "--pyargs" else folder
        command = [sys.executable, *prefix, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        begun = time.perf_counter()
        done = subprocess.run(
            [*command, f"--junitxml={results}", *target],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        seconds = time.perf_counter() - begun
        if not results.exists():
            raise FileNotFoundError(f"no results of pytest: {done.stdout[-500:]}{done.stderr}")
        return dict(read(results)), done.stderr, seconds


def read(results):
    """Name and outcome of each test."""
    for case in ElementTree.parse(results).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        yield name, kinds[0] if kinds else "passed"


def table(rows):
    lines = ["| suite | passed | skipped | failed, plain too | failed | calls by shoal |"]
    lines.append("|---|---:|---:|---:|---:|---|")
    for name, _, patched, calls, _, _, worse in rows:
        failed = patched["failure"] + patched["error"]
        both = failed - sum(outcome in ("failure", "error") for outcome in worse.values())
        counts = [patched["passed"], patched["skipped"], both, failed - both]
        lines.append(f"| {name} | {' | '.join(map(str, counts))} | {calls} |")
        lines += [f"| ↳ {test} | | | | {outcome} | |" for test, outcome in worse.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
