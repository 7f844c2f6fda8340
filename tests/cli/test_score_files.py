"""Score networks of other libraries from the command line: examined, measured with, converted, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, ScoreSdeVeScheduler, UNet2DModel
from typer.testing import CliRunner

from score.kdiffusion_fixture import ANSWERS, write_inference
from tangency.cli.app import app
from tangency.errors import TangencyError
from tangency.models import build, save_classifier
from tangency.worlds import load_dataset

WORLD = "world:linear?rank=3&classes=2&shape=1x8x8&train=128&test=40"
QUICK = ("--limit", "4", "--samples", "2", "--sigmas", "0.5", "--baselines", "identity")


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def folder_of(place: Path, variant: str | None = None, ve: bool = False) -> str:
    torch.manual_seed(0)
    net = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        time_embedding_type="fourier" if ve else "positional",
        center_input_sample=ve,
    )
    net.half().save_pretrained(place / "unet", variant=variant)
    (ScoreSdeVeScheduler(sigma_max=50.0) if ve else DDPMScheduler()).save_pretrained(place / "scheduler")
    return f"diffusers:{place}"


def kdiffusion_of(place: Path) -> str:
    case = json.loads(ANSWERS.read_text())["unet that still grows"]
    return f"k-diffusion:{write_inference(place / 'net.safetensors', case, torch.float16)}"


def test_they_are_examined_and_what_was_read_is_said(tmp_path: Path) -> None:
    for reference, said in (
        (folder_of(tmp_path / "fp16", variant="fp16"), "variant fp16, the only ones"),
        (folder_of(tmp_path / "ve", ve=True), "gives the score itself, of images in [0, 1]"),
        (kdiffusion_of(tmp_path), "weights in half precision"),
    ):
        result = run("score", "eval", reference, "--data", WORLD, *QUICK, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.output)
        assert any(said in sentence for sentence in found["score"]["reading"])
        assert [level["sigma"] for level in found["noise_levels"]] == [0.5]
    assert said in run("score", "eval", reference, "--data", WORLD, *QUICK).output


def test_they_are_measured_with(tmp_path: Path) -> None:
    save_classifier(build("convnet", (1, 8, 8), load_dataset(WORLD).train.classes), tmp_path / "classifier.safetensors")
    for reference in (folder_of(tmp_path / "fp16", variant="fp16"), kdiffusion_of(tmp_path)):
        asked = ("measure", "--model", str(tmp_path / "classifier.safetensors"), "--data", WORLD, "--limit", "8")
        result = run(*asked, "--score", f"exact,network:{reference}", "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.output)
        assert any("network_score" in key for key in found["measures"])
        assert any(warning.startswith(f"score '{reference}': ") for warning in found["warnings"])


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("diffusers:nowhere", "no config.json"),
        ("k-diffusion:nowhere.safetensors", "no such file"),
        ("checkpoint_8.pth", "convert_ncsnpp_original_checkpoint_to_diffusers"),
        ("score_sde:checkpoint_8.pth", "load diffusers:DIR"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_way_out(reference: str, message: str) -> None:
    result = run("score", "eval", reference, "--data", WORLD)
    assert isinstance(result.exception, TangencyError)  # which `tangency` turns into one paragraph and exit code 2
    assert message in str(result.exception)
