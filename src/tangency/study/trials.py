"""Finished studies read back, and their trials by reference, `run:RUN/trials/TRIAL`, for measuring and comparing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tangency.devices import resolve_device
from tangency.errors import ModelError, RunError, SpecError, quoted, unknown_name
from tangency.evaluate.classifiers.origin import Origin
from tangency.evaluate.measured import Measured, read_summary, settings
from tangency.files import read_json
from tangency.measures import MeasureConfig
from tangency.measures.tables import columns_of, read_rows
from tangency.models import Classifier, read_classifier
from tangency.study.guides import load_study_data
from tangency.study.layout import Layout, weights_file
from tangency.study.plan import BAYES, FILTERED, score_hash
from tangency.study.spec import StudySpec, load_spec
from tangency.study.summary.entries import SUMMARY_SCHEMA
from tangency.types import Dataset
from tangency.worlds import world_of

if TYPE_CHECKING:
    import polars

FORMER = "its labels are those of another version's rule, and are not shown as today's."


@dataclass(frozen=True)
class SavedTrial:
    """A trial in the folder of a run; the kind "run" of saved models.

    Args:
        location: RUN/trials/TRIAL, where TRIAL is its id or its hash.
        reference: as it was given, for errors.
    """

    location: Path
    reference: str

    def classifier(self, device: str) -> tuple[Classifier, Origin]:
        """The trained network that the study measures, and what the study knows of it.

        Raises:
            ModelError: there is no such trial, or it has no weights.
            RunError: the folder is no run of a study.
        """
        folder = _folder(self.location, self.reference)
        path, run = folder / "model.safetensors", folder.parent.parent
        outcome = {} if path.exists() else read_json(folder / "trial.json")
        if outcome.get("objective") in FILTERED.values():
            raise ModelError(
                f"model '{self.reference}': has no weights of its own; it is the standard network of seed "
                f"{outcome['seed']} behind the fixed filter {outcome.get('filter', 'that was chosen for it')}, and its "
                f"numbers stand in '{run / 'summary.json'}'."
            )
        if outcome.get("objective") == BAYES:
            raise ModelError(
                f"model '{self.reference}': the Bayes rule has no weights; its numbers stand in "
                f"'{run / 'summary.json'}', and tangency.BayesClassifier(tangency.make_world(…)) is the rule itself."
            )
        if "network" in outcome:
            raise ModelError(
                f"model '{self.reference}': is a given network, of which the run holds numbers only; name the network "
                f"itself, '{outcome['network']['reference']}'."
            )
        if not path.exists():
            raise ModelError(
                f"model '{self.reference}': '{path}' is not there; this trial is not trained yet, run the study."
            )
        if not (run / "spec.yaml").exists():
            raise RunError(
                f"model '{self.reference}': '{run}' holds no spec.yaml, expected a run directory of a study."
            )
        spec = load_spec(run / "spec.yaml")
        return read_classifier(weights_file(folder, spec.weights), device), _origin(Layout(run), spec)

    def rows(self) -> Measured:
        """The rows of the trial, of a finished study."""
        import polars as pl

        run = self.location.parent.parent
        again = (
            f"Run the study again: tangency study run '{run / 'spec.yaml'}' --out '{run}'; it goes on where it stopped."
        )
        if self.location.parent.name != "trials" or not run.is_dir():
            raise RunError(f"'{self.reference}': no such run, expected run:RUN/trials/ID of a finished study.")
        summary = read_summary(run, self.reference, again)
        _refuse_former(summary, Layout(run), again)
        trials = {trial["id"]: trial for trial in summary.get("trials", ())}
        by_hash = {trial["train_hash"]: name for name, trial in trials.items()}
        name = by_hash.get(self.location.name, self.location.name)
        if name not in trials:
            raise RunError(f"'{self.reference}': {unknown_name('trial', self.location.name, trials)}")
        if not trials[name]["measures"]:
            raise RunError(
                f"'{self.reference}': this trial {trials[name]['outcome']}, and has no rows; choose another."
            )
        rows = read_rows(Layout(run).rows, again).filter(pl.col("trial") == name)
        ids, columns = columns_of(rows, Layout(run).rows, again)
        spec = load_spec(run / "spec.yaml")
        data = summary["data"]
        about = {key: data[key] for key in ("digest", "shape", "classes", "licence")} | {"data": data["name"]}
        about["settings"] = _settings(spec, data["shape"], summary["provenance"]["hashes"]["train_data"])
        return Measured(name, run, about, trials[name], ids, columns)


def _refuse_former(summary: dict[str, Any], layout: Layout, again: str) -> None:
    """Raise where a summary was made by another version's rule."""
    schema = summary.get("schema")
    if schema != SUMMARY_SCHEMA:
        raise RunError(f"'{layout.summary}': has schema {schema!r}, expected {SUMMARY_SCHEMA}: {FORMER} {again}")


def _origin(layout: Layout, spec: StudySpec) -> Origin:
    def closed_file(data: Dataset, measures: MeasureConfig) -> Path:
        return layout.score(score_hash(spec.model_copy(update={"measures": measures}), data))

    return Origin(
        data=spec.data,
        dataset=partial(load_study_data, spec.data, spec.guide_fraction),
        measures=spec.measures,
        closed=spec.score,
        closed_file=closed_file,
        network_score=spec.network_score,
        tangents=spec.tangents,
        artefacts=layout.artefacts,
    )


def _settings(spec: StudySpec, shape: list[int], train: str) -> dict[str, Any]:
    score = spec.score.model_dump() if spec.score.kind == "mfa" else {"kind": spec.score.kind}
    measures = spec.measures
    if world_of(spec.data) is None:
        measures = measures.at_size((shape[0], shape[1], shape[2]))
    return settings(measures, score, train, tangents=list(spec.tangents), network_score=spec.network_score)


def _folder(named: Path, reference: str) -> Path:
    """RUN/trials/<hash> from that very path, or from RUN/trials/<id>."""
    if named.is_dir():
        return named
    ids = {read_json(path)["id"]: path.parent for path in sorted(named.parent.glob("*/trial.json"))}
    if named.name not in ids:
        raise ModelError(f"model '{reference}': {unknown_name('trial', named.name, ids) if ids else 'no such run.'}")
    return ids[named.name]


@dataclass(frozen=True)
class StudyRun:
    """A finished study, read back.

    Args:
        folder: the run directory.
        spec: the study, every default written out.
        summary: content of summary.json: "data", "trials", "regimes", "provenance", …
        rows: every measured value: columns trial, seed, image, and one for each measure (null where it was not taken of
            a trial, NaN where it is degenerate).
    """

    folder: Path
    spec: StudySpec
    summary: dict[str, Any]
    rows: polars.DataFrame

    @property
    def trials(self) -> tuple[str, ...]:
        """Ids of the trials, as "gradient_norm-0.3-s0", in the order of the spec."""
        return tuple(str(trial["id"]) for trial in self.summary["trials"])

    def trial(self, name: str) -> dict[str, Any]:
        """What the summary says of one trial: "objective", "strength", "seed", "outcome", "measures", "excess", …"""
        for trial in self.summary["trials"]:
            if trial["id"] == name:
                return dict(trial)
        raise RunError(f"run '{self.folder}': {unknown_name('trial', name, self.trials)}")

    def reference(self, name: str) -> str:
        """The reference of a trial, run:RUN/trials/ID, for `load_classifier`, `compare` and `generate`."""
        return f"run:{self.folder}/trials/{self.trial(name)['id']}"

    def classifier(self, name: str, device: str = "cpu") -> Classifier:
        """The network of a trial, with the weights that the study measured, in eval mode.

        Raises:
            RunError: there is no such trial.
            ModelError: it has no weights, as the Bayes rule has none.
        """
        reference = self.reference(name)
        return SavedTrial(Path(reference.removeprefix("run:")), reference).classifier(resolve_device(device))[0]


def load_run(run: str | Path) -> StudyRun:
    """Read a finished study: nothing is computed, each network is loaded by `classifier` only.

    Args:
        run: the folder that `run_study`, `tangency study run` or `tangency quickstart` wrote.

    Returns:
        `StudyRun`: spec, summary, rows (one for each trial and image, as a polars frame; units are those of the
        measures), and the networks by `classifier(trial)`.

    Raises:
        RunError: there is no such folder, the study is not finished, a file cannot be read, or summary and spec are not
            of the same study.

    Example:
        >>> import tempfile, tangency
        >>> spec = {
        ...     "data": "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10", "score": "exact", "measured": 6,
        ...     "sweep": [{"objective": "standard"}], "untrained": False, "train": {"epochs": 1}, "workers": 1,
        ...     "pictures": 2, "replicates": 100, "measures": {"metrics": ["cosine"], "directions": 1},
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     summary = tangency.run_study(spec, folder)
        ...     run = load_run(folder)
        ...     run.trials, run.rows["image"].n_unique(), run.classifier("standard-0-s0").classes
        (('standard-0-s0', 'filtered-s0'), 6, 2)
    """
    layout = Layout(Path(run))
    if not layout.run.is_dir():
        raise RunError(f"run '{run}': no such folder, expected that of a finished study; run_study makes one.")
    if not layout.spec.exists():
        raise RunError(f"run '{run}': holds no spec.yaml, expected the folder of a study; run_study makes one.")
    again = f"Run the study again: tangency study run '{layout.spec}' --out '{run}'; it goes on where it stopped."
    try:
        spec = load_spec(layout.spec)
    except SpecError as error:
        raise RunError(f"'{layout.spec}': is no spec of this version of tangency ({quoted(error)}). {again}") from error
    summary = read_summary(layout.run, str(run), again)
    _refuse_former(summary, layout, again)
    if not isinstance(summary.get("trials"), list) or summary.get("spec_hash") != spec.digest():
        raise RunError(f"'{layout.summary}': is not of the study in '{layout.spec}'. {again}")
    return StudyRun(layout.run, spec, summary, read_rows(layout.rows, again))
