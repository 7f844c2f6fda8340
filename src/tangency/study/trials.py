"""Trials of a study, opened by reference for measuring and comparing: `run:RUN/trials/TRIAL`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, RunError, unknown_name
from tangency.evaluate.classifiers.origin import Origin
from tangency.evaluate.measured import Measured, columns_of, read_rows, read_summary, settings
from tangency.files import read_json
from tangency.measures import MeasureConfig
from tangency.models import Classifier, read_classifier
from tangency.study.layout import Layout, weights_file
from tangency.study.plan import BAYES, score_hash
from tangency.study.spec import StudySpec, load_spec
from tangency.types import Dataset
from tangency.worlds import world_of


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
        if not path.exists() and read_json(folder / "trial.json").get("objective") == BAYES:
            raise ModelError(
                f"model '{self.reference}': the Bayes rule has no weights; its numbers stand in "
                f"'{run / 'summary.json'}', and tangency.BayesClassifier(tangency.make_world(…)) is the rule itself."
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
        ids, columns = columns_of(rows, run, again)
        spec = load_spec(run / "spec.yaml")
        data = summary["data"]
        about = {key: data[key] for key in ("digest", "shape", "classes", "licence")} | {"data": data["name"]}
        about["settings"] = _settings(spec, data["shape"], summary["provenance"]["hashes"]["train_data"])
        return Measured(name, run, about, trials[name], ids, columns)


def _origin(layout: Layout, spec: StudySpec) -> Origin:
    def closed_file(data: Dataset, measures: MeasureConfig) -> Path:
        return layout.score(score_hash(spec.model_copy(update={"measures": measures}), data))

    return Origin(
        data=spec.data,
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
