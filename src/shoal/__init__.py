"""Fast, exact clustering: scikit-learn's own answers, in less time and memory."""

from shoal._bayesian import BayesianGaussianMixture
from shoal._config import show_config
from shoal._kmeans import KMeans, k_means
from shoal._minibatch import MiniBatchKMeans
from shoal._mixture import GaussianMixture
from shoal._seeding import kmeans_plusplus

__all__ = [
    "BayesianGaussianMixture",
    "GaussianMixture",
    "KMeans",
    "MiniBatchKMeans",
    "k_means",
    "kmeans_plusplus",
    "show_config",
]
__version__ = "0.1.0"
