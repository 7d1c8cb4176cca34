"""Mixtures of normals, under the names of `sklearn.mixture`."""

from shoal.core.public import publish
from shoal.mixture.bayesian import BayesianGaussianMixture
from shoal.mixture.gaussian import GaussianMixture

__all__ = ["BayesianGaussianMixture", "GaussianMixture"]
publish(__name__, globals())
