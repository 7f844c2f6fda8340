"""Tangent spaces of the data manifold, and the control subspaces that they are compared with."""

from tangency.tangents.agreement import Agreement, agreement, reach, space_agreement
from tangency.tangents.autoencoders.network import Autoencoder, ConvAutoencoder, autoencoder_losses
from tangency.tangents.autoencoders.spaces import AutoencoderTangents
from tangency.tangents.controls import (
    FixedTangents,
    ShuffledTangents,
    dct_tangents,
    partners_apart,
    pca_tangents,
    random_tangents,
)
from tangency.tangents.curved import Retraction, curved_path
from tangency.tangents.denoiser import DenoiserTangents, KrylovOptions
from tangency.tangents.differences import DenoiserDifferences, DifferenceOptions
from tangency.tangents.exact import WorldTangents
from tangency.tangents.local_pca import LocalPCATangents
from tangency.tangents.mixture import MixtureTangents
from tangency.tangents.principal import PrincipalAxes, pca_basis, principal_axes
from tangency.tangents.references import Ground, open_tangents
from tangency.tangents.score_svd import ScoreSVDTangents
from tangency.tangents.shams import SHAMS, Sham, StepwiseTangents, refuse_own_space, sham_tangents
from tangency.tangents.soft import SoftAlignment, soft_alignment
from tangency.tangents.space import SharedSpaces, TangentEstimator, TangentSpace, coincide, numbered
from tangency.tangents.stored import StoredTangents, plan_store, store_tangents

__all__ = [
    "SHAMS",
    "Agreement",
    "Autoencoder",
    "AutoencoderTangents",
    "ConvAutoencoder",
    "DenoiserDifferences",
    "DenoiserTangents",
    "DifferenceOptions",
    "FixedTangents",
    "Ground",
    "KrylovOptions",
    "LocalPCATangents",
    "MixtureTangents",
    "PrincipalAxes",
    "Retraction",
    "ScoreSVDTangents",
    "Sham",
    "SharedSpaces",
    "ShuffledTangents",
    "SoftAlignment",
    "StepwiseTangents",
    "StoredTangents",
    "TangentEstimator",
    "TangentSpace",
    "WorldTangents",
    "agreement",
    "autoencoder_losses",
    "coincide",
    "curved_path",
    "dct_tangents",
    "numbered",
    "open_tangents",
    "partners_apart",
    "pca_basis",
    "pca_tangents",
    "plan_store",
    "principal_axes",
    "random_tangents",
    "reach",
    "refuse_own_space",
    "sham_tangents",
    "soft_alignment",
    "space_agreement",
    "store_tangents",
]
