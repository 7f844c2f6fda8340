"""Weights of diffusers folders as people have them, against what diffusers itself makes of the same files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from tangency.errors import DataError, ModelError
from tangency.score import NetworkScore, load_diffusers, load_score
from tangency.score.references import fingerprint

STEM = "diffusion_pytorch_model"
OLD = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
LEVEL = 300  # time step that is asked


@pytest.fixture(scope="module")
def net() -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=None,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ).eval()


def folder_of(net: UNet2DModel, place: Path, **options: Any) -> Path:
    net.save_pretrained(place / "unet", **options)
    DDPMScheduler(clip_sample=False).save_pretrained(place / "scheduler")
    return place


def with_old_names(place: Path) -> Path:
    path = place / "unet" / f"{STEM}.safetensors"
    renamed = {}
    for name, tensor in load_file(path).items():
        for new, old in OLD.items():
            name = name.replace(new, old) if "attentions" in name else name
        renamed[name] = tensor.clone()
    save_file(renamed, path, metadata={"format": "pt"})
    return place


def owners(home: Path, **options: Any) -> UNet2DModel:
    return UNet2DModel.from_pretrained(home, **options).eval().float()


def gap(score: NetworkScore, net: UNet2DModel) -> float:
    """Largest difference of D from diffusers' own x₀ on [-1, 1], relative to the noisy image."""
    bar = DDPMScheduler().alphas_cumprod[LEVEL]
    u = 2 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        noise = net(u * bar.sqrt(), LEVEL).sample
        sigma = float(((1 - bar) / bar).sqrt())
        return float((2 * score.denoise((u + 1) / 2, sigma / 2) - 1 - (u - sigma * noise)).abs().max())


def reading(score: NetworkScore) -> str:
    return " | ".join(score.settings.provenance["reading"])


@pytest.mark.parametrize("root", [False, True])
def test_attention_names_from_before_0_17(tmp_path: Path, net: UNet2DModel, root: bool) -> None:
    place = with_old_names(folder_of(net, tmp_path / "old"))
    home = place / "unet"
    if root:  # as google/ddpm-cifar10-32
        home = tmp_path / "root"
        shutil.copytree(place / "unet", home)
        shutil.copy(place / "scheduler" / "scheduler_config.json", home)
    score = load_diffusers(home if root else place)
    assert gap(score, owners(home)) < 1e-5
    assert gap(score, net) < 1e-5
    assert "before diffusers 0.17" in reading(score)
    assert reading(load_diffusers(folder_of(net, tmp_path / "new"))) == ""


def test_the_only_variant_is_taken_and_said(tmp_path: Path, net: UNet2DModel) -> None:
    half = UNet2DModel.from_config(net.config)
    half.load_state_dict(net.state_dict())
    place = folder_of(half.half(), tmp_path, variant="fp16")
    score = load_diffusers(place)
    assert gap(score, owners(place / "unet", variant="fp16")) < 1e-5
    assert gap(score, net) < 1e-2
    assert "variant fp16, the only ones" in reading(score)
    assert "half precision" in reading(score)


def test_a_variant_beside_the_plain_weights(tmp_path: Path, net: UNet2DModel) -> None:
    other = UNet2DModel.from_config(net.config).eval()
    folder_of(net, tmp_path)
    other.save_pretrained(tmp_path / "unet", variant="ema")
    plain, chosen = load_score(f"diffusers:{tmp_path}"), load_score(f"diffusers:{tmp_path}?variant=ema")
    assert isinstance(plain, NetworkScore)
    assert isinstance(chosen, NetworkScore)
    assert (gap(plain, net), gap(chosen, other)) < (1e-5, 1e-5)
    assert gap(chosen, other) < 1e-5
    assert fingerprint(f"diffusers:{tmp_path}") != fingerprint(f"diffusers:{tmp_path}?variant=ema")
    with pytest.raises(ModelError, match=r"unknown variant .fp16.\. Known: ema"):
        load_diffusers(tmp_path, variant="fp16")
    (tmp_path / "unet" / f"{STEM}.safetensors").rename(tmp_path / "unet" / f"{STEM}.fp16.safetensors")
    with pytest.raises(ModelError, match=r"variants ema, fp16.*\?variant=ema"):
        load_diffusers(tmp_path)


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("safe", [True, False])
def test_shards(tmp_path: Path, net: UNet2DModel, variant: str | None, safe: bool) -> None:
    place = folder_of(net, tmp_path, max_shard_size="50KB", variant=variant, safe_serialization=safe)
    home = place / "unet"
    shards = sorted(path for path in home.iterdir() if "-of-" in path.name)
    assert len(shards) > 2
    score = load_diffusers(place)
    assert gap(score, net) < 1e-5
    assert score.settings.provenance["weights"] == [path.name for path in shards]
    index = next(home.glob("*index*"))
    if variant and safe:  # as diffusers named the index before 0.29
        index = index.rename(home / f"{STEM}.safetensors.fp16.index.json")
        assert gap(load_diffusers(place), net) < 1e-5
    identity = fingerprint(f"diffusers:{place}")
    content = shards[-1].read_bytes()
    shards[-1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert fingerprint(f"diffusers:{place}") != identity
    shards[-1].unlink()
    with pytest.raises(ModelError, match=f"1 of its {len(shards)} shards are missing, {shards[-1].name}"):
        load_diffusers(place)
    for strange in ("../away.safetensors", "/etc/passwd", "a.pkl"):
        index.write_text(json.dumps({"weight_map": {"conv_in.weight": strange}}))
        with pytest.raises(ModelError, match="expected files beside it"):
            load_diffusers(place)


def test_pickled_weights_are_read_and_never_run(tmp_path: Path, net: UNet2DModel) -> None:
    place = folder_of(net, tmp_path, safe_serialization=False)
    weights = place / "unet" / f"{STEM}.bin"
    score = load_diffusers(place)
    assert gap(score, net) < 1e-5
    assert "pickle, nothing of which was run" in reading(score)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "was run"),)

    weights.write_bytes(pickle.dumps({"conv_in.weight": Evil()}))
    with pytest.raises(ModelError, match=r"diffusion_pytorch_model\.bin"):
        load_diffusers(place)
    assert not (tmp_path / "was run").exists()


def test_the_networks_own_scheduler_comes_before_one_beside_it(tmp_path: Path, net: UNet2DModel) -> None:
    DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(tmp_path / "scheduler")
    net.save_pretrained(tmp_path / "mine")
    DDPMScheduler().save_pretrained(tmp_path / "mine")
    assert gap(load_diffusers(tmp_path / "mine"), net) < 1e-5


def test_identity_is_of_what_is_read_wherever_it_lies(tmp_path: Path, net: UNet2DModel) -> None:
    place = folder_of(net, tmp_path / "a")
    identity = fingerprint(f"diffusers:{place}")
    (place / "unet" / "notes.json").write_text("{}")
    shutil.copytree(place, tmp_path / "b")
    assert fingerprint(f"diffusers:{tmp_path / 'b'}") == identity
    DDPMScheduler(beta_end=0.03).save_pretrained(place / "scheduler")
    changed = fingerprint(f"diffusers:{place}")
    config = place / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"norm_eps": 1e-4}))
    assert len({identity, changed, fingerprint(f"diffusers:{place}"), fingerprint(f"diffusers:{place}?size=16")}) == 4


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("unet/config.json", {"block_out_channels": [8, 10**9]}, "whole number from 1"),
        ("unet/config.json", {"block_out_channels": [8, 16384]}, "do not fit"),
        ("unet/config.json", {"layers_per_block": 10**8}, "layers_per_block"),
        ("unet/config.json", {"num_class_embeds": 10**12}, "num_class_embeds"),
        ("unet/config.json", {"time_embedding_dim": 10**12}, "time_embedding_dim"),
        ("unet/config.json", {"sample_size": "8"}, "sample_size"),
        ("unet/config.json", {"time_embedding_type": "unheard of"}, "cannot be built"),
        ("unet/config.json", {"downsample_padding": 0.5}, "does not run on images"),
        ("unet/config.json", {"sample_size": 9}, r"expected two sides that 2 divides.*\?size="),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}, "num_train_timesteps"),
        ("scheduler/scheduler_config.json", {"_class_name": "EDMEulerScheduler", "sigma_min": [1]}, "sigma_min"),
        ("scheduler/scheduler_config.json", {"_class_name": "ScoreSdeVeScheduler", "sigma_max": "x"}, "sigma_max"),
    ],
)
def test_numbers_out_of_bounds_cost_nothing(
    tmp_path: Path, net: UNet2DModel, file: str, changes: dict[str, Any], message: str
) -> None:
    path = folder_of(net, tmp_path) / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=message):
        load_diffusers(tmp_path)


def test_fewer_channels_out_than_in_are_refused(tmp_path: Path) -> None:
    net = UNet2DModel(
        sample_size=8,
        out_channels=1,
        block_out_channels=(8,),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    with pytest.raises(ModelError, match=r"into \(1, 8, 8\), expected as many channels"):
        load_diffusers(folder_of(net, tmp_path))


def test_unknown_options_are_named(tmp_path: Path, net: UNet2DModel) -> None:
    folder_of(net, tmp_path)
    with pytest.raises(DataError, match="variant"):
        load_score(f"diffusers:{tmp_path}?varient=fp16")
    with pytest.raises(ModelError, match=r"range=0\.\.1, but networks of a DDPMScheduler"):
        load_score(f"diffusers:{tmp_path}?range=0..1")
