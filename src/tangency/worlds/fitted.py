"""W3: a mixture of factor analysers fitted to real images, taken as the truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from torch.nn import functional as F

from tangency.data import load
from tangency.errors import NumericsError, SpecError, unknown_name
from tangency.mixtures import fit_mixture
from tangency.mixtures.em import Noise
from tangency.seeding import permutation
from tangency.types import LabelledImages
from tangency.worlds.embedding import Embedding
from tangency.worlds.gaussians import GaussianCore
from tangency.worlds.options import Count, WorldOptions
from tangency.worlds.world import World, replace_named

_NOISES = ("isotropic", "diagonal", "common")


@dataclass(frozen=True)
class FittedWorld(WorldOptions):
    """W3: images that resemble real ones, with a known Bayes rule: images and labels are drawn from the fitted mixture.

    Args:
        data: reference of the data set whose training images are fitted (fashion-mnist-5k, mnist, cifar10, …); in a
            reference of this world, & and + in it are percent-encoded.
        components: of each class.
        rank: of each component, the dimension of the manifold.
        noise: "isotropic" (one ψ for each component), "diagonal" (one for each pixel of each component), or "common"
            (one ψ for all, the pooled mean of the isotropic ones): then every Bayes gradient lies in
            span{A_j, μ_j − μ_l}.
        images: training images used at most, a fixed random subset.
        size: side that the images are brought to first, by averaging pixels; 0 leaves them as they are.
        seed: of the fit.
    """

    data: str = "fashion-mnist-5k"
    components: int = 4
    rank: int = 12
    noise: str = "common"
    images: Count = 5000
    size: int = 0
    seed: int = 0

    name = "fitted"

    def build(self, root: Path | None) -> World:
        if self.noise not in _NOISES:
            raise SpecError(unknown_name("noise", self.noise, _NOISES))
        whole = load(self.data, root).train
        few = len(whole) <= self.images
        chosen = whole if few else whole.subset(permutation(len(whole), 0, "world")[: self.images])
        if self.size:
            chosen = resized(chosen, self.size)
        kind: Noise = "diagonal" if self.noise == "diagonal" else "isotropic"
        mixture, _ = fit_mixture(chosen, self.components, self.rank, noise=kind, seed=self.seed)
        if self.noise == "common":
            psi = (mixture.log_weights.exp() * mixture.noise.mean(1)).sum()
            mixture = replace(mixture, noise=psi.expand_as(mixture.noise).clone())
        world = World(self.name, GaussianCore(mixture), Embedding(chosen.shape, offset=0.0), whole.classes)
        return replace_named(world, self.name, chosen.digest)


def resized(data: LabelledImages, size: int) -> LabelledImages:
    """Images of size × size pixels, by averaging."""
    if not 2 <= size <= min(data.shape[1:]):
        raise NumericsError(f"size: got {size} for images of {data.shape}, expected 2 to {min(data.shape[1:])}.")
    pixels = F.interpolate(data.images(), size=(size, size), mode="area")
    known = hashlib.sha256(f"{data.digest} {size}".encode()).hexdigest()
    return replace(data, pixels=pixels, signal=None, digest=known)
