"""Alignments as rows: controls beside every metric, keys, attribution maps, given maps, batches; and as numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from measure_support import measured, toy_world
from tangency.autodiff import AttributionOptions
from tangency.data import load
from tangency.errors import DataError, NumericsError, SpecError
from tangency.evaluate.numbers import trial_numbers
from tangency.measures import MeasureConfig, read_maps, unidentified
from tangency.measures.cascade import cascade, layers_of
from tangency.measures.keys import ALIGNMENT_CONTROLS, Key
from tangency.measures.registry import describe
from tangency.perceptual import LPIPS
from tangency.report.text.measures import describe as described
from tangency.score import MixtureScore
from tangency.statistics import PairedBootstrap
from tangency.study import StudySpec, shipped_spec
from tangency.study.preflight import checked_plan
from tangency.types import LabelledImages

SHAPE, CLASSES, N = (1, 11, 13), 3, 30
SIGMA = 0.25
KEY = f"logp_y.bayes_gradient.sigma={SIGMA}"
WITHOUT_NETWORK = ("cosine", "band", "spearman", "ssim", "retrieval", "cka")
FAST = {"sigmas": (SIGMA,), "directions": 1, "rho_sigmas": (0.05,), "epsilons": (1.0,)}


def world(n: int = N) -> tuple[object, LabelledImages]:
    return toy_world(SHAPE, n)


class BayesRule(nn.Module):
    """Logits are the mixture's log class joints at σ, so gradients are exact Bayes gradients."""

    def __init__(self, mixture: object) -> None:
        super().__init__()
        self.mixture = mixture

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixture.log_class_joint(x, SIGMA).to(x.dtype)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(143, 16), nn.SiLU(), nn.Linear(16, CLASSES)).double()


def rows(model: nn.Module, config: MeasureConfig, batch: int = 64, n: int = N, **more: object) -> object:
    mixture, data = world(n)
    return measured(model, mixture, data, config, pool=data, batch_size=batch, **more)


def config(**changes: object) -> MeasureConfig:
    given = {
        "tangent_scalars": ("logp_y",),
        "alignments": (("logp_y", "bayes_gradient"),),
        "metrics": WITHOUT_NETWORK,
        "normalisations": ("max", "p99.9", "std3", "rms"),
        "candidates": 8,
    }
    return MeasureConfig(**(FAST | given | changes))


def numbers(found: object) -> object:
    columns = {key: values.numpy() for key, values in found.columns.items()}
    return trial_numbers(columns, PairedBootstrap(len(found.ids), 300), found.dimension, found.classes)


def test_every_metric_has_every_control_beside_it() -> None:
    found = rows(network(), config())
    families = {Key.parse(key).family for key in found.columns if key.startswith("alignment")}
    assert families == {f"alignment_{name}" for name in (*WITHOUT_NETWORK[:-1], "retrieval_rank")}
    mains = [key for key in found.columns if key.startswith("alignment") and not Key.parse(key).control]
    assert len(mains) == 1 + 4 + 1 + 4 + 2  # cosine, four bands, ranks, four normalisations of SSIM, retrieval
    for key in mains:
        assert {f"{key}.{control}" for control in ALIGNMENT_CONTROLS} <= found.columns.keys()
        assert describe(key).better == "higher"
    assert f"alignment_ssim.{KEY}.norm=p99.9.shuffled" in found.columns
    assert f"alignment_band.25-50.{KEY}.phase" in found.columns


def test_a_network_metric_has_the_controls_that_are_asked_for() -> None:
    few = rows(network(), config(metrics=("lpips",), normalisations=("max",)), n=6)
    have = {Key.parse(key).control for key in few.columns if Key.parse(key).family == "alignment_lpips"}
    assert have == {"", "shuffled", "random", "image", "edge"}
    all_of_them = config(metrics=("lpips",), normalisations=("max",), network_controls=ALIGNMENT_CONTROLS)
    have = {
        Key.parse(key).control
        for key in rows(network(), all_of_them, n=6).columns
        if Key.parse(key).family == "alignment_lpips"
    }
    assert have == {"", *ALIGNMENT_CONTROLS}


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_rows_do_not_depend_on_the_batch(batch: int) -> None:
    quantities = ("smoothgrad(logp_y)", "integrated_gradients(logp_y)", "gradient_x_input(logp_y)")
    asked = config(
        tangent_scalars=quantities,
        alignments=tuple((name, "bayes_gradient") for name in quantities),
        attributions=AttributionOptions(samples=3, steps=3),
    )
    maps = {"given": torch.rand(N, 11, 13, generator=torch.Generator().manual_seed(1))}
    whole, parts = (rows(network(), asked, b, attributions=maps) for b in (64, batch))
    assert whole.columns.keys() == parts.columns.keys()
    for key, values in whole.columns.items():
        torch.testing.assert_close(
            parts[key], values, rtol=1e-8, atol=1e-8, equal_nan=True, msg=lambda m, key=key: f"{key}: {m}"
        )


def test_the_bayes_rule_has_the_best_value_of_every_metric() -> None:
    mixture, _ = world()
    found = numbers(rows(BayesRule(mixture).double(), config()))
    for key, estimate in found.estimates.items():
        if key.startswith("alignment") and not Key.parse(key).control:
            assert estimate.mean == pytest.approx(1, abs=1e-4), key
            assert found.excess[key].best == "shuffled"
            assert found.excess[key].estimate.low > 0, key
    assert found.chance[f"alignment_retrieval.{KEY}"] == pytest.approx(1 / 8)
    assert found.chance[f"alignment_cka.{KEY}"] == 0
    assert found.chance[f"alignment_ssim.{KEY}"] is None


def test_excesses_over_every_control_are_named_and_the_headline_is_over_shuffled() -> None:
    found = rows(network(), config(metrics=("cosine", "ssim"), normalisations=("rms",)))
    excess = numbers(found).excess
    for name in ("alignment_cosine", "alignment_ssim"):
        key = f"{name}.{KEY}"
        assert set(excess[key].controls) == set(ALIGNMENT_CONTROLS)
        for control, estimate in excess[key].controls.items():
            expected = float((found[key] - found[f"{key}.{control}"]).nanmean())
            assert estimate.mean == pytest.approx(expected, abs=1e-12)
        assert excess[key].estimate == excess[key].controls["shuffled"]


def test_image_and_edge_stand_ins_are_compared_with_the_own_target() -> None:
    from tangency.measures.similarity.spectral import high_pass
    from tangency.numerics import cosine

    mixture, data = world()
    found, x = rows(network(), config(metrics=("cosine",))), data.images()
    target = MixtureScore(mixture).bayes_direction(x, data.labels, SIGMA).direction
    torch.testing.assert_close(found[f"alignment_cosine.{KEY}.edge"], cosine(high_pass(x), target))


def test_a_given_map_is_measured_as_a_gradient_is() -> None:
    from tangency.autodiff import input_gradient

    mixture, data = world()
    model = network()
    gradient = input_gradient(model, data.images(), data.labels, "logp_y").direction
    asked = config(metrics=("cosine", "spearman", "ssim", "retrieval"), normalisations=("max",))
    found = rows(model, asked, attributions={"own": gradient, "flat": gradient[:, 0]})
    for key in [key for key in found.columns if ".logp_y" in key]:
        for name in ("own", "flat"):
            other = found[key.replace("logp_y", f"map({name})")]
            torch.testing.assert_close(other, found[key], rtol=1e-6, atol=1e-7, equal_nan=True)
    with pytest.raises(NumericsError, match=r"attribution 'own': got shape \(30, 3, 3\), expected \(30, 1, 11, 13\)"):
        rows(model, asked, attributions={"own": torch.zeros(N, 3, 3)})
    with pytest.raises(NumericsError, match=r"attribution 'own': NaN or infinite values for images \[2\]"):
        rows(model, asked, attributions={"own": gradient.index_fill(0, torch.tensor([2]), math.nan)})
    with pytest.raises(SpecError, match=r"map\(own\): no such map is given"):
        rows(model, config(tangent_scalars=("map(own)",)))
    with pytest.raises(SpecError, match=r"a study measures none"):
        shipped_spec("linear", measures={"tangent_scalars": ["margin", "map(own)"]})
    with pytest.raises(SpecError, match="map 'a b'"):
        rows(model, asked, attributions={"a b": gradient})


def test_maps_are_read_by_index_and_checked(tmp_path: Path) -> None:
    file, generator = tmp_path / "maps.npz", np.random.default_rng(0)
    good = generator.normal(size=(10, 4, 5))
    np.savez(file, gradcam=good, rise=generator.normal(size=(10, 1, 4, 5)).astype(np.float32))
    found = read_maps(f"npz:{file}", 10, (1, 4, 5))
    assert list(found.maps) == ["gradcam", "rise"]
    assert len(found.sha256) == 64
    torch.testing.assert_close(
        found.maps["gradcam"][torch.tensor([7, 2])], torch.from_numpy(good[[7, 2]]).float(), rtol=0, atol=0
    )
    np.savez(tmp_path / "objects.npz", a=np.array([{}, {}], dtype=object))
    np.save(tmp_path / "bare.npy", good)
    (tmp_path / "page.npz").write_text("<html>not found</html>")
    good[3] = np.nan
    np.savez(tmp_path / "nan.npz", a=good)
    np.savez(tmp_path / "words.npz", a=np.array(["x"] * 10))
    for reference, count, shape, words in (
        (f"npz:{file}", 12, (1, 4, 5), "got 10 maps for 12 test images"),
        (f"npz:{file}", 10, (3, 5, 5), r"got maps of shape \(4, 5\), expected \(3, 5, 5\)"),
        (f"npz:{tmp_path / 'objects.npz'}", 2, (1, 4, 5), "holds Python objects"),
        (f"npz:{tmp_path / 'bare.npy'}", 10, (1, 4, 5), "no archive"),
        (f"npz:{tmp_path / 'page.npz'}", 10, (1, 4, 5), "no archive"),
        (f"npz:{tmp_path / 'absent.npz'}", 10, (1, 4, 5), "cannot be read"),
        (f"npz:{tmp_path / 'nan.npz'}", 10, (1, 4, 5), r"NaN or infinite values for images \[3\]"),
        (f"npz:{tmp_path / 'words.npz'}", 10, (1, 4, 5), "expected real numbers"),
        (str(file), 10, (1, 4, 5), "expected npz:FILE"),
    ):
        with pytest.raises(DataError, match=words):
            read_maps(reference, count, shape)


def test_quantities_are_chosen_by_name() -> None:
    asked = MeasureConfig().with_choice(scalars=("lse", "logit_pred"), attributions=("smoothgrad(margin)",))
    assert asked.alignments == (("lse", "score"), ("logit_pred", "score_y"), ("smoothgrad(margin)", "bayes_gradient"))
    assert asked.tangent_scalars == ("lse", "logit_pred", "smoothgrad(margin)")
    same = MeasureConfig().with_choice()
    assert same.alignments == MeasureConfig().alignments
    assert same.network_controls == ALIGNMENT_CONTROLS
    with pytest.raises(SpecError, match="Did you mean 'logp_y'"):
        MeasureConfig().with_choice(scalars=("logpy",))
    with pytest.raises(SpecError, match="Did you mean 'integrated_gradients'"):
        MeasureConfig().with_choice(attributions=("integrated_gradient",))


def test_scalars_that_a_shift_of_the_logits_changes_are_warned_of_once() -> None:
    found = unidentified(["logp_y", "sum_logits", "smoothgrad(sum_logits)", "lse", "margin", "map(x)"])
    assert [sentence.partition(":")[0] for sentence in found] == ["sum_logits", "lse"]
    assert all("not identified" in sentence for sentence in found)
    assert unidentified(["logp_y", "loss", "margin"]) == []


def test_cascading_randomisation_goes_from_the_output_down_and_leaves_the_model_alone() -> None:
    model, x = network(), world()[1].images()
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    assert layers_of(model) == ["1", "3"]
    outputs = []
    for name, changed in cascade(model, 3):
        kept = {k for k, v in changed.state_dict().items() if torch.equal(v, before[k])}
        assert kept == ({"1.weight", "1.bias"} if name == "3" else set())
        outputs.append(changed(x).detach())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    again = [changed(x).detach() for _, changed in cascade(model, 3)]
    assert all(torch.equal(a, b) for a, b in zip(outputs, again, strict=True))
    assert not torch.equal(outputs[0], outputs[1])
    other = [changed(x).detach() for _, changed in cascade(model, 4)]
    assert not torch.equal(outputs[1], other[1])
    assert [name for name, _ in cascade(model, 0, 1)] == ["1"]


@pytest.mark.filterwarnings("ignore:classifier. it is right for:tangency.TangencyWarning")
def test_a_cascade_of_an_aligned_network_ends_at_its_controls() -> None:
    mixture, data = world(200)
    target = MixtureScore(mixture).bayes_direction(data.images(), data.labels, SIGMA).direction
    aligned = nn.Sequential(nn.Flatten(), nn.Linear(143, CLASSES)).double()
    for y in range(CLASSES):
        aligned[1].weight.data[y] = target[data.labels == y].flatten(1).mean(0)
    key, asked = f"alignment_cosine.{KEY}", config(metrics=("cosine",))
    before = float(rows(aligned, asked, n=200)[key].mean())
    ((_, changed),) = cascade(aligned)
    after = float(rows(changed, asked, n=200)[key].mean())
    assert before > 0.3
    assert abs(after) < before / 2


@pytest.mark.parametrize(
    ("text", "family_name", "variant", "control"),
    [
        (f"alignment_band.25-50.{KEY}.shuffled", "alignment_band", "25-50", "shuffled"),
        (f"alignment_ssim.{KEY}.norm=p99.9", "alignment_ssim", "p99.9", ""),
        (f"alignment_lpips_vgg.{KEY}.norm=std3.phase", "alignment_lpips_vgg", "std3", "phase"),
        (f"alignment_cosine.smoothgrad({KEY[:6]}).score.sigma=0.5.edge", "alignment_cosine", "", "edge"),
    ],
)
def test_the_report_reads_the_keys(text: str, family_name: str, variant: str, control: str) -> None:
    key = Key.parse(text)
    assert (key.family, key.variant, key.control) == (family_name, variant, control)
    assert key.parameter == "sigma"
    assert described(key).chance
    assert Key.parse(text).family == family_name
    assert Key.parse(text).control == control


@pytest.mark.slow
def test_legacy_puts_the_published_alignment_beside_ours() -> None:
    """Sum of logits against the score without labels, at the clean image and σ = .5 of [−1, 1], without upsampling."""
    mixture, data = toy_world((3, 32, 32), 6, torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.SiLU(), nn.Linear(8, CLASSES))
    given = FAST | {"sigmas": (0.5,), "metrics": ("lpips",), "normalisations": ("std3", "max")}
    given |= {"alignments": (("logp_y", "bayes_gradient"),), "legacy": "pags"}
    found = measured(net, mixture, data, MeasureConfig(**given))
    ours = set(measured(net, mixture, data, MeasureConfig(**given | {"legacy": None})).columns)
    assert ours < found.columns.keys()
    key = "sum_logits.score.sigma=0.25"
    assert {f"alignment_lpips_pags.{key}{end}" for end in ("", ".shuffled", ".random")} <= found.columns.keys()
    assert not [name for name in found.columns if name.startswith("alignment_lpips_pags") and "norm=" in name]

    x = data.images().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(net(x).sum(), x)
    score = MixtureScore(mixture).score(x.detach(), 0.25)
    scaled = [s / s.abs().amax((1, 2, 3), keepdim=True) for s in (gradient, score)]
    expected = 1 - LPIPS(upsample=False)(*scaled)
    torch.testing.assert_close(found[f"alignment_lpips_pags.{key}"].float(), expected, rtol=0, atol=1e-4)
    resized = 1 - LPIPS()(*scaled)
    torch.testing.assert_close(found[f"alignment_lpips.{key}.norm=max"].float(), resized, rtol=0, atol=1e-4)

    trained = measured(net, mixture, data, MeasureConfig(**given), network=MixtureScore(mixture))
    beside = "alignment_lpips_pags.sum_logits.network_score.sigma=0.25"
    torch.testing.assert_close(trained[beside], found[f"alignment_lpips_pags.{key}"])


def test_legacy_is_refused_where_there_is_none_and_for_small_images() -> None:
    with pytest.raises(SpecError, match="Did you mean 'pags'"):
        MeasureConfig(legacy="page")
    with pytest.raises(SpecError, match=r"11×13.*at least 31.*legacy: pags"):
        rows(network(), config(legacy="pags"))


def test_a_spec_holds_what_legacy_stands_for() -> None:
    base = shipped_spec("quickstart").model_dump(mode="json") | {"network_score": ""}
    base["measures"] |= {"legacy": "pags", "sigmas": [0.5], "alignments": [["logp_y", "bayes_gradient"]]}
    found = StudySpec.model_validate(base).measures
    assert found.alignments == (("logp_y", "bayes_gradient"), ("sum_logits", "score"))
    assert found.sigmas == (0.5, 0.25)
    assert "lpips_pags" in found.metrics
    named = StudySpec.model_validate(base | {"network_score": "edm-fashion-mnist"}).measures
    assert named.alignments[-1] == ("sum_logits", "network_score")
    with pytest.raises(SpecError, match="28×28"):
        checked_plan(StudySpec.model_validate(base), load("fashion-mnist-5k"))
