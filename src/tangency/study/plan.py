"""Spec and data to trials, each with its two identities."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tangency.data.partners import measured_order
from tangency.errors import SpecError
from tangency.evaluate.filters.bank import FilterSource, bank_names
from tangency.evaluate.fitting.tangents import tangents_identity
from tangency.evaluate.working import measures_at
from tangency.measures import WorkingSize
from tangency.measures.config import NETWORK
from tangency.measures.keys import ALIGNMENT, Key
from tangency.models import ARCHITECTURES
from tangency.objectives import OBJECTIVES, Objective
from tangency.score.references import fingerprint
from tangency.study.given import GIVEN, GivenNetwork, given_networks
from tangency.study.guides import Guide, guides_of
from tangency.study.spec import ModelSpec, StudySpec
from tangency.study.sweep import STANDARD, SweepEntry, changes_in_words, given_references, trained_entries
from tangency.training import TRAINING_SCHEMA, TrainConfig
from tangency.types import Dataset

UNTRAINED = "untrained"
BAYES = "bayes"
# The standard network behind the best fixed filter for a Bayes direction, by the target of that direction.
FILTERED = {"bayes_gradient": "filtered", "network_bayes_gradient": "filtered_network"}
# Trials that nothing was trained for: a control, the optimum, and what smoothing alone can do.
REFERENCES = (UNTRAINED, BAYES, *FILTERED.values())
FILTERS_SCHEMA = 1
UNKNOWN = "unknown"  # identity of what is not there: hashes of trials that are only listed
LONGER = 2  # how many times as long the networks of the convergence gate are trained


@dataclass(frozen=True)
class Trial:
    """One network: an objective at a strength with a seed.

    Args:
        id: readable name, unique in the study.
        train_hash: identity of the weights: data, model, objective, optimiser, seed, threads, schema.
        measure_hash: identity of the rows: weights, score, measures, schema.
        objective: None for `REFERENCES` and given networks.
        base: the standard trial that a filtered one is made of; None for all others.
        model: its network; None for a filtered one, the Bayes rule and a given network.
        train: how it is trained, at the learning rate of its strength; None where nothing is trained.
        control: tag of what its entry changes in the recipe of the study; "" where it changes nothing.
        longer: whether it is trained for the convergence gate.
        given: the network that it is, where others trained it.
    """

    id: str
    name: str
    strength: float
    seed: int
    train_hash: str
    measure_hash: str
    objective: Objective | None
    cost: float
    base: Trial | None = None
    model: ModelSpec | None = None
    train: TrainConfig | None = None
    control: str = ""
    longer: bool = False
    given: GivenNetwork | None = None

    @property
    def epochs(self) -> int:
        """How long it is trained."""
        return 0 if self.train is None else self.train.epochs

    @property
    def is_baseline(self) -> bool:
        """Whether it is a standard network by the recipe of the study, which others are judged against."""
        return self.name == STANDARD and not self.control


def is_reference(name: str) -> bool:
    """Whether trials of this name were not trained by the study: in `REFERENCES`, or a given network."""
    return name in REFERENCES or name.startswith(GIVEN)


def cell_of(trial: Trial) -> str:
    """Name of what a trial shares with the other seeds."""
    return trial.id.removesuffix(f"-s{trial.seed}")


def curve_of(trial: Trial) -> str:
    """Name of what a trial shares with the other strengths: its objective, with options where it has some."""
    if trial.objective is None:
        return trial.name
    label = trial.name.replace("/", ".")
    return trial.name + cell_of(trial).removeprefix(f"{label}-{trial.strength:g}")


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def working_of(spec: StudySpec, data: Dataset) -> WorkingSize:
    """The working size of a study."""
    return measures_at(spec.measures, data, spec.data).working(data.test.shape)


def _size_identity(spec: StudySpec, data: Dataset) -> list[str]:
    """What the working size adds to an identity: nothing where it is the images' own."""
    working = working_of(spec, data)
    return [] if working.whole else [working.words]


def score_hash(spec: StudySpec, data: Dataset) -> str:
    """Identity of the fitted score: data, the size that they are worked at, and fit."""
    return _hash("score", data.train.digest, spec.score.model_dump(), *_size_identity(spec, data))


def labels_of(trials: Iterable[Trial]) -> dict[str, str]:
    """Cell to its objective, or to its curve where a study has several variants of the objective."""
    variants: dict[str, set[str]] = {}
    trials = list(trials)
    for trial in trials:
        variants.setdefault(trial.name, set()).add(curve_of(trial))
    return {cell_of(trial): curve_of(trial) if len(variants[trial.name]) > 1 else trial.name for trial in trials}


def plan_trials(spec: StudySpec, data: Dataset, network: str | None = None, times: int = 1) -> list[Trial]:
    """Every trial of a study, in the order of the spec, the Bayes rule, given networks and each seed's untrained first.

    Behind the trained trials of a seed stand its filtered standard networks, one for each Bayes direction.

    Args:
        spec: the study.
        data: its data set.
        network: `fingerprint` of the trained score, where it is known already; `UNKNOWN` where files are missing.
        times: how many times as long each network is trained.
    """
    if network is None:
        network = fingerprint(spec.network_score) if spec.network_score else ""
    measured = _measured(spec, data, network)
    guides = guides_of(entry.build(entry.strengths[0]) for entry in trained_entries(spec.sweep))
    known = {guide: UNKNOWN if network == UNKNOWN else guide.identity() for guide in guides}  # hashes of files, once
    trials = [_trial(spec, data, BAYES, spec.seeds[0], measured)] if spec.bayes else []
    trials += [_given_trial(network, spec, measured) for network in given_networks(given_references(spec.sweep), data)]
    for seed in spec.seeds:
        if spec.untrained:
            trials.append(_trial(spec, data, UNTRAINED, seed, measured))
        trained = [
            _trial(spec, data, entry.build(strength), seed, measured, entry, times, known)
            for entry in trained_entries(spec.sweep)
            for strength in entry.strengths
        ]
        trials += trained + _filtered_trials(spec, data, trained, measured, network)
    names = [trial.id for trial in trials]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"sweep: trials {twice} stand more than once; remove the repeated strengths.")
    _refuse_equal(trials)
    return trials


def _refuse_equal(trials: Iterable[Trial]) -> None:
    """Raise where two names stand for one network, which has one folder: its outcome and rows would be of both."""
    first: dict[str, str] = {}
    for trial in trials:
        if first.setdefault(trial.train_hash, trial.id) != trial.id:
            raise SpecError(
                f"sweep: '{trial.id}' is the very network '{first[trial.train_hash]}', by its weights or by its "
                "recipe, expected each network once; remove one of them, or give it a recipe that differs."
            )


def plan_longer(spec: StudySpec, data: Dataset, network: str | None = None) -> list[Trial]:
    """Every trained trial of a study again, trained `LONGER` times as long; the convergence gate chooses among them."""
    trials = [trial for trial in plan_trials(spec, data, network, LONGER) if trial.objective is not None]
    return [dataclasses.replace(trial, id=f"{cell_of(trial)}-long-s{trial.seed}", longer=True) for trial in trials]


def directions(spec: StudySpec) -> list[str]:
    """Targets of the Bayes directions that alignment is judged by: those that the hard margin is compared with."""
    scalar = Key.parse(ALIGNMENT).quantity
    return [target for name, target in spec.measures.alignments if name == scalar and target in FILTERED]


def _filtered_trials(
    spec: StudySpec, data: Dataset, trained: list[Trial], measured: list[str], network: str
) -> list[Trial]:
    """The filtered standard network of a seed for each direction; what decides the filter decides its identity."""
    base = next((trial for trial in trained if trial.is_baseline), None)
    if base is None or spec.rule != "regimes":
        return []
    bank = bank_names(data.train.shape, FilterSource(data.train).largest_rank)
    identity = [FILTERS_SCHEMA, bank, base.train_hash, spec.weights, max(spec.measures.sigmas)]
    identity += _size_identity(spec, data)
    trials = []
    for target in directions(spec):
        score = network if target.startswith(NETWORK) else score_hash(spec, data)
        train_hash = _hash("filter", *identity, target, score)
        trials.append(
            Trial(
                id=f"{FILTERED[target]}-s{base.seed}",
                name=FILTERED[target],
                strength=0.0,
                seed=base.seed,
                train_hash=train_hash,
                measure_hash=_hash("measure", train_hash, *measured),
                objective=None,
                cost=0.0,
                base=base,
            )
        )
    return trials


def _measured(spec: StudySpec, data: Dataset, network: str) -> list[str]:
    """What decides the rows of a trial, apart from its weights."""
    measured = [data.test.digest, score_hash(spec, data), measures_at(spec.measures, data, spec.data).digest()]
    measured.append(spec.weights)
    if spec.network_score:
        measured.append(network)
    return measured + ([tangents_identity(spec.tangents)] if spec.tangents else [])


def origins(architecture: str, objective: str) -> list[str]:
    """Names and versions of the distributions that are not ours and decide the weights; none for ours.

    Raises:
        TangencyError: a name is unknown, or is known in this process alone.
    """
    known = [ARCHITECTURES.shared_origin(architecture)] if architecture in ARCHITECTURES else []
    known += [OBJECTIVES.shared_origin(objective)] if objective else []
    return [origin for origin in known if origin]


def judge_model(spec: StudySpec) -> ModelSpec:
    """Architecture and options of the judge that a study trains."""
    architecture, options = spec.judge.network(spec.model.architecture)
    return ModelSpec(architecture=architecture, options=options)


def plan_judge(spec: StudySpec, data: Dataset) -> Trial | None:
    """The held-out classifier that a study trains to judge pictures with; None where it needs none of its own."""
    if not spec.generate or spec.judge.reference:
        return None
    own = spec.model_copy(update={"model": judge_model(spec)})
    entry = SweepEntry(objective=STANDARD, strengths=(0.0,))
    trial = _trial(own, data, entry.build(0.0), spec.judge.seed, [], entry)
    return dataclasses.replace(trial, id=f"judge-s{spec.judge.seed}")


def tag_of(changes: Mapping[str, Any]) -> str:
    """Tag of what a control changes, which stands in the ids of its trials: "c" and four digits; "" for nothing."""
    return f"c{_hash(changes)[:4]}" if changes else ""


def controls_of(sweep: Iterable[SweepEntry]) -> dict[str, str]:
    """Tag of each control to what it changes, in words."""
    return {tag_of(entry.changes): changes_in_words(entry.changes) for entry in sweep if entry.changes}


def at_strength(config: TrainConfig, objective: Objective) -> TrainConfig:
    """How an objective is trained at its strength: as all are, or at the learning rate that was published."""
    return dataclasses.replace(config, learning_rate=objective.learning_rate(config.learning_rate))


def _trial(
    spec: StudySpec,
    data: Dataset,
    trained: Objective | str,
    seed: int,
    measured: list[str],
    entry: SweepEntry | None = None,
    times: int = 1,
    guides: Mapping[Guide, str] = MappingProxyType({}),
) -> Trial:
    """A trial of an objective, as an entry of the sweep names it, or one of `REFERENCES`; guides have identities."""
    objective = None if isinstance(trained, str) else trained
    name, strength = (trained, 0.0) if isinstance(trained, str) else (trained.name, trained.strength)
    suffix = f"-{entry.legacy}" if entry and entry.legacy else ""
    options = entry.options if entry else {}
    model, config = spec.model, None
    if objective is not None and entry is not None:
        model, own = changed(spec, entry)
        config = at_strength(dataclasses.replace(own, epochs=times * own.epochs), objective)
    own_options = config.plain().items() if config else ()
    training = {key: value for key, value in own_options if key != "checkpoint_seconds"} or None  # changes no weight
    identity = [data.train.digest, model.model_dump(), name, strength, suffix, options, training, seed]
    identity += [spec.threads, *origins(model.architecture, "" if objective is None else name)]
    identity += [guides[guide] for guide in guides_of([objective])]
    train_hash = _hash("train", TRAINING_SCHEMA, *identity)
    control = tag_of(entry.changes) if entry else ""
    tag = (f"-{_hash(options)[:4]}" if options else "") + (f"-{control}" if control else "")
    label = name.replace("/", ".")  # of a package of somebody else's; an id stands in paths, and names have no dot
    return Trial(
        id=f"{name}-s{seed}" if objective is None else f"{label}-{strength:g}{suffix}{tag}-s{seed}",
        name=name,
        strength=strength,
        seed=seed,
        train_hash=train_hash,
        measure_hash=_hash("measure", train_hash, *measured),
        objective=objective,
        cost=0.0 if objective is None or config is None else _cost(objective, config, data),
        model=None if name == BAYES else model,
        train=config,
        control=control,
    )


def _given_trial(network: GivenNetwork, spec: StudySpec, measured: list[str]) -> Trial:
    """A given network; it has no seed, and stands with the first one."""
    train_hash = _hash("given", network.identity)
    return Trial(
        id=f"given-{network.name}-s{spec.seeds[0]}",
        name=f"{GIVEN}{network.name}",
        strength=0.0,
        seed=spec.seeds[0],
        train_hash=train_hash,
        measure_hash=_hash("measure", train_hash, *measured),
        objective=None,
        cost=0.0,
        given=network,
    )


def changed(spec: StudySpec, entry: SweepEntry) -> tuple[ModelSpec, TrainConfig]:
    """Model and training of an entry: those of the study, with its changes."""
    architecture, options = entry.network(spec.model.architecture, spec.model.options)
    return ModelSpec(architecture=architecture, options=options), entry.training(spec.train)


def _cost(objective: Objective, config: TrainConfig, data: Dataset) -> float:
    """Images that a training passes through its network, counted in bare passes."""
    return objective.passes(len(data.train.classes)) * config.epochs * len(data.train)


def pictured_images(spec: StudySpec, data: Dataset) -> list[int]:
    """The first measured image of each class, then the second of each, …: by index, never by how they look."""
    seen: dict[int, int] = {}
    places = []
    for image in (i for shard in measured_images(spec, data) for i in shard):
        label = int(data.test.labels[image])
        seen[label] = seen.get(label, 0) + 1
        places.append((seen[label], label, image))
    return [image for _, _, image in sorted(places)[: spec.pictures]]


def measured_images(spec: StudySpec, data: Dataset) -> list[list[int]]:
    """Indices into the test split, by shard: a prefix of one fixed permutation, so more images keep the first ones."""
    chosen = measured_order(len(data.test))[: spec.measured].tolist()
    return [chosen[start : start + spec.shard] for start in range(0, len(chosen), spec.shard)]
