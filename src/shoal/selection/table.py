"""What `select_n_clusters` returns: fits, their scores as a table, and the one chosen."""

from importlib.util import find_spec
from typing import Any

import numpy as np

from shoal.core.extras import import_pandas
from shoal.selection.knee import find_knee

# of each score: whether more is better
SCORES = {
    "inertia": False,
    "silhouette": True,
    "davies_bouldin": False,
    "calinski_harabasz": True,
    "bic": False,
    "aic": False,
}


class ClusterSelection:
    """Fits for several numbers of clusters, and their scores.

    Parameters
    ----------
    estimators : list of estimators
        The fits, by covariance type, then by number of clusters.
    n_clusters : list of int
        Of each fit.
    covariance_types : list of str, or None
        Of each fit, where these are mixtures of several types.
    scores : dict of str to ndarray of shape (n_fits,)
        NaN where a score is not defined.
    criterion : str
        The score that decides.

    Attributes
    ----------
    estimators, n_clusters, covariance_types, scores, criterion
        As above.
    best_index : int
        Number of the fit that is chosen: the best by the criterion, the first of several;
        for inertia, that at the knee.
    best_estimator, best_n_clusters, best_covariance_type, best_score
        What it is; the last two are None and a float.
    """

    def __init__(
        self,
        estimators: list,
        n_clusters: list[int],
        covariance_types: list[str] | None,
        scores: dict[str, np.ndarray],
        criterion: str,
    ) -> None:
        self.estimators, self.covariance_types = estimators, covariance_types
        self.n_clusters = np.array(n_clusters)
        self.scores, self.criterion = scores, criterion
        self.best_index = self._choose()
        self.best_estimator = estimators[self.best_index]
        self.best_n_clusters = int(self.n_clusters[self.best_index])
        self.best_score = float(scores[criterion][self.best_index])
        self.best_covariance_type = None
        if covariance_types is not None:
            self.best_covariance_type = covariance_types[self.best_index]

    def _choose(self) -> int:
        index = self.find_best(self.criterion)
        if index is not None:
            return index
        if self.criterion == "inertia":  # it falls all along a straight line
            return int(np.argmin(self.scores["inertia"]))
        raise ValueError(
            f"{self.criterion} is defined for none of these numbers of clusters: "
            "give some from 2 to n_samples - 1"
        )

    def find_best(self, score: str) -> int | None:
        """Number of the best fit by a score; for inertia, that at the knee.

        Parameters
        ----------
        score : str

        Returns
        -------
        index : int or None
            The first of several; None where no score is defined, or there is no knee.
        """
        values = self.scores[score]
        if score == "inertia":
            return self.knee
        if np.isnan(values).all():
            return None
        return int(np.nanargmax(values) if SCORES[score] else np.nanargmin(values))

    @property
    def knee(self) -> int | None:
        """Number of the fit at the knee of the inertia: see `find_knee`; None without one."""
        if "inertia" not in self.scores:
            return None
        return find_knee(self.n_clusters, self.scores["inertia"])

    @property
    def table(self) -> Any:
        """A row a fit: a pandas data frame where pandas is installed, else `to_numpy`."""
        return self.to_pandas() if find_spec("pandas") else self.to_numpy()

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {"n_clusters": self.n_clusters}
        if self.covariance_types is not None:
            columns["covariance_type"] = np.array(self.covariance_types)
        return columns | self.scores

    def to_numpy(self) -> np.ndarray:
        """The table as a structured array."""
        columns = self._columns()
        found = np.empty(
            len(self.n_clusters), [(name, value.dtype) for name, value in columns.items()]
        )
        for name, value in columns.items():
            found[name] = value
        return found

    def to_pandas(self) -> Any:
        """The table as a pandas data frame."""
        return import_pandas().DataFrame(self._columns())

    def __repr__(self) -> str:
        """The table, with a star at the fit that is chosen."""
        columns = self._columns()
        cells = [["", *columns]]
        for i in range(len(self.n_clusters)):
            values = (value[i] for value in columns.values())
            texts = (f"{v:.6g}" if isinstance(v, float) else str(v) for v in values)
            cells.append(["*" if i == self.best_index else "", *texts])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = (
            " ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
            for row in cells
        )
        return "\n".join(lines) + f"\n* by {self.criterion}"
