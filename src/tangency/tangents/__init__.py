"""Tangent spaces of the data manifold, and the control subspaces they are judged against."""

from tangency.tangents.controls import pca_basis
from tangency.tangents.exact import WorldTangents
from tangency.tangents.mixture import MixtureTangents
from tangency.tangents.space import TangentEstimator, TangentSpace

__all__ = ["MixtureTangents", "TangentEstimator", "TangentSpace", "WorldTangents", "pca_basis"]
