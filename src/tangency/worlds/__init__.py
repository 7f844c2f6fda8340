"""Worlds: laws of images in which density, score, manifold and Bayes rule are exact."""

from tangency.worlds.bayes import BayesClassifier, Risk, bayes_risk
from tangency.worlds.core import Core
from tangency.worlds.decoded import DecoderCore
from tangency.worlds.distractor import letter, place_posterior, signal_mask, with_distractor
from tangency.worlds.embedding import Embedding
from tangency.worlds.family import family
from tangency.worlds.gaussians import GaussianCore
from tangency.worlds.registry import WORLDS, drawn, load_dataset, make_world, world_of
from tangency.worlds.spheres import SphereCore, von_mises_fisher
from tangency.worlds.world import Sample, World

__all__ = [
    "WORLDS",
    "BayesClassifier",
    "Core",
    "DecoderCore",
    "Embedding",
    "GaussianCore",
    "Risk",
    "Sample",
    "SphereCore",
    "World",
    "bayes_risk",
    "drawn",
    "family",
    "letter",
    "load_dataset",
    "make_world",
    "place_posterior",
    "signal_mask",
    "von_mises_fisher",
    "with_distractor",
    "world_of",
]
