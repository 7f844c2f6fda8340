"""Generation, restoration and change of images by a classifier's gradients, beside references, and judged."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tangency.data.partners import measured_order
from tangency.errors import ModelError, RunError, SpecError, listed, unknown_name
from tangency.evaluate.classifiers.saved import SavedClassifier, check_fits, find_classifier, independent
from tangency.evaluate.numbers import as_json
from tangency.files import atomic, write_json
from tangency.generate import Climb, JointLogits, pixel_mixture
from tangency.mixtures import Mixture, fit_mixture
from tangency.models import Classifier
from tangency.references import as_reference
from tangency.score import Denoiser, load_score
from tangency.seeding import permutation
from tangency.statistics import Estimate, PairedBootstrap
from tangency.study.generation_config import WITH_TRUTH, GenerationConfig
from tangency.study.generation_judge import judge_quality
from tangency.study.generation_judged import ABOUT, Judges, chance
from tangency.study.generation_options import refuse_unguided, task_settings
from tangency.study.generation_shop import OWN, START, TRUTH, Outcome, Workshop
from tangency.study.generation_tasks import perform
from tangency.tensors import digest
from tangency.types import Dataset
from tangency.worlds import GaussianCore, World, load_dataset, world_of

if TYPE_CHECKING:
    import polars

Tell = Callable[[str, float], None]
_FITTED = 5000  # training images that a mixture is fitted to at most
_LARGEST = 4096  # pixels of images that one is fitted to
_REPLICATES = 2000
_FRAMED = 64  # images whose way is kept, of the first batch
_COUNTED = ("stalled", "diverged", "stopped", "reached")


@dataclass(frozen=True)
class Generated:
    """Pictures, one row an image, and the numbers that follow.

    Args:
        summary: what summary.json holds.
        ids: (N,) numbers of the images.
        columns: source to column to (N,) float64.
        pictures: source to (N, C, H, W) float32, "truth", "input" and "classifier" among them.
        y: (N,) classes that pictures are meant to show, −1 for none.
        frames: (F, n, C, H, W) iterates of the classifier, of the first images, 64 at most.
    """

    summary: dict[str, Any]
    ids: Tensor
    columns: dict[str, dict[str, Tensor]]
    pictures: dict[str, Tensor]
    y: Tensor
    frames: Tensor

    def frame(self) -> polars.DataFrame:
        """Long table: image, class, source, measure, value."""
        return long_table(self.ids, self.y, self.columns)

    def arrays(self) -> dict[str, np.ndarray]:
        """Pictures by source, and "frames", "labels", for pages."""
        found = {source: pictures.cpu().numpy() for source, pictures in self.pictures.items()}
        return found | {"frames": self.frames.cpu().numpy(), "labels": self.y.cpu().numpy()}


def long_table(ids: Tensor, y: Tensor, columns: Mapping[str, Mapping[str, Tensor]]) -> polars.DataFrame:
    """Long table: image, class, source, measure, value."""
    import polars as pl

    numbers, classes = ids.cpu().numpy(), y.cpu().numpy()
    parts = [
        pl.DataFrame(
            {
                "image": numbers,
                "class": classes,
                "source": [source] * len(numbers),
                "measure": [name] * len(numbers),
                "value": values.double().cpu().numpy(),
            }
        )
        for source, told in columns.items()
        for name, values in told.items()
    ]
    return pl.concat(parts)


def generate_with(
    classifier: Classifier,
    data: Dataset,
    config: GenerationConfig,
    *,
    judge: Classifier | None = None,
    score: Denoiser | None = None,
    mixture: Mixture | None = None,
    device: str = "cpu",
    tell: Tell | None = None,
) -> Generated:
    """One task with one classifier, and all judges.

    Args:
        classifier: whose gradients are followed; left as it was.
        data: images of its shape and classes; world images are not confined to [0, 1].
        config: the task.
        judge: a classifier of another architecture and seed; None for none.
        score: for the reference "score"; None for none.
        mixture: of the images, for references and as a judge; fitted to 5,000 training images where None, and left out
            where the images have more than 4,096 pixels.
        device: where.
        tell: told the share that is done.
    """
    started = time.monotonic()
    refuse_unguided(config, score is not None)
    for each, what in ((classifier, "model"), (judge, "judge")):
        if each is not None:
            check_fits(each.card, data, what)
    config = fitted_to(config, data)
    mixture = mixture if mixture is not None else mixture_for(data, config.components, config.rank, config.seed, device)
    shop = _workshop(classifier, data, config, mixture, score, device)
    ids = picture_ids(config, data)
    outcomes = []
    for number, part in enumerate(batches := ids.split(config.batch)):
        _told(tell, config.task, number / len(batches) * 0.9)
        outcomes.append(perform(shop, part))
    outcome = joined(outcomes)
    _told(tell, "judging", 0.9)
    judges = Judges(data, classifier, judge, mixture, device)
    columns, sets = judge_outcome(judges, outcome, config, tuple(outcome.pictures))
    summary = _summary(outcome, columns, sets, judges, config, data)
    summary["judged_by"] = None if judge is None else judge_quality(judge, data, device)
    summary["seconds"] = round(time.monotonic() - started, 2)
    frames = outcome.frames if outcome.frames is not None else torch.zeros(0, *outcome.pictures[OWN].shape)
    return Generated(summary, ids, columns, outcome.pictures, outcome.y, frames)


def generate_reference(
    model: str | Path,
    data: str | Path | None,
    config: GenerationConfig,
    out: str | Path,
    *,
    judge: str | None = None,
    score: str | None = None,
    device: str = "cpu",
    trust_code: bool = False,
    tell: Tell | None = None,
) -> Generated:
    """`generate_with` by references; writes rows.parquet and summary.json into `out`.

    Args:
        model: reference of the classifier.
        data: reference of the data set; that of the classifier's study by default.
        config: the task.
        out: folder.
        judge, score: references; None for none.
        device: where.
        trust_code: whether models that bring code may run it.
        tell: told the share that is done.
    """
    model, data, out = str(model), None if data is None else as_reference(data), Path(out)
    if out.exists() and not out.is_dir():
        raise RunError(f"output '{out}': got a file, expected a folder or a name that is free; use --out.")
    given = load_dataset(data) if data else None
    found = find_classifier(model, device, given, trust_code)
    name = data or (found.origin.data if found.origin else str(found.classifier.card.provenance.get("data", "")))
    if not name:
        raise ModelError(f"model '{model}': its card names no data set; give one with --data.")
    loaded = given or load_dataset(name)
    found = independent(found, loaded)
    made = generate_with(
        found.classifier,
        loaded,
        config,
        judge=None if judge is None else _judge(judge, found, loaded, device, trust_code),
        score=None if score is None else load_score(score, loaded, device),
        device=device,
        tell=tell,
    )
    made.summary.update({"model": model, "judge": judge, "score": score})
    with atomic(out / "rows.parquet") as temporary:
        made.frame().write_parquet(temporary)
    write_json(out / "summary.json", made.summary)
    return made


def _judge(reference: str, own: SavedClassifier, data: Dataset, device: str, trust_code: bool) -> Classifier:
    """The held-out classifier; the one whose gradients are followed is refused."""
    found = independent(find_classifier(reference, device, data, trust_code), data)
    weights = [digest(one.classifier.module.state_dict()) for one in (found, own)]
    if weights[0] == weights[1]:
        raise SpecError(f"judge '{reference}': is '{own.reference}' itself, expected another architecture and seed.")
    return found.classifier


def fitted_to(config: GenerationConfig, data: Dataset) -> GenerationConfig:
    """The task for these images: its class by number, and a world's pixels not confined."""
    config = dataclasses.replace(config, target=_target(config, data))
    if config.task not in ("generate", "feature") and config.count > len(data.test):
        raise SpecError(f"count: got {config.count}, '{data.name}' has {len(data.test)} test images.")
    if data.test.unit_range:
        return config
    bounds = config.climb.bounds
    if bounds is not None and bounds != Climb().bounds:
        raise SpecError(
            f"climb.bounds: got {list(bounds)}, but pixels of '{data.name}' are not confined; leave bounds out."
        )
    return dataclasses.replace(config, climb=dataclasses.replace(config.climb, bounds=None))


def _target(config: GenerationConfig, data: Dataset) -> int | None:
    """The number of the class (or channel) that was asked for."""
    asked, names = config.target, data.test.classes
    if asked is None or config.task in WITH_TRUTH:
        return None
    if isinstance(asked, str) and asked in names:
        return names.index(asked)
    if isinstance(asked, str) and not asked.isdecimal():
        raise SpecError(f"target: {unknown_name('class', asked, names)} A number will do too.")
    number = int(asked)
    if config.task != "feature" and not 0 <= number < len(names):
        raise SpecError(f"target: got class {number}, expected 0 to {len(names) - 1}, or one of {listed(names)}.")
    return number


def picture_ids(config: GenerationConfig, data: Dataset) -> Tensor:
    """Numbers of pictures, or of test images: a fixed random subset, the first of those that a study measures."""
    if config.task in ("generate", "feature"):
        return torch.arange(config.count)
    return measured_order(len(data.test))[: config.count].sort().values


def mixture_for(data: Dataset, components: int, rank: int, seed: int, device: str) -> Mixture | None:
    """The exact mixture of a world of Gaussians, else one fitted to the training images."""
    world = _gaussian_world(data)
    if world is not None:
        return pixel_mixture(world).to(device)
    if why_no_mixture(data, components, rank):
        return None
    images = data.train
    if len(images) > _FITTED:
        images = images.subset(permutation(len(images), seed, "mixture of generation")[:_FITTED])
    return fit_mixture(images, components, rank, seed=seed, device=device)[0]


def _gaussian_world(data: Dataset) -> World | None:
    """The world that the data come from, where its law is a mixture of Gaussians with a density."""
    world = world_of(data.name)
    return world if world is not None and isinstance(world.core, GaussianCore) and world.embedding.noise > 0 else None


def why_no_mixture(data: Dataset, components: int, rank: int) -> str:
    """The option, or what of the data, that no mixture can be fitted with, in a sentence; "" where one can be."""
    if _gaussian_world(data) is not None:
        return ""
    d, fewest = math.prod(data.train.shape), int(data.train.class_counts.min())
    if d > _LARGEST:
        return f"start: Gaussians of classes take images of at most {_LARGEST} values, '{data.name}' has {d}."
    if rank >= d:
        return f"rank: got {rank} for images of {d} values, expected 1 to {d - 1}."
    if fewest < 2 * components:
        return (
            f"components: {components} to a class take at least {2 * components} training images of each class, one "
            f"of '{data.name}' has {fewest}."
        )
    return ""


def _workshop(
    classifier: Classifier,
    data: Dataset,
    config: GenerationConfig,
    mixture: Mixture | None,
    score: Denoiser | None,
    device: str,
) -> Workshop:
    asked = set(config.references)
    gaussians = None
    if config.task in ("generate", "feature") and config.start == "class":
        gaussians = mixture_for(data, 1, config.rank, config.seed, device)
        if gaussians is None:
            raise SpecError(why_no_mixture(data, 1, config.rank))
    smoothing = config.sigma if config.task == "denoise" and not config.blind else 0.0
    bayes = None if mixture is None or config.task == "feature" else JointLogits(mixture, smoothing)
    return Workshop(
        classifier,
        data,
        config,
        mixture if "mixture" in asked else None,
        gaussians,
        bayes if "bayes" in asked else None,
        score if "score" in asked else None,
        device,
    )


def joined(parts: list[Outcome]) -> Outcome:
    """Batches of one task, one after the other; frames are those of the first batch."""
    first = parts[0]
    columns = {
        source: {name: torch.cat([part.columns[source][name] for part in parts]) for name in names}
        for source, names in first.columns.items()
    }
    pictures = {source: torch.cat([part.pictures[source] for part in parts]) for source in first.pictures}
    frames = None if first.frames is None else first.frames[:, :_FRAMED]
    y = torch.cat([part.y for part in parts])
    return Outcome(y, pictures, columns, first.how, frames, first.frame_steps)


def judge_outcome(
    judges: Judges, outcome: Outcome, config: GenerationConfig, sources: Sequence[str]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict[str, Any]]]:
    """Columns of each of these sources, and numbers of each as a set."""
    columns = {source: dict(outcome.columns[source]) for source in sources}
    for source in sources:
        pictures = outcome.pictures[source]
        columns[source] |= judges.likeness(pictures, outcome.y)
        if config.task in WITH_TRUTH and source != TRUTH:
            columns[source] |= judges.fidelity(pictures, outcome.pictures[START], outcome.pictures[TRUTH])
    if config.task in WITH_TRUTH or config.task == "feature":
        return columns, {}
    sets, among = judges.sets({source: outcome.pictures[source] for source in sources})
    for source, values in among.items():
        columns[source]["among_real"] = values
    return columns, sets


def _summary(
    outcome: Outcome,
    columns: Mapping[str, Mapping[str, Tensor]],
    sets: Mapping[str, Mapping[str, Any]],
    judges: Judges,
    config: GenerationConfig,
    data: Dataset,
) -> dict[str, Any]:
    boot, classes = PairedBootstrap(len(outcome.y), _REPLICATES), len(data.test.classes)
    sources = {}
    for source, told in columns.items():
        measures = {
            name: _estimate(boot, values, chance=chance(name, classes))
            for name, values in told.items()
            if name in ABOUT
        }
        counts = {name: int(told[name].sum()) for name in _COUNTED if name in told}
        sources[source] = {"how": outcome.how[source], "measures": measures, "counts": counts}
        sources[source] |= {"set": dict(sets[source])} if source in sets else {}
    return {
        "task": config.task,
        "data": data.name,
        "count": len(outcome.y),
        "budget": config.budget,
        "settings": task_settings(config),
        "sources": sources,
        "about": {name: dataclasses.asdict(about) for name, about in ABOUT.items()},
        "unavailable": judges.unavailable,
        "frame_steps": list(outcome.frame_steps),
        "classes": list(data.test.classes),
    }


def _estimate(boot: PairedBootstrap, values: Tensor, **more: Any) -> dict[str, Any]:
    array = values.double().cpu().numpy()
    finite = int(np.isfinite(array).sum())
    return as_json(Estimate.of(boot.mean(array), finite, len(array) - finite), **more)


def _told(tell: Tell | None, part: str, share: float) -> None:
    if tell is not None:
        tell(part, share)
