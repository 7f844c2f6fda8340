"""Networks trained in worlds, measured with the exact score and the exact tangent spaces, as rows of a sweep."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import nn

import tangency
from tangency.evaluate.filters import Filtered, FilterSearch, filter_named
from tangency.evaluate.verdicts import Recipe, SweepRows
from tangency.models import build
from tangency.score import Denoiser
from tangency.tangents import WorldTangents
from tangency.training import TrainConfig
from tangency.types import Dataset
from tangency.worlds import World

Columns = dict[str, np.ndarray]
Sweep = Sequence[tuple[str, float]]


@dataclass
class Bench:
    """A world with convnets that are trained in it, one for each (objective, strength).

    Args:
        reference: of the world.
        sigma: of the Bayes directions and of the Bayes rule.
        sweep: what is trained.
        train, test: images.
        epochs: of each training.
    """

    reference: str
    sigma: float
    sweep: Sweep
    train: int = 1500
    test: int = 400
    epochs: int = 3
    nets: dict[tuple[str, float], nn.Module] = field(default_factory=dict)

    @cached_property
    def world(self) -> World:
        return tangency.make_world(self.reference)

    @cached_property
    def data(self) -> Dataset:
        joint = "&" if "?" in self.reference else "?"
        return tangency.load_data(f"world:{self.reference}{joint}train={self.train}&test={self.test}")

    def untrained(self) -> nn.Module:
        return build("convnet", self.data.train.shape, self.world.classes)

    def trained(self, objective: str, strength: float) -> nn.Module:
        """The network of an objective and strength, trained at the first call."""
        if (objective, strength) not in self.nets:
            options = {"clip": False} if objective.startswith("pgd") else {}
            made = tangency.objective(objective, *([strength] if objective != "standard" else []), **options)
            config = TrainConfig(epochs=self.epochs, batch_size=64)
            net = build("convnet", self.data.train.shape, self.world.classes)
            with tempfile.TemporaryDirectory() as folder:
                tangency.train(net, self.data.train, made, config, folder)
            self.nets[objective, strength] = net
        return self.nets[objective, strength]

    def measured(self, net: nn.Module, score: Denoiser | None = None) -> Columns:
        """Columns with the exact score, or another one."""
        config = tangency.MeasureConfig(
            tangent_scalars=("margin",),
            alignments=(("margin", "bayes_gradient"),),
            sigmas=(self.sigma,),
            rho_sigmas=(),
            epsilons=(),
            directions=1,
            metrics=("cosine",),
        )
        rows = tangency.measure(
            net,
            self.data.test.images(),
            self.data.test.labels,
            train_data=self.data.train,
            score=score or self.world,
            tangents=WorldTangents(self.world),
            config=config,
        )
        return {key: values.cpu().numpy().astype(np.float64) for key, values in rows.columns.items()}

    def rows(self, wrappers: Sequence[str] = ()) -> SweepRows:
        """The sweep, its filtered standard network, and as references Bayes rule, untrained network and wrappers."""
        standard = self.trained("standard", 0.0)
        search = FilterSearch.prepared({"bayes_gradient": self.world}, self.data.train, self.sigma, count=200)
        best = search.best(standard).chosen["bayes_gradient"]
        references: Mapping[str, nn.Module] = {
            "Bayes rule": tangency.BayesClassifier(self.world, self.sigma),
            "untrained": self.untrained(),
            **{name: Filtered(filter_named(name, self.data.train), standard) for name in wrappers},
        }
        behind = Filtered(filter_named(best, self.data.train), standard)
        return SweepRows(
            [Recipe(f"{o} {s:g}", o, s, {0: self.measured(self.trained(o, s))}) for o, s in self.sweep],
            constant=float(self.data.test.class_counts.max()) / len(self.data.test),
            dimension=int(np.prod(self.data.train.shape)),
            exact=True,
            filtered={"bayes_gradient": Recipe(f"behind {best}", "filter", 0.0, {0: self.measured(behind)})},
            references=[
                Recipe(name, "reference", 0.0, {0: self.measured(net)}, fixed=name == "Bayes rule")
                for name, net in references.items()
            ],
        )
