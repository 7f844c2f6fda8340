"""Networks of k-diffusion against k-diffusion's own answers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from score.kdiffusion_fixture import ANSWERS, CONFIGS, SIGMAS, answers_of, images_by_formula, write_inference
from tangency.autodiff import double_backward
from tangency.cli.app import app
from tangency.errors import DataError, ModelError
from tangency.score import NetworkScore, load_network, load_score, save_score
from tangency.score.networks.kdiffusion_file import load_kdiffusion
from tangency.score.references import fingerprint

CASES: dict[str, dict[str, Any]] = json.loads(ANSWERS.read_text())
NAMES = sorted(CASES)


def denoised(score: NetworkScore, case: dict[str, Any], index: int, labels: list[int] | None) -> torch.Tensor:
    """D of the fixture's images at one of its σ, on [-1, 1]."""
    u = images_by_formula(list(score.shape))
    y = None if labels is None else torch.tensor(labels)
    return 2 * score.denoise((u + 1) / 2, SIGMAS[index] / 2, y) - 1


def wanted(case: dict[str, Any], index: int) -> torch.Tensor:
    model = case["config"]["model"]
    return torch.tensor(case["answers"][index]).reshape(2, model["input_channels"], *model["input_size"])


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_of_k_diffusion(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    score = load_kdiffusion(write_inference(tmp_path / "net.safetensors", case))
    assert score.settings.sigma_range == (0.005, 40.0)
    for index in range(len(SIGMAS)):
        rows = [0, 1]
        for row in rows:  # the second image has no class, which is the last of k-diffusion's table
            label = None if case["labels"] is None or row else [case["labels"][0]] * 2
            found = denoised(score, case, index, label)[row]
            torch.testing.assert_close(found, wanted(case, index)[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_answers_are_those_of_k_diffusion_where_it_is_installed(name: str) -> None:
    reason = "k-diffusion is not installed; its stored answers are compared with above"
    k_diffusion = pytest.importorskip("k_diffusion", reason=reason)
    config = k_diffusion.config.load_config(copy.deepcopy(CONFIGS[name]))
    network = k_diffusion.config.make_model(config).eval()
    denoiser = k_diffusion.config.make_denoiser_wrapper(config)(network)
    again = answers_of(network, denoiser, config, CASES[name]["labels"])
    torch.testing.assert_close(torch.tensor(again["answers"]), torch.tensor(CASES[name]["answers"]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_with_in_float32_and_said(tmp_path: Path, dtype: torch.dtype) -> None:
    case = CASES["unet"]
    score = load_kdiffusion(write_inference(tmp_path / "net.safetensors", case, dtype))
    assert score.settings.provenance["reading"] == ["weights in half precision, computed with in float32"]
    torch.testing.assert_close(denoised(score, case, 1, None), wanted(case, 1), rtol=0, atol=3e-2)


def test_the_configuration_may_lie_beside_or_be_named(tmp_path: Path) -> None:
    case = CASES["transformer"]
    path = write_inference(tmp_path / "net.safetensors", case, header=False)
    with pytest.raises(ModelError, match=r"no configuration in its header, and no net\.json.*\?config="):
        load_kdiffusion(path)
    (tmp_path / "other.json").write_text(json.dumps(case["config"]))
    named = load_score(f"k-diffusion:{path}?config={tmp_path / 'other.json'}")
    (tmp_path / "other.json").rename(tmp_path / "net.json")
    beside = load_score(f"k-diffusion:{path}")
    x = torch.rand(1, *beside.shape)
    assert torch.equal(named.denoise(x, 0.2), beside.denoise(x, 0.2))


def test_the_defaults_are_those_of_k_diffusion(tmp_path: Path) -> None:
    for name, plain in CONFIGS.items():
        full = load_kdiffusion(write_inference(tmp_path / "a.safetensors", CASES[name])).settings
        short = load_kdiffusion(write_inference(tmp_path / "b.safetensors", CASES[name] | {"config": plain})).settings
        assert (full.options, full.sigma_data, full.classes) == (short.options, short.sigma_data, short.classes)


def test_identity_covers_weights_and_configuration(tmp_path: Path) -> None:
    case = CASES["unet"]
    path = write_inference(tmp_path / "net.safetensors", case, header=False)
    (tmp_path / "net.json").write_text(json.dumps(case["config"]))
    first = fingerprint(f"k-diffusion:{path}")
    (tmp_path / "net.json").write_text(json.dumps(case["config"], indent=1))
    second = fingerprint(f"k-diffusion:{path}")
    write_inference(path, case, torch.float16, header=False)
    assert len({first, second, fingerprint(f"k-diffusion:{path}")}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_they_can_be_converted(tmp_path: Path, name: str) -> None:
    source, target = write_inference(tmp_path / "net.safetensors", CASES[name]), tmp_path / "ours.safetensors"
    done = CliRunner().invoke(app, ["convert", f"k-diffusion:{source}", str(target)])
    assert done.exit_code == 0, done.output
    score, again = load_kdiffusion(source), load_network(target)
    assert again.settings == score.settings
    assert torch.equal(denoised(again, CASES[name], 1, None), denoised(score, CASES[name], 1, None))


@pytest.mark.parametrize("name", NAMES)
def test_they_have_forward_mode_and_double_backward(tmp_path: Path, name: str) -> None:
    score = load_kdiffusion(write_inference(tmp_path / "net.safetensors", CASES[name]))
    score.module.double()
    x = torch.rand(1, *score.shape, dtype=torch.float64)
    v = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with double_backward():
        _, forward = torch.func.jvp(lambda x: score.denoise(x, 0.3), (x,), (v,))
        numeric = (score.denoise(x + 1e-6 * v, 0.3) - score.denoise(x - 1e-6 * v, 0.3)) / 2e-6
        torch.testing.assert_close(forward, numeric, rtol=1e-5, atol=1e-6)
        leaf = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad((score.denoise(leaf, 0.3) * v).sum(), leaf, create_graph=True)
        (twice,) = torch.autograd.grad(gradient.square().sum(), leaf)
    assert float(twice.abs().max()) > 0


def changed(case: dict[str, Any], **settings: Any) -> dict[str, Any]:
    found = copy.deepcopy(case)
    found["config"]["model"] |= settings
    return found


NEIGHBOURS = [{"type": "neighborhood", "d_head": 16, "kernel_size": 7}] * 2 + [{"type": "global", "d_head": 32}]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hourglass", {"self_attns": NEIGHBOURS}, "level 0 has 'neighborhood' attention of 7.*FunctionScore"),
        ("hourglass", {"self_attns": None}, "neighborhood"),
        ("hourglass", {"self_attns": [{"type": "shifted-window", "window_size": 4}] * 3}, "shifted-window"),
        ("hourglass", {"depths": [1, 2]}, "differ in length"),
        ("unet", {"type": "image_v2"}, "image_v1"),
        ("unet", {"cross_cond_dim": 16}, "cross_cond_dim is 16"),
        ("unet", {"channels": [8, 64]}, "do not fit"),
        ("unet", {"channels": [8, 10**12]}, "whole number from 1"),
        ("unet", {"depths": [1, 10**9]}, "whole number from 1"),
        ("unet", {"mapping_out": "8"}, "mapping_out is '8'"),
        ("unet", {"sigma_max": None}, "sigma_max is absent"),
        ("unet", {"sigma_data": -1}, "sigma_data is -1"),
        ("unet", {"input_size": [8, 5]}, "expected sides that"),
        ("transformer", {"width": 100}, "multiple of 64"),
        ("transformer", {"patch_size": 4}, "patch_size is 4"),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    tmp_path: Path, name: str, settings: dict[str, Any], message: str
) -> None:
    path = write_inference(tmp_path / "net.safetensors", changed(CASES[name], **settings))
    with pytest.raises(ModelError, match=message):
        load_kdiffusion(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write_inference(tmp_path / "net.safetensors", CASES["unet"])
    with pytest.raises(ModelError, match=rf"k-diffusion:{path}"):
        load_score(str(path))
    with pytest.raises(DataError, match="config"):
        load_score(f"k-diffusion:{path}?konfig=x")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="not a readable safetensors"):
        load_score(f"k-diffusion:{path}")
    with pytest.raises(ModelError, match="no such file"):
        load_score("k-diffusion:nowhere.safetensors")
    save_file({"a": torch.zeros(1)}, path, metadata={"config": "[1]"})
    with pytest.raises(ModelError, match=r"its header.*expected a mapping"):
        load_score(f"k-diffusion:{path}")


def test_what_is_ours_is_saved_as_ours(tmp_path: Path) -> None:
    score = load_kdiffusion(write_inference(tmp_path / "net.safetensors", CASES["hourglass"]))
    save_score(score, tmp_path / "half.safetensors", half=True)
    x = torch.rand(1, *score.shape)
    half = load_network(tmp_path / "half.safetensors").denoise(x, 0.2)
    torch.testing.assert_close(half, score.denoise(x, 0.2), rtol=0, atol=1e-2)
