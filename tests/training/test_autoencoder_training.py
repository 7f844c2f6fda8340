"""Training of autoencoders: the loss, stops and resumes, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tangency.errors import DataError, ModelError, RunError, SpecError
from tangency.seeding import Draw
from tangency.tangents import ConvAutoencoder, autoencoder_losses
from tangency.tangents.autoencoders.files import (
    AutoencoderCard,
    build_autoencoder,
    load_autoencoder,
    load_diffusers_autoencoder,
    save_autoencoder,
)
from tangency.tensors import digest, read_tensors
from tangency.training import AUTOENCODER_CONFIG, train_autoencoder
from tangency.types import LabelledImages

SHAPE = (1, 6, 8)
CONFIG = dataclasses.replace(AUTOENCODER_CONFIG, epochs=2, batch_size=16, validation_fraction=0.2)


def data(n: int = 60) -> LabelledImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, *SHAPE), generator=generator).to(torch.uint8)
    return LabelledImages(pixels, torch.arange(n) % 3, ("a", "b", "c"))


def made(beta: float = 0.0, **options: Any) -> tuple[ConvAutoencoder, AutoencoderCard]:
    options = {"latent": 3, "widths": [4, 8], "variational": beta > 0} | options
    card = AutoencoderCard(SHAPE, options, beta)
    return build_autoencoder(card), card


class Stop(Exception):
    pass


@pytest.mark.parametrize("beta", [0.0, 0.01])
def test_stopped_after_any_step_it_ends_the_same(beta: float, tmp_path: Path) -> None:
    always = dataclasses.replace(CONFIG, checkpoint_seconds=0.0)
    whole = train_autoencoder(*made(beta), data(), CONFIG, tmp_path / "whole")
    assert whole.outcome == "ok"
    assert whole.history[-1]["validation_error"] > 0

    def stop(step: Any) -> None:
        raise Stop

    for _ in range(12):
        try:
            train_autoencoder(*made(beta), data(), always, tmp_path / "cut", on_step=stop)
            break
        except Stop:
            continue
    else:
        pytest.fail("it does not get on")
    cut, _ = load_autoencoder(tmp_path / "cut" / "autoencoder.safetensors")
    assert digest(cut.state_dict()) == digest(whole.module.state_dict())
    again = train_autoencoder(*made(beta), data(), CONFIG, tmp_path / "whole")  # not trained again
    assert again.seconds == whole.seconds


def test_it_learns_to_reconstruct(tmp_path: Path) -> None:
    images = data()
    flat = LabelledImages(
        torch.linspace(0, 1, 60)[:, None, None, None].expand(60, *SHAPE).clone(), images.labels, images.classes
    )
    config = dataclasses.replace(CONFIG, epochs=40)
    result = train_autoencoder(*made(), flat, config, tmp_path)
    assert result.history[-1]["validation_error"] < 0.3 * result.history[0]["validation_error"]


def test_the_loss_of_a_vae_is_the_elbos() -> None:
    module, _ = made(0.02)
    x, draw = data().images()[:5], Draw(0, torch.arange(5), "x")
    mean, log_variance = module.posterior(x)
    z = mean + (log_variance / 2).exp() * draw.of("code").normal((3,))
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1)
    expected = (module.decode(z) - x).square().flatten(1).sum(1) + 2 * 0.02 * divergence
    torch.testing.assert_close(autoencoder_losses(module, x, 0.02, draw), expected)
    torch.testing.assert_close(module.encode(x), mean)


def test_trainings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    module, card = made()
    with pytest.raises(DataError, match="has no images"):
        train_autoencoder(module, card, data(0), CONFIG, tmp_path)
    with pytest.raises(ModelError, match="the autoencoder takes"):
        train_autoencoder(*made(), dataclasses.replace(data(), pixels=data().pixels[:, :, :5]), CONFIG, tmp_path)
    with pytest.raises(SpecError, match=r"beta: got 0\.1 for a plain autoencoder"):
        train_autoencoder(module, dataclasses.replace(card, beta=0.1), data(), CONFIG, tmp_path)
    train_autoencoder(module, card, data(), CONFIG, tmp_path)
    with pytest.raises(RunError, match="another training"):
        train_autoencoder(*made(latent=2), data(), CONFIG, tmp_path)
    with pytest.raises(SpecError, match="expected positive numbers"):
        made(latent=0)
    with pytest.raises(ModelError, match="cannot be built"):
        made(latents=2)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RunError, match="got a file"):
        train_autoencoder(*made(), data(), CONFIG, file)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    module, card = made(0.01)
    path = tmp_path / "net.safetensors"
    save_autoencoder(module, card, path)
    found, told = load_autoencoder(path)
    assert told == card
    assert digest(found.state_dict()) == digest(module.state_dict())
    assert not found.training
    from tangency.tensors import write_tensors

    tensors, header = read_tensors(path)
    header["autoencoder"]["shape"] = [1, 6]
    write_tensors(path, tensors, header)
    with pytest.raises(ModelError, match=r"expected \(C, H, W\)"):
        load_autoencoder(path)
    write_tensors(path, tensors, {"score": {}})
    with pytest.raises(ModelError, match="holds no autoencoder"):
        load_autoencoder(path)


@pytest.mark.parametrize(("name", "channels"), [("AutoencoderKL", 1), ("AutoencoderTiny", 3)])
def test_autoencoders_of_diffusers_are_read(name: str, channels: int, tmp_path: Path) -> None:
    import diffusers

    torch.manual_seed(0)
    if name == "AutoencoderKL":
        net = diffusers.AutoencoderKL(
            in_channels=1,
            out_channels=1,
            block_out_channels=(8, 8),
            norm_num_groups=4,
            latent_channels=2,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        )
    else:
        net = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
            latent_channels=2,
            upsampling_scaling_factor=2,
        )
    net.eval().save_pretrained(tmp_path)
    module, about = load_diffusers_autoencoder(tmp_path, (1, 8, 8))
    x = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        if name == "AutoencoderKL":
            code = net.encode(2 * x - 1).latent_dist.mean
            expected = (net.decode(code).sample + 1) / 2
        else:
            code = net.encode(x.repeat(1, 3, 1, 1)).latents
            expected = net.decode(code).sample.mean(1, keepdim=True)
        torch.testing.assert_close(module.encode(x), code.flatten(1))
        torch.testing.assert_close(module.decode(module.encode(x)), expected)
    assert about == {"class": name, "latent": code[0].numel()}
    from tangency.tangents import AutoencoderTangents

    space = AutoencoderTangents(module, (1, 8, 8), rank=3).at(x)
    assert space.rank.tolist() == [3, 3]
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(ModelError, match="is of class 'UNet2DModel'"):
        load_diffusers_autoencoder(tmp_path, (1, 8, 8))
