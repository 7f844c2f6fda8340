"""Published networks of EDM are read from their pickles, and nothing in those is run."""

from __future__ import annotations

import hashlib
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from score.edm_fixture import (
    adm_oracle,
    edm_bytes,
    ncsn_oracle,
    persistent,
    precond,
    published_names,
    run_by_the_standard_library,
)
from tangency.data.classes import CIFAR10
from tangency.errors import ModelError, NumericsError
from tangency.score import Denoiser, load_network, save_score
from tangency.score.edm.pickle_file import load_edm_pickle

SMALL = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "num_blocks": 1, "channel_mult": [1, 2]}
DDPM = {**SMALL, "label_dim": 0, "augment_dim": 4, "model_channels": 32, "attn_resolutions": [4]}
NCSN = {"embedding_type": "fourier", "channel_mult_noise": 2, "encoder_type": "residual", "decoder_type": "standard"}
NCSN["resample_filter"] = [1, 3, 3, 1]


def oracle_of(kind: str, **options: Any) -> nn.Module:
    return adm_oracle(**options) if kind == "adm" else ncsn_oracle(kind, **options)


def levels(steps: int = 20) -> Tensor:
    """σ of iDDPM: u_M = 0, u_{j−1}² = (u_j² + 1)/max(ᾱ_{j−1}/ᾱ_j, C₁) − 1 with ᾱ_j = sin²(π j/(2 M (C₂ + 1)))."""
    u = [0.0]
    for j in range(steps, 0, -1):
        above, below = (math.sin(math.pi * i / (2 * steps * 1.008)) ** 2 for i in (j, j - 1))
        u.insert(0, math.sqrt((u[0] ** 2 + 1) / max(below / above, 0.001) - 1))
    return torch.tensor(u)


def expected_denoised(oracle: nn.Module, form: str, x: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
    """D on [0, 1] by the formulas of Karras et al. (2022), Table 1, around the oracle."""
    u, s = 2 * x.double() - 1, 2 * sigma.double()[:, None, None, None]
    if form == "EDMPrecond":
        total = s**2 + 0.25
        skip, out, inside, time = 0.25 / total, 0.5 * s / total.sqrt(), 1 / total.sqrt(), s.log() / 4
    elif form == "VEPrecond":
        skip, out, inside, time = 1, s, 1, (s / 2).log()
    elif form == "VPPrecond":
        t = ((0.01 + 2 * 19.9 * (1 + s**2).log()).sqrt() - 0.1) / 19.9
        skip, out, inside, time = 1, -s, 1 / (1 + s**2).sqrt(), 999 * t
    else:
        nearest = (levels()[None].double() - s.flatten()[:, None]).abs().argmin(1)
        skip, out, inside, time = 1, -s, 1 / (1 + s**2).sqrt(), len(levels()) - 2 - nearest.double()
    f = oracle.forward_unet((inside * u).float(), time.flatten().float(), label)[:, :3]
    return ((skip * u + out * f.double() + 1) / 2).to(x.dtype)


FORMS: dict[str, dict[str, Any]] = {
    "EDMPrecond": {},
    "VEPrecond": {"sigma_min": 0.02, "sigma_max": 100},
    "VPPrecond": {"sigma_min": 0.001, "sigma_max": 152.2, "beta_d": 19.9, "beta_min": 0.1, "M": 1000},
    "iDDPMPrecond": {"sigma_min": float(levels()[-2]), "sigma_max": float(levels()[0]), "u": levels()},
}


def written(path: Path, kind: str, form: str = "EDMPrecond", **changes: Any) -> nn.Module:
    """Write a file; returns the network in it."""
    options = {**DDPM, "model_channels": 64 if kind == "adm" else 32, **changes}
    if form == "iDDPMPrecond":
        options["out_channels"] = 6
    oracle = oracle_of(kind, **options)
    published = {**options, **(NCSN if kind == "ncsn" else {})}
    network = precond(persistent(oracle, published), form, label_dim=options["label_dim"], **FORMS[form])
    path.write_bytes(edm_bytes(network))
    return oracle


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "classes"), [("ddpm", 0), ("ncsn", 0), ("adm", 5)])
def test_the_denoiser_is_that_of_the_paper(tmp_path: Path, kind: str, classes: int, form: str) -> None:
    oracle = written(tmp_path / "net.pkl", kind, form, label_dim=classes)
    score = load_edm_pickle(tmp_path / "net.pkl")
    assert isinstance(score, Denoiser)
    generator = torch.Generator().manual_seed(0)
    x, sigma = torch.rand(4, 3, 8, 8, generator=generator), torch.tensor([0.03, 0.2, 0.9, 7.0])
    y = torch.tensor([4, 0, 1, 2]) if classes else None
    label = F.one_hot(y, classes).float() if y is not None else None
    noisy = x + sigma[:, None, None, None] * torch.randn(x.shape, generator=generator)
    with torch.no_grad():
        expected = expected_denoised(oracle, form, noisy, sigma, label)
    found = score.denoise(noisy, sigma, y)
    scale = (expected - noisy).flatten(1).norm(dim=1)
    assert float(((found - expected).flatten(1).norm(dim=1) / scale).max()) < 1e-5
    assert float((scale / sigma).min()) > 0.1  # the network counts at every σ


def test_the_card_tells_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "edm-cifar10-32x32-cond-vp.pkl"
    options = {**DDPM, "img_resolution": 32, "label_dim": 10, "model_channels": 32, "channel_mult": [1, 1]}
    network = precond(persistent(ncsn_oracle("ddpm", **options), options), img_resolution=32, label_dim=10)
    path.write_bytes(edm_bytes(network))
    score = load_edm_pickle(path)
    card = score.settings
    assert (card.network, card.prediction, card.shape, card.classes) == ("songunet", "edm", (3, 32, 32), CIFAR10)
    assert (card.sigma_range, card.data_range, card.sigma_data) == ((0.001, 40.0), (-1.0, 1.0), 0.5)
    assert (card.licence, card.unconditional, score.kind) == ("CC BY-NC-SA 4.0", False, path.stem)
    assert card.provenance == {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "preconditioning": "EDMPrecond",
        "network": "SongUNet",
    }
    assert next(score.module.parameters()).dtype == torch.float32
    assert not any(p.requires_grad for p in score.module.parameters())


def test_the_limits_of_noise_are_halved(tmp_path: Path) -> None:
    written(tmp_path / "ve.pkl", "ncsn", "VEPrecond")
    score = load_edm_pickle(tmp_path / "ve.pkl")
    assert score.settings.sigma_range == (0.01, 50.0)
    with pytest.raises(NumericsError, match="at most 50"):
        score.denoise(torch.rand(1, 3, 8, 8), 51.0)


def test_labels_are_needed_unless_training_hid_some(tmp_path: Path) -> None:
    x, y = torch.rand(2, 3, 8, 8), torch.tensor([0, 2])
    for dropped in (0, 0.1):
        oracle = written(tmp_path / "net.pkl", "ddpm", label_dim=3, label_dropout=dropped)
        score = load_edm_pickle(tmp_path / "net.pkl")
        assert score.settings.classes == ("0", "1", "2")
        assert not torch.equal(score.denoise(x, 0.3, y), score.denoise(x, 0.3, y.flip(0)))
        if not dropped:
            with pytest.raises(NumericsError, match="conditional only"):
                score.denoise(x, 0.3)
            continue
        with torch.no_grad():
            expected = expected_denoised(oracle, "EDMPrecond", x, torch.full((2,), 0.3), torch.zeros(2, 3))
        torch.testing.assert_close(score.denoise(x, 0.3), expected, rtol=1e-4, atol=1e-5)


def test_nothing_in_the_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "net.pkl", "ddpm")
    load_edm_pickle("net.pkl")
    assert [each.name for each in tmp_path.iterdir()] == ["net.pkl"]
    run_by_the_standard_library((tmp_path / "net.pkl").read_bytes())
    assert (tmp_path / "ran").exists(), "the fixture is harmless: this test proves nothing"


@pytest.mark.parametrize("form", FORMS)
def test_it_survives_conversion(tmp_path: Path, form: str) -> None:
    written(tmp_path / "net.pkl", "adm", form, label_dim=3, label_dropout=0.1)
    score = load_edm_pickle(tmp_path / "net.pkl")
    save_score(score, tmp_path / "net.safetensors")
    again = load_network(tmp_path / "net.safetensors")
    x, y = torch.rand(2, 3, 8, 8), torch.tensor([0, 2])
    assert again.settings == score.settings
    torch.testing.assert_close(again.denoise(x, 0.4, y), score.denoise(x, 0.4, y), rtol=0, atol=0)


def test_a_bare_network_and_half_precision_are_read(tmp_path: Path) -> None:
    oracle = ncsn_oracle("ddpm", **DDPM)
    path = tmp_path / "net.pkl"
    path.write_bytes(edm_bytes(precond(persistent(oracle, DDPM))))
    whole = load_edm_pickle(path)
    with published_names():
        path.write_bytes(pickle.dumps(precond(persistent(oracle.half(), DDPM)), protocol=3))
    half = load_edm_pickle(path)
    assert next(half.module.parameters()).dtype == torch.float32
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(half.denoise(x, 0.3), whole.denoise(x, 0.3), rtol=0.02, atol=0.02)


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    oracle = ncsn_oracle("ddpm", **DDPM)
    path = tmp_path / "net.pkl"
    cases = {
        "of another shape map_augment.weight (32, 4) instead of (32, 5)": {"augment_dim": 5},
        "of another shape dec.4x4_block0": {"channel_mult": [1, 3]},
        "missing dec.4x4_block2": {"num_blocks": 2},
        "missing dec.8x8_block1.norm2.bias": {"attn_resolutions": [4, 8]},
        "unexpected dec.4x4_block1.norm2.bias": {"attn_resolutions": []},
        "unknown embedding_type": {"embedding_type": "sinusoid"},
        "colour_space": {"colour_space": "ycc"},
    }
    for sentence, options in cases.items():
        path.write_bytes(edm_bytes(precond(persistent(oracle, {**DDPM, **options}))))
        with pytest.raises(ModelError) as caught:
            load_edm_pickle(path)
        assert str(path) in str(caught.value)
        assert sentence in str(caught.value)


@pytest.mark.parametrize("part", [0.001, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, part: float) -> None:
    written(tmp_path / "net.pkl", "ddpm")
    data = (tmp_path / "net.pkl").read_bytes()
    (tmp_path / "net.pkl").write_bytes(data[: int(part * len(data))])
    with pytest.raises(ModelError, match=r"net\.pkl: not a whole pickle"):
        load_edm_pickle(tmp_path / "net.pkl")
