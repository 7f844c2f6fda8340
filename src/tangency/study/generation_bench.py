"""Generation as tasks of a study: a batch of pictures by one trial or by the references, then the judging of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from torch import nn

from tangency.files import journal
from tangency.mixtures import Mixture
from tangency.models import Classifier
from tangency.score import Denoiser, MixtureScore
from tangency.study.generation import joined, judge_outcome, mixture_for
from tangency.study.generation_config import GenerationConfig
from tangency.study.generation_judge import load_judge
from tangency.study.generation_judged import Judges
from tangency.study.generation_plan import Entry, plan_entries, references_shop, study_score
from tangency.study.generation_shop import OWN, Workshop
from tangency.study.generation_tasks import perform
from tangency.study.plan import Trial
from tangency.worlds import GaussianCore, world_of

if TYPE_CHECKING:
    from tangency.study.bench import Workbench


@dataclass
class GenerationBench:
    """What a process needs to generate and to judge; loaded when first used, then kept.

    Args:
        bench: of the study.
        networks: gives the classifier of a trial.
    """

    bench: Workbench
    networks: Callable[[Trial], nn.Module]

    @cached_property
    def entries(self) -> list[Entry]:
        """Every entry of the spec."""
        return plan_entries(self.bench.spec, self.bench.data)

    @cached_property
    def judge(self) -> Classifier:
        """The held-out classifier."""
        return load_judge(self.bench.spec, self.bench.device, self.bench.data, self.bench.layout)

    @cached_property
    def judges(self) -> dict[int, Judges]:
        """Judges of each entry, which differ in their mixture only; what they know of real images is shared."""
        found: dict[int, Judges] = {}
        for entry in self.entries:
            mixture = self.mixture(entry.config)
            first = next(iter(found.values()), None)
            if first is None:
                found[entry.number] = Judges(self.bench.data, None, self.judge, mixture, self.bench.device)
            else:
                found[entry.number] = first.of(None, mixture)
        return found

    def mixture(self, config: GenerationConfig) -> Mixture | None:
        """The exact one of a world of Gaussians, else that of the study's score, else one that is fitted now."""
        world = world_of(self.bench.spec.data)
        own = self.bench.estimators[0]
        if isinstance(own, MixtureScore) and not (world is not None and isinstance(world.core, GaussianCore)):
            return own.mixture
        return self._fitted(config.components, config.rank, config.seed)

    def _gaussians(self, config: GenerationConfig) -> Mixture | None:
        wanted = config.task == "generate" and config.start == "class"
        return self._fitted(1, config.rank, config.seed) if wanted else None

    def _fitted(self, components: int, rank: int, seed: int) -> Mixture | None:
        key = (components, rank, seed)
        if key not in self._mixtures:
            self._mixtures[key] = mixture_for(self.bench.data, components, rank, seed, self.bench.device)
        return self._mixtures[key]

    @cached_property
    def _mixtures(self) -> dict[tuple[int, int, int], Mixture | None]:
        return {}

    @property
    def _score(self) -> Denoiser | None:
        return study_score(self.bench.spec, self.bench.estimators[0], self.bench.network)

    def make(self, number: int, trial: Trial | None, part: int) -> None:
        """Make one batch of pictures of an entry, by a trial or by the references (None)."""
        entry, data, device = self.entries[number], self.bench.data, self.bench.device
        gaussians = self._gaussians(entry.config)
        if trial is None:
            shop = references_shop(entry, data, self.mixture(entry.config), gaussians, self._score, device)
        else:
            shop = Workshop(self.networks(trial), data, entry.config, class_gaussians=gaussians, device=device)
        outcome = perform(shop, entry.batches[part])
        journal("generate.batch")
        entry.shards(self.bench.layout, trial).write(part, outcome)

    def tell(self, number: int, trial: Trial | None) -> None:
        """Judge all pictures of an entry, and keep rows and a few of them."""
        entry, bench = self.entries[number], self.bench
        shards = entry.shards(bench.layout, trial)
        outcome = joined([shards.read(part, bench.device) for part in range(len(entry.batches))])
        network = None if trial is None else self.networks(trial)
        judges = self.judges[number].of(network, self.judges[number].mixture)
        sources = tuple(outcome.pictures) if trial is None else (OWN,)
        columns, sets = judge_outcome(judges, outcome, entry.config, sources)
        journal("generate.judged")
        shards.write_told(entry.ids, outcome, columns, {"sets": sets, "unavailable": judges.unavailable})
