"""Variance-exploding networks of Song et al. (2021) in diffusers' folders, against diffusers' own forward and steps."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import KarrasVeScheduler, ScoreSdeVeScheduler, UNet2DModel
from torch import Tensor, nn

from tangency.autodiff import double_backward
from tangency.data import load
from tangency.errors import ModelError
from tangency.score import denoising_error, load_diffusers, load_network, load_score, save_score
from tangency.score.references import readings


def ncsnpp(**changes: Any) -> UNet2DModel:
    """A small network of the layout of google/ncsnpp-celebahq-256."""
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (32, 32, 32),
        "layers_per_block": 1,
        "down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D", "SkipDownBlock2D"),
        "up_block_types": ("SkipUpBlock2D", "AttnSkipUpBlock2D", "SkipUpBlock2D"),
        "time_embedding_type": "fourier",
        "center_input_sample": True,
        "mid_block_scale_factor": math.sqrt(2),
        "attention_head_dim": None,
        "norm_num_groups": None,
        "norm_eps": 1e-6,
        "freq_shift": 0,
        "flip_sin_to_cos": True,
    }
    return UNet2DModel(**options | changes).eval()


def folder_of(place: Path, net: UNet2DModel, scheduler: Any = None, root: bool = False) -> Path:
    net.save_pretrained(place if root else place / "unet")
    (scheduler or ScoreSdeVeScheduler(sigma_max=50.0)).save_pretrained(place if root else place / "scheduler")
    return place


@pytest.mark.parametrize("root", [False, True])
def test_the_answer_is_the_score_of_images_in_the_unit_range(tmp_path: Path, root: bool) -> None:
    net = ncsnpp()
    score = load_diffusers(folder_of(tmp_path, net, root=root))
    assert (score.data_range, score.settings.sigma_range) == ((0.0, 1.0), (0.01, 50.0))
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for sigma in (0.01, 0.25, 3.0, 50.0):
        x = torch.rand(2, 3, 16, 16) + sigma * noise
        with torch.no_grad():
            answer = net(x, torch.full((2,), sigma)).sample
        wanted = x.double() + sigma**2 * answer.double()
        scale = float(wanted.abs().max())
        torch.testing.assert_close(score.denoise(x.double(), sigma), wanted, rtol=0, atol=1e-5 * scale)
        torch.testing.assert_close(score.score(x, sigma), answer, rtol=1e-4, atol=1e-5 * float(answer.abs().max()))


def test_a_step_of_the_scheduler_is_one_along_the_score(tmp_path: Path) -> None:
    scheduler = ScoreSdeVeScheduler(sigma_max=50.0)
    score = load_diffusers(folder_of(tmp_path, ncsnpp(), scheduler))
    scheduler.set_timesteps(100)
    scheduler.set_sigmas(100)
    x = torch.rand(1, 3, 16, 16)
    for index in (20, 60):
        t, sigma = scheduler.timesteps[index], float(scheduler.discrete_sigmas[99 - index])
        step = scheduler.step_pred(score.score(x, sigma), t, x, generator=torch.Generator().manual_seed(0))
        variance = sigma**2 - float(scheduler.discrete_sigmas[98 - index]) ** 2
        # Song et al. (2021), algorithm 2: the mean of a step is x + (σ_i² − σ_{i−1}²) s.
        wanted = x + variance / sigma**2 * (score.denoise(x, sigma) - x)
        torch.testing.assert_close(step.prev_sample_mean, wanted, rtol=1e-3, atol=1e-3)


class Zeroed(nn.Module):
    """The exact score of N(½, 0) + σn as a network of diffusers gives it, in place of a trained one."""

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """−(x − ½)/σ²."""
        return -(x - 0.5) / time[:, None, None, None] ** 2


def test_an_exact_score_denoises_exactly(tmp_path: Path) -> None:
    score = load_diffusers(folder_of(tmp_path, ncsnpp()))
    score.module = Zeroed()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(score.denoise(x, 0.7), torch.full_like(x, 0.5))


def test_a_network_trained_by_score_matching_denoises(tmp_path: Path) -> None:
    data = load("fashion-mnist-5k")
    net = ncsnpp(  # diffusers' blocks that carry the image along are of three channels
        sample_size=28,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(40):
        clean = data.train.images(torch.arange(16) + 16 * step)
        sigma = torch.empty(16).uniform_(math.log(0.2), math.log(0.6), generator=torch.Generator().manual_seed(step))
        sigma, noise = sigma.exp(), torch.randn(clean.shape, generator=torch.Generator().manual_seed(step))
        wide = sigma[:, None, None, None]
        # Song et al. (2021), equation 7 with λ = σ²: the network learns −n/σ.
        loss = (wide * net(clean + wide * noise, sigma).sample + noise).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    score = load_score(f"diffusers:{folder_of(tmp_path, net)}", data)
    for sigma in (0.25, 0.5):
        assert float(denoising_error(score, data.test.subset(slice(0, 16)), sigma).mean()) < 0.5 * sigma**2


def test_the_range_is_said_and_can_be_given(tmp_path: Path) -> None:
    folder_of(tmp_path, ncsnpp())
    assert readings(load_diffusers(tmp_path)) == [
        "the network of a ScoreSdeVeScheduler gives the score itself, of images in [0, 1]"
    ]
    with pytest.raises(ModelError, match=r"centres images of \[0, 1\] itself"):
        load_diffusers(tmp_path, span="-1..1")
    net = ncsnpp(center_input_sample=False)
    open_one = folder_of(tmp_path / "open", net)
    assert r"say ?range=-1..1" in readings(load_diffusers(open_one))[0]
    score = load_score(f"diffusers:{open_one}?range=-1..1")
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        wanted = 2 * net(2 * x - 1, torch.tensor([0.6])).sample  # a score doubles with the range
    torch.testing.assert_close(score.score(x, 0.3), wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match=r"0\.\.1"):
        load_diffusers(open_one, span="0..2")


def test_karras_ve_folders_are_asked_as_their_pipeline_does(tmp_path: Path) -> None:
    net = ncsnpp()
    score = load_diffusers(folder_of(tmp_path, net, KarrasVeScheduler()))
    assert score.settings.sigma_range == (0.01, 50.0)
    scheduler, sigma = KarrasVeScheduler(), 1.3  # of images in [-1, 1]
    u = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        output = sigma / 2 * net((u + 1) / 2, torch.tensor(sigma / 2)).sample
    wanted = scheduler.step(output, sigma, 0.5, u).pred_original_sample
    torch.testing.assert_close(2 * score.denoise((u + 1) / 2, sigma / 2) - 1, wanted, rtol=1e-4, atol=1e-4)


def test_frequencies_under_two_names_as_the_first_versions_kept_them(tmp_path: Path) -> None:
    net = ncsnpp()
    state = net.state_dict()
    folder_of(tmp_path, net)
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(state | {"time_proj.W": state["time_proj.weight"]}, tmp_path / "unet" / "diffusion_pytorch_model.bin")
    score, x = load_diffusers(tmp_path), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(score.score(x, 0.5), net(x, torch.tensor([0.5])).sample, rtol=1e-4, atol=1e-4)


def test_it_can_be_converted(tmp_path: Path) -> None:
    score, x = load_diffusers(folder_of(tmp_path, ncsnpp())), torch.rand(2, 3, 16, 16)
    save_score(score, tmp_path / "net.safetensors")
    again = load_network(tmp_path / "net.safetensors")
    assert again.settings == score.settings
    assert torch.equal(again.denoise(x, 0.2), score.denoise(x, 0.2))


def test_it_has_forward_mode_and_double_backward(tmp_path: Path) -> None:
    score, x = load_diffusers(folder_of(tmp_path, ncsnpp())), torch.rand(1, 3, 16, 16, dtype=torch.float64)
    score.module.double()
    v = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with double_backward():
        _, forward = torch.func.jvp(lambda x: score.denoise(x, 0.3), (x,), (v,))
        numeric = (score.denoise(x + 1e-6 * v, 0.3) - score.denoise(x - 1e-6 * v, 0.3)) / 2e-6
        torch.testing.assert_close(forward, numeric, rtol=1e-5, atol=1e-6)
        leaf = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad((score.denoise(leaf, 0.3) * v).sum(), leaf, create_graph=True)
        (twice,) = torch.autograd.grad(gradient.square().sum(), leaf)
    assert float(twice.abs().max()) > 0


def test_other_networks_that_divide_by_the_time_are_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, ncsnpp())
    path = tmp_path / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": "DDPMScheduler", "beta_schedule": "linear"}))
    with pytest.raises(ModelError, match="scheduler other than ScoreSdeVeScheduler"):
        load_diffusers(tmp_path)
