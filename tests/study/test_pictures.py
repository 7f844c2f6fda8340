"""What a study keeps of a few images: by index, a class at a time, and what stands in the file is what it says."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from study_support import InProcess, tiny_spec, write_data
from tangency.autodiff import input_gradient
from tangency.data import load
from tangency.models import read_classifier
from tangency.report.read.pictures import read_pictures
from tangency.study import parse_spec, run_study
from tangency.study.layout import Layout
from tangency.study.plan import measured_images, pictured_images, plan_trials
from tangency.study.work.pictures import halved, kept_tangents
from tangency.tangents import TangentSpace
from tangency.tensors import read_tensors, write_tensors

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """A spec with eight pictures and two estimators, and its run."""
    folder = tmp_path_factory.mktemp("drawn")
    content = tiny_spec(write_data(folder), pictures=8, tangents=["mfa", "local-pca?rank=2"], untrained=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tangency.study.run.open_engine", InProcess)
        run_study(parse_spec(content, "test"), folder / "run")
    return content, folder / "run"


def test_pictured_images_are_the_first_of_each_class_in_turn(drawn: tuple[dict, Path]) -> None:
    spec = parse_spec(drawn[0], "test")
    data = load(spec.data)
    chosen = pictured_images(spec, data)
    labels = data.test.labels[chosen].tolist()
    measured = [i for shard in measured_images(spec, data) for i in shard]
    there = sorted(set(data.test.labels[measured].tolist()))
    assert labels[: len(there)] == there
    for c in range(3):
        of_class = [i for i in measured if int(data.test.labels[i]) == c]
        assert [i for i, label in zip(chosen, labels, strict=True) if label == c] == of_class[: labels.count(c)]


def test_gradients_answers_and_labels_are_those_of_the_networks(drawn: tuple[dict, Path]) -> None:
    content, run = drawn
    spec = parse_spec(content, "test")
    data = load(spec.data)
    kept = read_pictures(run / "artefacts" / "pictures.safetensors", "mfa")
    assert kept.ids is not None
    assert kept.ids.tolist() == pictured_images(spec, data)
    assert kept.labels == {i: int(data.test.labels[i]) for shard in measured_images(spec, data) for i in shard}
    x, y = data.test.images(torch.tensor(kept.ids)), data.test.labels[torch.tensor(kept.ids)]
    trials = [trial for trial in plan_trials(spec, data, "") if trial.base is None]
    assert len(trials) == 2
    for trial in trials:
        network = read_classifier(Layout(run).trial(trial) / "model.safetensors")
        gradient = input_gradient(network, x, y).direction
        shown = torch.from_numpy(kept.pictures[f"gradient.{trial.id}"])
        assert ((shown - gradient).abs().amax((1, 2, 3)) <= gradient.abs().amax((1, 2, 3)) * 2**-11).all()
        p = network(x).double().softmax(1)
        assert kept.answers[trial.id].tolist() == p.argmax(1).tolist()
        assert torch.allclose(torch.from_numpy(kept.probabilities[trial.id]).double(), p[torch.arange(8), y], atol=1e-6)


def test_tangent_spaces_give_the_fractions_of_the_rows(drawn: tuple[dict, Path]) -> None:
    """F² = ‖B g‖²/‖g‖² of what is stored, to the two digits that bytes have."""
    run = drawn[1]
    kept = read_pictures(run / "artefacts" / "pictures.safetensors", "mfa")
    rows = pl.read_parquet(run / "rows.parquet")
    assert kept.ids is not None
    assert set(kept.tangents) == {"", "local-pca"}
    for name, (values, scales) in kept.tangents.items():
        basis = torch.from_numpy(values).double() / 127 * torch.from_numpy(scales).double()[..., None]
        key = "tangent_fraction.margin" + (f".tangents={name}" if name else "")
        for trial in ("standard-0-s0", "gradient_norm-0.1-s0"):
            own = rows.filter(pl.col("trial") == trial)
            measured = dict(zip(own["image"], own[key], strict=True))
            g = torch.from_numpy(kept.pictures[f"gradient.{trial}"]).double().flatten(1)
            share = (basis @ g[..., None]).square().sum((1, 2)) / g.square().sum(1)
            wanted = torch.tensor([measured[i] for i in kept.ids.tolist()], dtype=torch.float64)
            assert (share - wanted).abs().max() < 0.02


def test_pictures_of_an_earlier_version_are_drawn_anew(drawn: tuple[dict, Path], tmp_path: Path) -> None:
    layout = Layout(drawn[1])
    tensors, header = read_tensors(layout.pictures)
    shown = layout.pictured()
    assert shown is not None
    assert shown[1] == header["ids"]
    former = Layout(tmp_path)
    (tmp_path / "artefacts").mkdir()
    write_tensors(former.pictures, tensors, {name: value for name, value in header.items() if name != "schema"})
    assert former.pictured() is None


def test_tiny_gradients_keep_their_digits_and_zero_stays_zero() -> None:
    picture = torch.tensor([[[[3e-9, -1e-9]]], [[[0.0, 0.0]]], [[[torch.nan, 1.0]]]])
    kept = halved("g", picture)
    assert kept["g"].dtype == torch.float16
    whole = kept["g"].float() * kept["scale.g"][:, None, None, None]
    assert torch.allclose(whole[0], picture[0], rtol=1e-3)
    assert (whole[1] == 0).all()
    assert whole[2].isnan().tolist() == [[[True, False]]]


class _Soft:
    """One soft space for all images."""

    max_rank = 2

    def at(self, x: torch.Tensor, ids: torch.Tensor | None = None) -> TangentSpace:
        basis = torch.eye(4)[:, :2].expand(len(x), 4, 2)
        weights = torch.tensor([1.0, 0.25]).expand(len(x), 2)
        return TangentSpace(basis, torch.full((len(x),), 2), weights=weights)


def test_soft_spaces_are_kept_with_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    x, ids = torch.rand(9, 1, 2, 2), torch.arange(9)
    kept = kept_tangents("t", _Soft(), x, ids)  # type: ignore[arg-type]
    rows = kept["t"].float() / 127 * kept["scale.t"][..., None]
    assert torch.allclose(rows.mT @ rows, torch.diag(torch.tensor([1.0, 0.25, 0, 0])).expand(9, 4, 4), atol=1e-6)
    monkeypatch.setattr("tangency.study.work.pictures._LARGEST", 9 * 4 * 2 - 1)
    assert kept_tangents("t", _Soft(), x, ids) == {}  # type: ignore[arg-type]
