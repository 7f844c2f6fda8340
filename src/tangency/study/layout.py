"""Where things stand in a run directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tangency.errors import ModelError, RunError
from tangency.files import is_locked, locked, read_json
from tangency.measures.tables import is_shard
from tangency.study.plan import Trial
from tangency.tensors import read_tensors

PICTURES_SCHEMA = 2  # 2: with tangent spaces, answers, and the labels of all measured images
NO_MEMORY = "ran out of memory"  # outcome of a training, which is tried again when the study is run again


@dataclass(frozen=True)
class Layout:
    """Paths under one run directory."""

    run: Path

    @property
    def spec(self) -> Path:
        """The resolved spec."""
        return self.run / "spec.yaml"

    @property
    def rows(self) -> Path:
        """Every measured value: a row for each trial and image, a column for each measure."""
        return self.run / "rows.parquet"

    @property
    def summary(self) -> Path:
        """The numbers that a script wants."""
        return self.run / "summary.json"

    @property
    def going(self) -> Path:
        """How the run goes on, or ended."""
        return self.run / "progress.json"

    @property
    def costs(self) -> Path:
        """What each job has cost, a file for each."""
        return self.run / "costs"

    @property
    def pictures(self) -> Path:
        """Gradients and scores that the report shows."""
        return self.run / "artefacts" / "pictures.safetensors"

    @property
    def artefacts(self) -> Path:
        """What estimators were fitted."""
        return self.run / "artefacts"

    def cost(self, job: str) -> Path:
        """What the job of this identity has cost."""
        return self.costs / f"{job}.json"

    def score(self, digest: str) -> Path:
        """The fitted score of this identity."""
        return self.run / "artefacts" / f"score-{digest}.safetensors"

    def trust(self, digest: str) -> Path:
        """The examination of the trained score of this identity."""
        return self.run / "artefacts" / f"trust-{digest}.safetensors"

    def sham(self, digest: str) -> Path:
        """How far the sham of this identity overlaps the own tangent spaces."""
        return self.run / "artefacts" / f"sham-{digest}.json"

    def trial(self, trial: Trial) -> Path:
        """Folder of one trial's weights and rows."""
        return self.run / "trials" / trial.train_hash

    def finished(self, train_hash: str) -> bool:
        """Whether the training of this identity ended here."""
        return (self.run / "trials" / train_hash / "trial.json").exists()

    def trial_json(self, trial: Trial) -> Path:
        """Outcome of a trial's training; its presence means that training is finished."""
        return self.trial(trial) / "trial.json"

    def trained(self, trial: Trial) -> bool:
        """Whether a trial's training ended here, well or not."""
        return self.trial_json(trial).exists()

    def settled(self, trial: Trial) -> bool:
        """Whether a trial's training ended here and is not tried again, as it is where memory ran out."""
        return self.trained(trial) and self.outcome(trial)["outcome"] != NO_MEMORY

    def shard(self, trial: Trial, images: list[int]) -> Path:
        """Rows of one trial for one shard of images, named by the images."""
        name = f"{images[0]}-{images[-1]}-{len(images)}.parquet"
        return self.trial(trial) / "rows" / trial.measure_hash / name

    def calibration(self, trial: Trial) -> Path:
        """The temperature of a trial's network, beside its rows; there where a scalar needs it."""
        return self.trial(trial) / "rows" / trial.measure_hash / "calibration.json"

    def halved(self, trial: Trial, images: list[int]) -> Path:
        """Says that a shard was measured with half the batch, since memory ran out; beside its rows."""
        return self.shard(trial, images).with_suffix(".halved.json")

    def generated(self, trial: Trial | None, digest: str) -> Path:
        """Folder of what a trial's gradients made in one task, or of what it is compared with (trial None)."""
        return (self.trial(trial) if trial else self.artefacts) / "generation" / digest

    @property
    def generation(self) -> Path:
        """Every value of every generated picture, one row per trial, task, image, source and measure."""
        return self.run / "generation.parquet"

    @property
    def generated_pictures(self) -> Path:
        """The first pictures of each trial and task, which the report shows."""
        return self.run / "artefacts" / "generation.safetensors"

    def outcome(self, trial: Trial) -> dict[str, Any]:
        """How a trial's training ended."""
        path = self.trial_json(trial)
        outcome = read_json(path)
        if not isinstance(outcome, dict) or not {"outcome", "seconds", "epochs"} <= outcome.keys():
            raise RunError(f"'{path}': holds no outcome of a training; delete it and run the study again.")
        return outcome

    def calibrated(self, trial: Trial) -> dict[str, Any]:
        """The temperature of a trial's network as "calibration"; nothing where no scalar needs it."""
        path = self.calibration(trial)
        return {"calibration": read_json(path)} if path.exists() else {}

    def measured(self, trial: Trial, images: list[int]) -> bool:
        """Whether a shard of rows is there and whole; a damaged one is measured again."""
        return is_shard(self.shard(trial, images), images)

    def study_name(self) -> str | None:
        """Name of the study that this folder belongs to; None where there is none, or none that can be read."""
        try:
            content = yaml.safe_load(self.spec.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return None
        return content.get("name") if isinstance(content, dict) else None

    def pictured(self) -> tuple[list[str], list[int]] | None:
        """Measure hashes of the trials and indices of the images that the pictures show; None without pictures.

        Those of an earlier version, which hold less, are none.
        """
        try:
            header = read_tensors(self.pictures)[1]
        except ModelError:
            return None
        if header.get("schema") != PICTURES_SCHEMA:
            return None
        return header["measure_hashes"], header["ids"]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run directory alone; the lock dies with the process, however it dies."""
        if self.run.exists() and not self.run.is_dir():
            raise RunError(f"output '{self.run}': got a file, expected a folder or a name that is free; use --out.")
        if self.spec.exists() and not ((self.run / ".lock").exists() or (self.run / "trials").exists()):
            raise RunError(
                f"output '{self.run}': holds a spec.yaml that no run wrote, which would be overwritten; use --out "
                "with a folder of its own."
            )
        # The file stays: it tells a run from a folder of somebody else's.
        with locked(self.run, f"run '{self.run}'", keep=True):
            yield

    def held(self) -> bool:
        """Whether a process works on this run now."""
        return is_locked(self.run)


def weights_file(folder: Path, weights: str) -> Path:
    """The weights of a trial that a study measures: of the last epoch, or the best ones where there are any."""
    best = folder / "best.safetensors"
    return best if weights == "best" and best.exists() else folder / "model.safetensors"
