"""What a study asks for: a YAML file, checked to the last key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tangency.engines.config import EngineConfig
from tangency.errors import SpecError, quoted, unknown_name
from tangency.evaluate.fitting.closed import ScoreSpec
from tangency.evaluate.fitting.tangents import WITHOUT_MIXTURE, refuse_scoreless
from tangency.generation.tasks.config import GenerationConfig, refuse_unguided, task_settings
from tangency.generation.tasks.task import CLIMB
from tangency.measures import (
    NETWORK_ALIGNMENTS,
    MeasureConfig,
    RobustnessConfig,
    check_closed,
    check_given,
    check_network,
)
from tangency.measures.keys import MARGIN
from tangency.score import parse_choice
from tangency.study.generation.spec import JudgeSpec, check_entries, check_judge, check_raw_entries
from tangency.study.guides import guides_of, refuse_guides
from tangency.study.sweep import NO_MODEL_OPTIONS, STANDARD, SweepEntry, refuse_options, trained_entries
from tangency.training import TrainConfig
from tangency.validation import complaints

# Studies that come with the package: the quickstart, one of five seeds with regimes and change points, two on worlds
# with a known Bayes rule, the paper's Figure 5 in small, one of several estimators of the tangent space, one of what
# the gradients can make, and the paper's, each with a small twin.
_PAPER = ("cifar10", "cifar10-tangents", "imagenet64", "imagenet", "mnist-distractor")
SHIPPED = (
    *("quickstart", "regimes", "linear", "fitted", "distractor", "tangents", "generation"),
    *(f"{folder}/{name}" for folder in ("paper", "small") for name in _PAPER),
)
_Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


_WITH_TANGENTS = ("mfa", "exact")  # kinds of a score that give tangent spaces, and samples


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSpec(_Strict):
    """Architecture and its keyword arguments."""

    architecture: str = "convnet"
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _own(cls, options: dict[str, Any]) -> dict[str, Any]:
        return refuse_options(options, NO_MODEL_OPTIONS, "model")


def chosen_scores(content: Any) -> Any:
    """The content of a spec with `score: "network:REF"` and its like in the keys `score` and `network_score`."""
    if not isinstance(content, dict) or not isinstance(content.get("score"), str):
        return content
    choice, named = parse_choice(content["score"]), content.get("network_score") or ""
    if choice.network and named not in ("", choice.network):
        raise SpecError(f"score: got '{content['score']}' with network_score '{named}', expected one trained score.")
    score = {"kind": choice.closed, **choice.options}
    return content | {"score": score} | ({"network_score": choice.network} if choice.network else {})


class StudySpec(_Strict):
    """A sweep of objectives, strengths and seeds, and what is measured on every trial.

    Args:
        name: stands on the report.
        data: reference of a data set with a training and a test split.
        measured: test images that are measured, a fixed random subset; all where there are fewer.
        sweep: objectives and strengths; `standard` is the baseline that regimes are relative to.
        guide_fraction: share of each class of the training images that no network is trained on, in any arm, and to
            which the tangent spaces and scores that objectives are given are fitted; those of the measures are not.
        seeds: each trial is trained once for each.
        score: the closed form; "none", "gaussian", "mfa?components=2", and "network:REF" for `network_score` alone, in
            place of its keys.
        network_score: reference of a trained score that gradients are compared with too, by the targets of
            measures.alignments that begin with "network_" (edm-fashion-mnist, net.safetensors, diffusers:DIR, …); it
            is the reference "score" of `generate`, too.
        tangents: references of the tangent spaces that are measured with; the measures of those after the first have
            their kind in the key. By default those of `score`, as "mfa" or "exact" without options are; local-pca where
            it gives none.
        generate: tasks that every network's gradients are set to, as `GenerationConfig` has them; their quality is
            joined to alignment and regimes.
        judge: the held-out classifier that rates what they make.
        bayes: also measure the Bayes rule, for data drawn from a world (world:linear, …): the known optimum.
        untrained: also measure the network as initialised, a control.
        weights: "last" epoch, or "best" on the validation images.
        shard: measured images to a task; part of how work is cut, not of any result.
        workers, threads: processes, and threads of each; threads belong to a trial's identity, since the order of
            floating-point sums depends on them.
        engine: where the work is done: `local` processes, `ray` or `slurm`, with its options; no result depends on it.
        replicates: bootstrap resamples.
        rule: how networks are labelled: "regimes" by Bayes directions and tangent spaces with their controls, networks
            as the unit; "kappa" by the ratio of κ to the standard network's, the former rule.
        convergence: also train the ends of each objective and its peak twice as long, and withhold the verdicts of
            networks whose numbers still move.
    """

    name: str = "study"
    data: str = "fashion-mnist-5k"
    measured: int = Field(500, ge=2)
    model: ModelSpec = ModelSpec()
    train: TrainConfig = TrainConfig()
    score: ScoreSpec = ScoreSpec()
    network_score: str = ""
    tangents: tuple[str, ...] = ()
    sweep: tuple[SweepEntry, ...] = Field(min_length=1)
    guide_fraction: float = Field(0.0, ge=0, lt=1)
    seeds: tuple[_Seed, ...] = Field((0,), min_length=1)
    generate: tuple[GenerationConfig, ...] = ()
    judge: JudgeSpec = JudgeSpec()
    bayes: bool = False
    untrained: bool = True
    weights: Literal["last", "best"] = "last"
    measures: MeasureConfig = MeasureConfig()
    pictures: int = Field(40, ge=1, le=64)
    shard: int = Field(125, ge=1)
    workers: int = Field(2, ge=1, le=1024)
    threads: int = Field(1, ge=1, le=1024)
    device: str = "auto"
    engine: EngineConfig = EngineConfig()
    replicates: int = Field(2000, ge=100, le=10_000_000)
    rule: Literal["regimes", "kappa"] = "regimes"
    convergence: bool = False

    @field_validator("generate", mode="before")
    @classmethod
    def _built(cls, entries: Any) -> Any:
        return check_raw_entries(entries)

    @model_validator(mode="before")
    @classmethod
    def _chosen(cls, content: Any) -> Any:
        return chosen_scores(content)

    @model_validator(mode="after")
    def _distinct(self) -> StudySpec:
        if len(set(self.seeds)) != len(self.seeds):
            raise SpecError(f"seeds: got {list(self.seeds)}, expected distinct numbers.")
        if self.train.seed != 0:
            raise SpecError(f"train.seed: got {self.train.seed}, but each trial trains with its own seed; use seeds.")
        standard = [entry for entry in self.sweep if entry.objective == STANDARD]
        if standard and all(entry.changes for entry in standard):
            raise SpecError(
                "sweep: got the objective standard with train or model of its own only, expected it without, too: the "
                "networks that all are judged against are trained as the study says."
            )
        return self

    @model_validator(mode="after")
    def _published(self) -> StudySpec:
        # what `legacy` and a score stand for is part of the spec that is stored, hashed and measured
        network = bool(self.network_score)
        measures = self.measures if self.score.kind != "none" else self._without_closed_form()
        object.__setattr__(self, "measures", measures.with_legacy(network))
        return self

    def _without_closed_form(self) -> MeasureConfig:
        measures, network = self.measures, bool(self.network_score)
        if measures.alignments == MeasureConfig.alignments:
            more = NETWORK_ALIGNMENTS if network else ()
            measures = dataclasses.replace(measures, alignments=more)
        check_closed(measures, given=False)
        if measures.network_targets:
            check_network(measures, network)
        return measures.with_scores(False, network)

    @model_validator(mode="after")
    def _can_be_summed_up(self) -> StudySpec:
        for name in ("sigmas", "epsilons"):
            if not getattr(self.measures, name):
                raise SpecError(f"measures.{name}: got none, expected at least one; the report is drawn with it.")
        if MARGIN not in self.measures.tangent_scalars:
            raise SpecError(
                f"measures.tangent_scalars: got {list(self.measures.tangent_scalars)}, expected {MARGIN} among them; "
                "regimes are judged by it."
            )
        return self

    @model_validator(mode="after")
    def _gated(self) -> StudySpec:
        if self.convergence and self.rule != "regimes":
            raise SpecError("convergence: got true with rule: kappa, expected rule: regimes, whose verdicts it gates.")
        if self.convergence and all(entry.objective != STANDARD for entry in self.sweep):
            raise SpecError("convergence: got true without the objective standard, the lower end of every sweep.")
        return self

    @model_validator(mode="after")
    def _guides(self) -> StudySpec:
        refuse_guides(
            guides_of(entry.build(entry.strengths[0]) for entry in trained_entries(self.sweep)), self.guide_fraction
        )
        return self

    @model_validator(mode="after")
    def _estimators(self) -> StudySpec:
        if len(set(self.tangents)) != len(self.tangents):
            raise SpecError(f"tangents: got {list(self.tangents)}, expected distinct references.")
        if not self.tangents and self.score.kind not in _WITH_TANGENTS:
            object.__setattr__(self, "tangents", (WITHOUT_MIXTURE,))
        if self.score.kind == "none" and not self.network_score:
            refuse_scoreless(self.tangents)
        return self

    @model_validator(mode="after")
    def _network(self) -> StudySpec:
        generated = any("score" in entry.references for entry in self.generate)
        if self.measures.network_targets or not generated:  # else it stands among the references of generation
            check_network(self.measures, bool(self.network_score))
        check_given(self.measures.maps, ())
        return self

    @model_validator(mode="after")
    def _generation(self) -> StudySpec:
        check_entries(self.generate)
        if self.generate and self.score.kind not in _WITH_TANGENTS:
            raise SpecError(
                f"generate: needs score.kind = mfa or exact, whose law stands among the references; got "
                f"{self.score.kind}."
            )
        for entry in self.generate:
            refuse_unguided(entry, bool(self.network_score) or self.score.kind == "exact")
        refuse_options(self.judge.options, NO_MODEL_OPTIONS, "judge")
        if self.generate:
            check_judge(self.judge, self.model.architecture, self.model.options, self.seeds)
        elif self.judge != JudgeSpec():
            raise SpecError("judge: nothing is generated that it could judge; give generate, or leave judge out.")
        return self

    def digest(self) -> str:
        """Hash of everything that can change a result."""
        content = self.model_dump(mode="json", exclude={"workers", "shard", "device", "engine"})
        content["train"] = self.train.plain()
        for entry in content["sweep"]:  # keys that older specs do not have
            for key in ("train", "model", "networks"):
                if not entry[key]:
                    del entry[key]
        if not self.network_score:
            del content["network_score"]
        if not self.tangents:
            del content["tangents"]
        if not self.guide_fraction:
            del content["guide_fraction"]
        if not self.generate:
            del content["generate"], content["judge"]
        if self.measures.legacy is None:
            del content["measures"]["legacy"]
        if not self.measures.extra:
            del content["measures"]["extra"]
        if self.measures.working_size is None:
            del content["measures"]["working_size"]
            if self.measures.working_filter == "area":
                del content["measures"]["working_filter"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def parse_spec(content: Any, origin: str) -> StudySpec:
    """A checked spec from parsed YAML; `SpecError` with every complaint in one paragraph."""
    if not isinstance(content, dict):
        raise SpecError(f"{origin}: got {type(content).__name__}, expected a mapping with at least the key 'sweep'.")
    try:
        return StudySpec.model_validate(content)
    except SpecError as error:
        raise SpecError(f"{origin}: {quoted(error)}") from None
    except ValidationError as error:
        raise SpecError(f"{origin}: {complaints(error, StudySpec, _keys_beside)}.") from None


def shipped_spec(name: str, **changes: object) -> StudySpec:
    """A study that comes with the package, with some of its keys replaced.

    Args:
        name: in `SHIPPED`.
        changes: top-level keys.
    """
    if name not in SHIPPED:
        raise SpecError(unknown_name("shipped study", name, SHIPPED))
    text = (resources.files("tangency.study") / "specs" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_spec(yaml.safe_load(text) | changes, name)


def load_spec(path: str | Path) -> StudySpec:
    """Read and check a YAML spec; a name in `SHIPPED` that is no file stands for that study.

    Args:
        path: the file, or a name in `SHIPPED`.

    Raises:
        SpecError: no such file, or keys that are unknown or out of their range, all in one sentence.

    Example:
        >>> load_spec("quickstart").measured
        1000
    """
    if not isinstance(path, str | Path):
        raise SpecError(
            f"spec: got {type(path).__name__}, expected the path of a YAML file, or one of {', '.join(SHIPPED)}."
        )
    path = Path(path)
    if path.as_posix() in SHIPPED and not path.exists():
        return shipped_spec(path.as_posix())
    return parse_spec(read_yaml(path, SHIPPED), f"spec '{path}'")


def read_yaml(path: Path, shipped: tuple[str, ...]) -> Any:
    """The content of a YAML file in which no key stands twice; `SpecError` where there is none.

    Args:
        path: the file.
        shipped: names that could have stood in its place, for the error.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # a SafeLoader
    except OSError as error:
        raise SpecError(
            f"spec '{path}': cannot be read ({error.strerror}); expected a YAML file, or one of {', '.join(shipped)}."
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML lets some of Python's own errors through
        first = quoted(error)
        raise SpecError(f"spec '{path}': not valid YAML ({first}).") from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML of plain data in which a key may stand once only; PyYAML itself would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def spec_content(spec: StudySpec) -> dict[str, Any]:
    """The resolved spec as plain data, every default written out; of each task of generation, the options it has."""
    content = spec.model_dump(mode="json")
    entries = zip(spec.generate, content["generate"], strict=True)
    return content | {"generate": [task_settings(entry, options) for entry, options in entries]}


def dump_spec(spec: StudySpec) -> str:
    """The resolved spec as YAML, every default written out."""
    return yaml.safe_dump(spec_content(spec), sort_keys=False, allow_unicode=True)


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """Keys that are known where the unknown one stands."""
    tables: dict[str, Any] = {
        "model": ModelSpec.model_fields,
        "train": TrainConfig.__dataclass_fields__,
        "score": ScoreSpec.model_fields,
        "measures": MeasureConfig.__dataclass_fields__,
        "sweep": SweepEntry.model_fields,
        "generate": GenerationConfig.__dataclass_fields__,
        "judge": JudgeSpec.model_fields,
        "engine": EngineConfig.model_fields,
    }
    if len(location) == 1:
        return list(StudySpec.model_fields)
    if location[:2] == ("measures", "robustness"):
        return [f"measures.robustness.{key}" for key in RobustnessConfig.__dataclass_fields__]
    if location[0] == "generate" and "climb" in location[:-1]:
        return [".".join([*map(str, location[:-1]), key]) for key in CLIMB]
    return [".".join([*map(str, location[:-1]), key]) for key in tables[str(location[0])]]
