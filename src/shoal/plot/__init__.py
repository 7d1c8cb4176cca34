"""Pictures of clusterings, in the manner of scikit-learn's displays; by matplotlib.

A display has ``from_estimator``, and ``from_predictions`` where labels are enough; it keeps what
it computed, and draws it again by ``plot(ax=...)``. matplotlib (``pip install "shoal[plot]"``)
is imported when the first one is drawn.
"""

from shoal.plot.boundary import DecisionBoundaryDisplay
from shoal.plot.centers import CentersDisplay
from shoal.plot.density import DBSCANDisplay, KDistanceDisplay
from shoal.plot.mixture import MixtureDisplay
from shoal.plot.selection import ElbowDisplay, SelectionDisplay
from shoal.plot.silhouette import SilhouetteDisplay
from shoal.plot.trees import CondensedTreeDisplay, DendrogramDisplay

__all__ = [
    "CentersDisplay",
    "CondensedTreeDisplay",
    "DBSCANDisplay",
    "DecisionBoundaryDisplay",
    "DendrogramDisplay",
    "ElbowDisplay",
    "KDistanceDisplay",
    "MixtureDisplay",
    "SelectionDisplay",
    "SilhouetteDisplay",
]
