"""`tangency measure` with scalars, maps, metrics and a cascade of one's own, and its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from study_support import tangency, write_data
from tangency.cli.app import app
from tangency.data import load
from tangency.measures import cascade
from tangency.models import build, read_classifier, save_classifier

COS = "alignment_cosine"


def measured(folder: Path, *options: str) -> Result:
    data = f"npz:{write_data(folder)}"
    model = folder / "net.safetensors"
    save_classifier(build("convnet", (1, 8, 8), load(data).train.classes, seed=0), model)
    named = ("--model", str(model), "--data", data, "--limit", "10", "--tangents", "pca?rank=3")
    return CliRunner().invoke(app, ["measure", *named, *options])


def test_everything_that_can_be_asked_for(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(30, 8, 8))
    np.savez(tmp_path / "maps.npz", rise=maps)
    found = measured(
        tmp_path,
        *("--scalars", "lse, margin", "--attributions", "smoothgrad(margin),gradient_x_input"),
        *("--metrics", "cosine,ssim,band,spearman,retrieval,cka", "--normalisations", "rms,std3"),
        *("--maps", f"npz:{tmp_path / 'maps.npz'}", "--cascade", "2", "--json"),
    )
    assert found.exit_code == 0, found.output
    told = json.loads(found.output)
    measures = told["measures"]
    for quantity, target in (
        ("lse", "score"),
        ("margin", "bayes_gradient"),
        ("smoothgrad(margin)", "bayes_gradient"),
        ("gradient_x_input(margin)", "bayes_gradient"),
        ("map(rise)", "score"),
        ("map(rise)", "bayes_gradient"),
    ):
        key = f"{COS}.{quantity}.{target}.sigma=0.25"
        assert measures[key]["chance"] == 0
        assert set(told["excess"][key]["controls"]) == {
            "shuffled",
            "shuffled_class",
            "phase",
            "random",
            "image",
            "edge",
        }
        assert told["excess"][key]["best_control"] == "shuffled"
        assert f"tangent_fraction.{quantity}" in measures
        assert (f"{key}.untrained" in measures) == ("map" not in quantity)  # a given map has no untrained network
    assert "alignment_ssim.lse.score.sigma=0.25.norm=std3" in measures
    cka = measures["alignment_cka.lse.score.sigma=0.25"]
    assert (cka["mean"] is None, cka["low"], cka["high"]) == (False, None, None)
    assert told["excess"]["alignment_cka.lse.score.sigma=0.25"]["low"] is None
    assert "alignment_cka: has no interval, since with fewer than 20 images (here 10) none" in told["warnings"][5]
    # the tangent space is that of PCA; not identified; one space for all images, so that none has another; few; CKA
    assert [sentence[:4] for sentence in told["warnings"]] == ["the ", "lse:", "tang", "tang", "10 i", "alig"]
    assert told["measures"]["tangent_fraction.lse.shuffled"]["n"] == 0
    assert told["warnings"][2].startswith("tangent_fraction.lse.shuffled: rests on 0 of 10 images.")
    assert told["maps"]["names"] == ["rise"]
    assert len(told["maps"]["sha256"]) == 64
    assert len(told["cascade"]) == 2
    assert told["cascade"][-1]["measures"][f"{COS}.lse.score.sigma=0.25"]["mean"] == pytest.approx(
        measures[f"{COS}.lse.score.sigma=0.25.untrained"]["mean"]
    )


@pytest.mark.slow
def test_the_published_alignment_stands_beside_ours(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        f"x_{part}": rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for part, n in (("train", 40), ("test", 12))
    }
    labels = {f"y_{part}": np.arange(n) % 2 for part, n in (("train", 40), ("test", 12))}
    np.savez(tmp_path / "set.npz", **arrays, **labels)
    data, model = f"npz:{tmp_path / 'set.npz'}", tmp_path / "net.safetensors"
    save_classifier(build("convnet", (3, 32, 32), load(data).train.classes, seed=0, channels=(4, 4, 4)), model)
    named = ("--model", str(model), "--data", data, "--tangents", "pca?rank=2", "--sigmas", "0.5", "--metrics", "lpips")
    quick = ("--epsilons", "none", "--rho-sigmas", "none", "--scalars", "margin", "--legacy", "pags", "--json")
    found = CliRunner().invoke(app, ["measure", *named, *quick])
    assert found.exit_code == 0, found.output
    told = json.loads(found.output)
    for name in ("alignment_lpips", "alignment_lpips_pags"):
        key = f"{name}.sum_logits.score.sigma=0.25"
        assert told["measures"][key]["n"] == 12
        assert "shuffled" in told["excess"][key]["controls"]
    assert any("sum of the logits" in sentence for sentence in told["warnings"])  # not identified


def test_a_cascade_of_more_stages_than_layers_is_told(tmp_path: Path) -> None:
    found = measured(tmp_path, "--cascade", "99", "--epsilons", "none", "--rho-sigmas", "none", "--json")
    told = json.loads(found.output)
    layers = len(told["cascade"])
    assert f"cascade: 99 stages were requested, but only {layers} layers hold weights." in told["warnings"]
    exact = measured(tmp_path, "--cascade", str(layers), "--epsilons", "none", "--rho-sigmas", "none", "--json")
    assert not any("cascade" in sentence for sentence in json.loads(exact.output)["warnings"])


def test_each_stage_of_a_cascade_is_measured_as_it_was(tmp_path: Path) -> None:
    quick = ("--epsilons", "none", "--rho-sigmas", "none", "--metrics", "cosine", "--json")
    stages = json.loads(measured(tmp_path, "--cascade", "3", *quick).output)["cascade"]
    net = read_classifier(tmp_path / "net.safetensors")
    data = f"npz:{tmp_path / 'tiny.npz'}"
    found = []
    for stage, (name, changed) in zip(stages, cascade(net, stages=3), strict=True):
        assert stage["from_layer"] == name
        save_classifier(changed, tmp_path / "stage.safetensors")
        base = ("measure", "--model", str(tmp_path / "stage.safetensors"), "--data", data, "--limit", "10")
        own = json.loads(CliRunner().invoke(app, [*base, "--tangents", "pca?rank=3", *quick]).output)
        key = "tangent_fraction.margin"
        assert stage["measures"][key]["mean"] == pytest.approx(own["measures"][key]["mean"], rel=1e-6)
        found.append(own["measures"][key]["mean"])
    assert len(set(found)) == 3


def test_cka_of_images_that_are_compared_with_each_other_is_told(tmp_path: Path) -> None:
    asked = ("--metrics", "cka,cosine", "--epsilons", "none", "--rho-sigmas", "none", "--limit", "30")
    told = json.loads(measured(tmp_path, *asked, "--json").output)
    assert told["measures"]["alignment_cka.margin.bayes_gradient.sigma=0.25"]["low"] is not None
    assert any("alignment_cka: its interval is too narrow" in sentence for sentence in told["warnings"])
    shown = measured(tmp_path, *asked, "--limit", "10")
    assert shown.exit_code == 0, shown.output


def test_warnings_and_excesses_are_printed(tmp_path: Path) -> None:
    found = measured(tmp_path, "--metrics", "cosine", "--all")
    assert found.exit_code == 0, found.output
    text = "".join(found.output.split())
    assert "isnotidentified" not in text  # of nothing that is measured by default
    for key, controls in (("tangent_fraction.margin", ("dct", "pca")), (f"{COS}.margin", ("shuffled", "edge"))):
        assert key in text
        assert all(f"−{control}" in text for control in controls)
    named = " ".join(measured(tmp_path, "--metrics", "cosine", "--scalars", "margin,logit_y").output.split())
    assert named.count("Warning: logit_y: the true class's logit is not identified.") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metrics", "cosin"), "Did you mean 'cosine'"),
        (("--scalars", "logpy"), "Did you mean 'logp_y'"),
        (("--attributions", "smothgrad"), "Did you mean 'smoothgrad'"),
        (("--normalisations", "p99"), "Did you mean 'p99.9'"),
        (("--maps", "npz:absent.npz"), "cannot be read"),
        (("--maps", "rise.npz"), "expected npz:FILE"),
        (("--metrics", "lpips_vgg"), "Fetch vgg16-397923af.pth"),
        (("--legacy", "page"), "Did you mean 'pags'"),
        (("--legacy", "pags"), "images of 8×8, expected at least 31 pixels a side"),
    ],
)
def test_a_bad_request_is_one_paragraph(
    options: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TANGENCY_WEIGHTS", raising=False)
    found = measured(tmp_path, *options)
    assert found.exit_code != 0
    assert said in str(found.exception)


@pytest.mark.processes
def test_the_command_itself_leaves_with_code_two(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    found = tangency("measure", "--model", "x.safetensors", "--data", f"npz:{data}", "--metrics", "cosin")
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
