"""Folders of diffusers against diffusers' own schedulers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, EDMEulerScheduler, UNet2DModel
from torch.nn import functional as F

from tangency.autodiff import double_backward
from tangency.data import load
from tangency.errors import ModelError, NumericsError
from tangency.score import denoising_error, load_diffusers, load_network, save_score


def unet(**changes: Any) -> UNet2DModel:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    return UNet2DModel(**options | changes).eval()


def pipeline(folder: Path, scheduler: Any, net: UNet2DModel | None = None) -> UNet2DModel:
    net = net or unet()
    DDPMPipeline(unet=net, scheduler=scheduler).save_pretrained(folder)
    return net


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
def test_denoiser_is_that_of_diffusers_own_scheduler(tmp_path: Path, prediction: str, schedule: str) -> None:
    scheduler = DDPMScheduler(beta_schedule=schedule, prediction_type=prediction, clip_sample=False)
    net = pipeline(tmp_path / "ddpm", scheduler)
    score = load_diffusers(tmp_path / "ddpm")
    x = torch.rand(2, 3, 8, 8)
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for t in (0, 10, 137, 600, 998):
        bar = scheduler.alphas_cumprod[t].double()
        mixed = bar.sqrt() * (2 * x - 1).double() + (1 - bar).sqrt() * noise.double()  # as diffusers adds noise
        with torch.no_grad():
            output = net(mixed.float(), torch.tensor(float(t))).sample
        scheduler.set_timesteps(1000)
        wanted = scheduler.step(output.double(), t, mixed).pred_original_sample
        sigma = float(((1 - bar) / bar).sqrt()) / 2
        found = score.denoise(((mixed / bar.sqrt() + 1) / 2), sigma)
        scale = (mixed / bar.sqrt()).abs().max()  # D = x − σε: two numbers of this size
        assert float((2 * found - 1 - wanted).abs().max() / scale) < 1e-5, t


def test_sigma_reaches_as_far_as_the_schedule_and_no_further(tmp_path: Path) -> None:
    pipeline(tmp_path, DDPMScheduler(clip_sample=False))
    score = load_diffusers(tmp_path)
    assert score.settings.sigma_range == pytest.approx((0.0100 / 2, 157.4 / 2), rel=1e-3)
    with pytest.raises(NumericsError, match="the largest"):
        score.denoise(torch.rand(1, 3, 8, 8), 80.0)


def test_time_steps_between_two_levels_are_fractional(tmp_path: Path) -> None:
    pipeline(tmp_path, DDPMScheduler(clip_sample=False))
    score, x = load_diffusers(tmp_path), torch.rand(1, 3, 8, 8)
    asked: list[float] = []
    score.module.register_forward_pre_hook(lambda module, inputs: asked.append(float(inputs[1])))
    for sigma in (0.05, 0.1, 0.25, 0.5, 1.2):  # of [−1, 1]; numbers of THEORY §2.4
        score.denoise(x, sigma / 2)
    assert asked == pytest.approx([10.95, 26.4, 72.6, 144.2, 293.5], abs=0.06)


def test_an_edm_scheduler_means_preconditioning(tmp_path: Path) -> None:
    scheduler = EDMEulerScheduler()
    net = pipeline(tmp_path, scheduler)
    score, x, sigma = load_diffusers(tmp_path), torch.rand(2, 3, 8, 8), 0.7
    u = 2 * x - 1
    with torch.no_grad():
        raw = net(scheduler.precondition_inputs(u, sigma), scheduler.precondition_noise(sigma)).sample
    wanted = scheduler.precondition_outputs(u, raw, sigma)
    torch.testing.assert_close(2 * score.denoise(x, sigma / 2) - 1, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_ddpm_of_the_documented_loop_loads_and_denoises(tmp_path: Path) -> None:
    data = load("fashion-mnist-5k")
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    net = unet(sample_size=28, in_channels=1, out_channels=1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for step in range(100):
        clean = 2 * data.train.images(torch.arange(16) + 16 * step) - 1
        noise, t = torch.randn_like(clean), torch.randint(0, 1000, (16,))
        loss = F.mse_loss(net(scheduler.add_noise(clean, noise, t), t, return_dict=False)[0], noise)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    pipeline(tmp_path, scheduler, net)
    score = load_diffusers(tmp_path)
    for sigma in (0.25, 0.5):
        error = denoising_error(score, data.test.subset(slice(0, 32)), sigma)
        assert float(error.mean()) < 0.5 * sigma**2


def test_conditional_networks_want_their_labels(tmp_path: Path) -> None:
    pipeline(tmp_path, DDPMScheduler(), unet(num_class_embeds=4))
    score, x = load_diffusers(tmp_path), torch.rand(3, 3, 8, 8)
    assert score.classes == 4
    assert score.denoise(x, 0.25, torch.tensor([0, 1, 3])).shape == x.shape
    with pytest.raises(NumericsError, match="conditional only"):
        score.denoise(x, 0.25)


def test_learned_variances_are_left_out(tmp_path: Path) -> None:
    net = unet(out_channels=6)
    pipeline(tmp_path, DDPMScheduler(), net)
    assert load_diffusers(tmp_path).denoise(torch.rand(2, 3, 8, 8), 0.3).shape == (2, 3, 8, 8)


def test_it_can_be_converted(tmp_path: Path) -> None:
    pipeline(tmp_path / "ddpm", DDPMScheduler(beta_schedule="squaredcos_cap_v2"))
    score, x = load_diffusers(tmp_path / "ddpm"), torch.rand(2, 3, 8, 8)
    save_score(score, tmp_path / "net.safetensors")
    again = load_network(tmp_path / "net.safetensors")
    assert again.settings == score.settings
    assert torch.equal(again.denoise(x, 0.2), score.denoise(x, 0.2))


def test_attention_has_forward_mode_and_double_backward(tmp_path: Path) -> None:
    pipeline(tmp_path, DDPMScheduler())
    score, x = load_diffusers(tmp_path), torch.rand(1, 3, 8, 8, dtype=torch.float64)
    score.module.double()
    v = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with double_backward():
        _, forward = torch.func.jvp(lambda x: score.denoise(x, 0.3), (x,), (v,))
        step = 1e-6 * v
        numeric = (score.denoise(x + step, 0.3) - score.denoise(x - step, 0.3)) / 2e-6
        torch.testing.assert_close(forward, numeric, rtol=1e-5, atol=1e-6)
        leaf = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad((score.denoise(leaf, 0.3) * v).sum(), leaf, create_graph=True)
        (twice,) = torch.autograd.grad(gradient.square().sum(), leaf)
    assert float(twice.abs().max()) > 0


def spoil(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "latent and text-conditional"),
        ("unet/config.json", {"center_input_sample": True}, "scales its input"),
        ("unet/config.json", {"time_embedding_type": "fourier"}, "divides its output"),
        ("unet/config.json", {"sample_size": None}, r"\?size=32"),
        ("unet/config.json", {"block_out_channels": [8, 32]}, "do not fit"),
        ("unet/config.json", {"down_block_types": ["NoSuchBlock", "DownBlock2D"]}, "cannot be built"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow_prediction"}, "flow_prediction"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "unheard of"}, "does not know its schedule"),
    ],
)
def test_unknown_folders_are_refused(tmp_path: Path, file: str, changes: dict[str, Any], message: str) -> None:
    pipeline(tmp_path, DDPMScheduler())
    spoil(tmp_path / file, **changes)
    with pytest.raises(ModelError, match=message):
        load_diffusers(tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_diffusers(tmp_path)
    pipeline(tmp_path, DDPMScheduler())
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(ModelError, match="not a readable safetensors"):
        load_diffusers(tmp_path)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelError, match="neither a zip archive nor a pickle"):
        load_diffusers(tmp_path)
    weights.with_suffix(".bin").rename(weights.with_suffix(".msgpack"))
    with pytest.raises(ModelError, match=r"got diffusion_pytorch_model\.msgpack"):
        load_diffusers(tmp_path)
    (tmp_path / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(ModelError, match="scheduler_config"):
        load_diffusers(tmp_path)
