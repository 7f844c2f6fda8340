"""Every row of the registry of metrics: range, direction and batch invariance, and a check that can fail."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import perceptual_weights
from tangency.errors import SpecError
from tangency.measures import MeasureConfig, linear_cka
from tangency.measures.registry import describe
from tangency.measures.similarity.gallery import Gallery
from tangency.measures.similarity.metrics import METRICS, Metric, askable, pair_metric
from tangency.measures.similarity.ranks import average_ranks, spearman_magnitudes
from tangency.measures.similarity.spectral import band_cosines, high_pass, phase_randomised
from tangency.perceptual.pictures import NORMALISATIONS, RMS, max_normalised
from tangency.perceptual.structural import ssim
from tangency.seeding import Draw
from tangency.statistics import Estimate, PairedBootstrap, SumCosine

SHAPE, N = (1, 32, 32), 8
Values = Callable[[Tensor, Tensor], Tensor]  # two sets of signals to one number a pair, or one for the set
PAIRS = [name for name in METRICS if not METRICS[name].of_set and name != "dreamsim"]


@pytest.fixture(scope="module", autouse=True)
def _random_weights(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("weights")
    perceptual_weights.write(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANGENCY_WEIGHTS", str(folder))
        yield


def signals(seed: int, n: int = N, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Gradients of very different length."""
    ids = torch.arange(n)
    sizes = 10.0 ** (Draw(seed, ids, "size").uniform() * 6 - 4)
    return Draw(seed, ids, "signal").normal(shape) * sizes.reshape(-1, *[1] * len(shape))


def values(name: str) -> Values:
    metric = METRICS[name]
    if metric.of_set:
        return lambda a, b: of_set(name, a, b)
    pair = pair_metric(name, SHAPE)
    prepared = max_normalised if metric.pictures else lambda x: x
    return lambda a, b: pair.compare(pair.prepare(prepared(a)), pair.prepare(prepared(b)))


def of_set(name: str, a: Tensor, b: Tensor) -> Tensor:
    gallery, ids = Gallery(len(a), len(a), 0), torch.arange(len(a))
    if name == "cka":
        cross, own_a, own_b = gallery.kernels((a, a[gallery.index]), (b, b[gallery.index]), ids, ids, 0)
        return (cross.sum() / (own_a.sum() * own_b.sum()).sqrt()).reshape(1)
    hit, rank = gallery.retrieval(a, b, b[gallery.index], ids, ids)
    return hit if name == "retrieval" else rank


def violations(metric: Metric, compare: Values) -> list[str]:
    """What the registry says of a metric and what is not so."""
    found = []
    a, b = signals(1), signals(2)
    apart, same, against = compare(a, b), compare(a, 3 * a), compare(a, -a)
    for which, got in (("random", apart), ("identical", same), ("negated", against)):
        if not bool(((got >= metric.low - 1e-6) & (got <= metric.high + 1e-6)).all()):
            found.append(f"range of {which} pairs")
    if not torch.allclose(same, torch.full_like(same, metric.identical), atol=1e-5):
        found.append("identical")
    if not bool((apart < same).all() if metric.chance is None else (apart.mean() < same.mean())):
        found.append("direction")
    kept = {
        "opposite": torch.allclose(against, -same, atol=1e-5),
        "same": torch.allclose(against, same, atol=1e-5),
        "no more": bool((against < same).all()),
    }
    if not kept[metric.negated]:
        found.append("negated")
    return found


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("dreamsim", "retrieval")])
def test_the_registry_tells_range_and_direction(name: str) -> None:
    assert violations(METRICS[name], values(name)) == []
    info = describe(f"alignment_{name}.logp_y.score.sigma=0.5")
    assert (info.scale.low, info.scale.high, info.better) == (METRICS[name].low, METRICS[name].high, "higher")


def test_retrieval_hits_its_own_and_misses_the_opposite() -> None:
    compare = values("retrieval")
    assert compare(signals(1), 5 * signals(1)).tolist() == [1.0] * N
    assert compare(signals(1), -signals(1)).tolist() == [0.0] * N


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (lambda a, b: 2 * values("cosine")(a, b), "range of identical pairs"),
        (lambda a, b: 1 - values("cosine")(a, b), "direction"),
        (lambda a, b: values("cosine")(a, b).abs(), "negated"),
        (lambda a, b: values("cosine")(a, b) - 0.1, "identical"),
    ],
)
def test_a_broken_metric_is_found_out(broken: Values, named: str) -> None:
    assert named in violations(METRICS["cosine"], broken)
    assert violations(dataclasses.replace(METRICS["spearman"], negated="opposite"), values("spearman")) == ["negated"]


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_has_its_value_in_any_batch_and_a_zero_gradient_none(name: str) -> None:
    compare, a, b = values(name), signals(1), signals(2)
    a[3] = 0
    whole = compare(a, b)
    assert whole.isnan().all(1).nonzero().flatten().tolist() == [3]
    for i in range(N):
        torch.testing.assert_close(
            compare(a[i : i + 1], b[i : i + 1])[0], whole[i], rtol=1e-4, atol=1e-5, equal_nan=True
        )


@pytest.mark.parametrize("name", ["retrieval", "retrieval_rank", "cka"])
def test_a_row_of_the_gallery_depends_on_its_image_alone(name: str) -> None:
    n, ids = 40, torch.arange(40)
    a, b, gallery = signals(1, n), signals(2, n), Gallery(40, 10, 0)
    a[3] = 0

    def rows(at: Tensor) -> tuple[Tensor, ...]:
        if name == "cka":
            return gallery.kernels((a[at], a[gallery.index]), (b[at], b[gallery.index]), ids[at], ids[at], 0)
        return gallery.retrieval(a[at], b[at], b[gallery.index], ids[at], ids[at])

    for part in (ids[::2], ids[17:18], ids.flip(0)):
        for got, expected in zip(rows(part), rows(ids), strict=True):
            torch.testing.assert_close(got, expected[part], rtol=1e-9, atol=1e-12, equal_nan=True)
    assert all(bool(row.isnan()[3]) and int(row.isnan().sum()) == 1 for row in rows(ids))


@pytest.mark.parametrize("side", [(28, 28), (6, 40)])
def test_ssim_equals_torchmetrics(side: tuple[int, int]) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, b = (max_normalised(signals(s, shape=(3, *side))) for s in (1, 2))
    b = 0.7 * a + 0.3 * b
    expected = structural_similarity_index_measure(a.double(), b.double(), data_range=2.0, reduction="none")
    torch.testing.assert_close(ssim(a, b), expected, rtol=1e-8, atol=1e-8)


def test_ssim_of_flat_pictures_and_of_small_ones() -> None:
    a, b = torch.full((1, 1, 12, 12), 0.5), torch.full((1, 1, 12, 12), -0.5)
    c1 = 0.02**2
    assert float(ssim(a, b)) == pytest.approx((-0.5 + c1) / (0.5 + c1), abs=1e-9)
    small = max_normalised(signals(1, shape=(1, 4, 7)))
    torch.testing.assert_close(ssim(small, small), torch.ones(N, dtype=torch.float64))


def test_band_cosines_tell_bands_apart_and_add_up_to_the_cosine() -> None:
    row = torch.arange(32, dtype=torch.float64)
    low = torch.cos(2 * math.pi * 2 * row / 32).expand(1, 2, 32, 32)  # 12.5 % of Nyquist
    high = torch.cos(2 * math.pi * 14 * row / 32).expand(1, 2, 32, 32)  # 87.5 %
    found = band_cosines(low + high, 5 * (low - high))[0]
    torch.testing.assert_close(found[[0, 3]], torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert found[1:3].isnan().all()
    diagonal = torch.cos(math.pi * (row[:, None] + row)).expand(1, 1, 32, 32)  # the corner, 141.4 %
    torch.testing.assert_close(band_cosines(diagonal, diagonal)[0, 3], torch.tensor(1.0, dtype=torch.float64))
    for shape in ((1, 9, 12), (2, 8, 7)):
        a, b = (signals(s, shape=shape).double() for s in (1, 2))
        spectra = [torch.fft.fft2(x, norm="ortho") for x in (a, b)]
        u, v = (torch.fft.fftfreq(size, dtype=torch.float64) for size in shape[1:])
        mask = (200 * (u[:, None].square() + v.square()).sqrt() >= 25) & (200 * (u[:, None] ** 2 + v**2).sqrt() < 50)
        p, q = (torch.view_as_real(s * mask).flatten(1) for s in spectra)
        torch.testing.assert_close(band_cosines(a, b)[:, 1], torch.cosine_similarity(p, q), rtol=1e-9, atol=1e-12)


def test_spearman_equals_scipys_with_ties() -> None:
    from scipy.stats import spearmanr

    a, b = (signals(s, 5, (1, 6, 6)) for s in (1, 2))
    a, b = (max_normalised(x).mul(4).round() for x in (a, b))
    expected = [spearmanr(*(x.abs().flatten().numpy() for x in pair)).statistic for pair in zip(a, b, strict=True)]
    torch.testing.assert_close(spearman_magnitudes(a, b), torch.tensor(expected, dtype=torch.float64))
    assert spearman_magnitudes(torch.ones(1, 4), torch.rand(1, 4)).isnan().all()
    assert average_ranks(torch.tensor([[1.0, math.nan]])).isnan().all()


def test_cka_in_gram_form_is_the_feature_form_and_knows_no_rotation() -> None:
    a, b = (signals(s, 30, (7,)).double() for s in (1, 2))
    p, q = (x - x.mean(0) for x in (a, b))
    feature = (p.mT @ q).square().sum() / ((p.mT @ p).norm() * (q.mT @ q).norm())
    assert linear_cka(a, b) == pytest.approx(float(feature), rel=1e-9)
    rotation = torch.linalg.qr(Draw(0, torch.arange(7)).normal((7,), torch.float64))[0]
    assert linear_cka(a, 5 * a @ rotation + 3) == pytest.approx(1, abs=1e-9)
    assert linear_cka(a, -a, unbiased=True) == pytest.approx(1, abs=1e-9)
    wide = [Draw(s, torch.arange(12)).normal((3000,), torch.float64) for s in (1, 2)]
    assert linear_cka(*wide) > 0.9  # the biased one, for d ≫ n
    assert abs(linear_cka(*wide, unbiased=True)) < 0.3
    # the unbiased HSIC is the mean over quadruples of distinct points, here by brute force
    assert linear_cka(a[:6], b[:6], unbiased=True) == pytest.approx(brute_cka(a[:6], b[:6]), rel=1e-6)


def brute_cka(a: Tensor, b: Tensor) -> float:
    from itertools import permutations

    k, m = a @ a.mT, b @ b.mT
    quadruples = torch.tensor(list(permutations(range(len(a)), 4)))
    i, j, q, r = quadruples.unbind(1)

    def hsic(x: Tensor, y: Tensor) -> Tensor:
        return (x[i, j] * (y[i, j] + y[q, r] - 2 * y[i, q])).mean()

    return float(hsic(k, m) / (hsic(k, k) * hsic(m, m)).sqrt())


def test_cka_against_a_gallery_is_that_of_the_set() -> None:
    n, ids = 400, torch.arange(400)
    a = Draw(1, ids).normal((6,), torch.float64)
    a = a / a.norm(dim=1, keepdim=True)
    b = a + 0.4 * Draw(2, ids).normal((6,), torch.float64)
    b = b / b.norm(dim=1, keepdim=True)
    gallery = Gallery(n, 100, 0)

    def pooled(owners: Tensor, shift: int) -> float:
        g = gallery.kernels((a, a[gallery.index]), (b[owners], b[gallery.index]), ids, owners, shift)
        return float(g[0].sum() / (g[1].sum() * g[2].sum()).sqrt())

    assert pooled(ids, 0) == pytest.approx(linear_cka(a, b, unbiased=True), abs=0.05)
    assert abs(pooled(ids.roll(7), 1)) < 0.05


def cka_estimate(n: int, pool: int, seed: int, r: float = 0.7) -> Estimate:
    """CKA of n images and its interval: unit vectors of 64 Gaussian numbers, correlated by r."""
    gallery = Gallery(pool, 100, seed)
    held = torch.cat([torch.arange(n), gallery.index]).unique()
    own, of_gallery = (torch.searchsorted(held, index) for index in (torch.arange(n), gallery.index))
    z, w = (Draw(seed, held, purpose).normal((64,), torch.float64) for purpose in ("z", "w"))
    a, b = z, r * z + math.sqrt(1 - r**2) * w
    ids = torch.arange(n)
    parts = gallery.kernels((a[own], a[of_gallery]), (b[own], b[of_gallery]), ids, ids, 0)
    statistic = SumCosine(*(part.numpy() for part in parts))
    (draws,) = PairedBootstrap(n, 300, seed).evaluate([statistic])
    return Estimate.of(draws, n)


@pytest.mark.slow
def test_intervals_of_cka_hold_it_from_the_fewest_images_on() -> None:
    """CKA = E[cos]² of isotropic unit vectors, E[cos] = r(1 + o(1)): here by 400,000 draws."""
    z, w = (Draw(9, torch.arange(400_000), purpose).normal((64,), torch.float32) for purpose in ("z", "w"))
    cosines = torch.nn.functional.cosine_similarity(z, 0.7 * z + math.sqrt(1 - 0.49) * w)
    truth = float(cosines.double().mean()) ** 2

    def coverage(n: int) -> float:
        found = [cka_estimate(n, 10_000, seed) for seed in range(300)]
        return sum(each.low <= truth <= each.high for each in found) / len(found)

    assert SumCosine.fewest == 20
    assert coverage(20) > 0.9 - 2 * math.sqrt(0.09 / 300)
    assert coverage(4) < 0.9 - 2 * math.sqrt(0.09 / 300)


@pytest.mark.parametrize("pool", [12, 40, 10_000])
def test_cka_of_unrelated_signals_is_zero_on_average_however_few_are_compared(pool: int) -> None:
    found = np.array([cka_estimate(12, pool, seed, r=0.0).mean for seed in range(200)])
    assert abs(found.mean()) < 4 * found.std() / math.sqrt(len(found))


def test_retrieval_of_random_gradients_has_its_chance_level() -> None:
    n, ids = 4000, torch.arange(4000)
    a, b = (Draw(s, ids).normal((20,), torch.float64) for s in (1, 2))
    gallery = Gallery(n, 10, 0)
    hit, rank = gallery.retrieval(a, b, b[gallery.index], ids, ids)
    assert gallery.distractors == 9
    assert float(hit.mean()) == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / n))
    assert float(rank.mean()) == pytest.approx(0.5, abs=0.02)
    tied = gallery.retrieval(a, torch.ones_like(b), torch.ones_like(b[gallery.index]), ids, ids)
    torch.testing.assert_close(tied[1].mean(), torch.tensor(0.5, dtype=torch.float64), rtol=0, atol=0.5)
    assert Gallery(2, 10, 0).retrieval(a[:2], b[:2], b[:2], ids[:2], ids[:2])[0].isnan().all()


def test_phases_are_drawn_anew_and_the_spectrum_is_kept() -> None:
    for shape in ((3, 9, 12), (1, 8, 7)):
        g, ids = signals(1, 50, shape), torch.arange(50)
        found = phase_randomised(g, Draw(0, ids, "phase"))
        for ours, theirs in zip(torch.fft.fft2(found.double()), torch.fft.fft2(g.double()), strict=True):
            torch.testing.assert_close(ours.abs(), theirs.abs(), rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
        assert abs(float(values("cosine")(g, found).mean())) < 0.1
        one = phase_randomised(g[7:8], Draw(0, ids[7:8], "phase"))
        torch.testing.assert_close(one, found[7:8], rtol=1e-4, atol=1e-6)


def test_the_high_pass_of_a_ramp_is_zero_and_of_a_spot_negative_at_the_spot() -> None:
    ramp = torch.arange(20.0).expand(1, 2, 20, 20)
    assert float(high_pass(ramp)[..., 4:-4].abs().max()) < 1e-5
    spot = torch.zeros(1, 1, 9, 9)
    spot[..., 4, 4] = 1
    found = high_pass(spot)[0, 0]
    assert float(found[4, 4]) < -0.8
    assert float(found[4, 5]) > 0.05
    assert float(found.sum()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_normalisations_forget_the_length_and_only_that(name: str) -> None:
    normalise, g = NORMALISATIONS[name], signals(1, shape=(1, 40, 40))
    g[2] = 0
    found = normalise(g)
    assert found.flatten(1).isnan().all(1).nonzero().flatten().tolist() == [2]
    torch.testing.assert_close(normalise(1e-3 * g), found, rtol=1e-4, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(normalise(-g), -found, rtol=1e-5, atol=1e-6, equal_nan=True)
    rest, own = found[[0, 1, 3]].flatten(1), g[[0, 1, 3]].flatten(1)
    if name == "rms":
        torch.testing.assert_close(rest.square().mean(1).sqrt(), torch.full((3,), RMS))
    else:
        torch.testing.assert_close(rest.abs().amax(1), torch.ones(3))
    if name == "p99.9":
        assert ((rest.abs() == 1).sum(1) == 2).all()  # 1,600 values: the 1,599th, and the largest cut to it
    if name == "std3":
        expected = (own.abs() >= 3 * own.std(1, correction=0, keepdim=True)).sum(1)
        assert torch.equal((rest.abs() == 1).sum(1), expected)


def test_bad_requests_are_named() -> None:
    with pytest.raises(SpecError, match="Did you mean 'cosine'"):
        MeasureConfig(metrics=("cosin",))
    with pytest.raises(SpecError, match="expected each once"):
        MeasureConfig(metrics=("cosine", "cosine"))
    with pytest.raises(SpecError, match=r"unknown normalisation 'p99'.*Did you mean 'p99\.9'"):
        MeasureConfig(normalisations=("p99",))
    with pytest.raises(SpecError, match="at least one"):
        MeasureConfig(normalisations=())
    with pytest.raises(SpecError, match="unknown control 'shufled'"):
        MeasureConfig(network_controls=("shufled",))
    with pytest.raises(SpecError, match="expected shuffled among them"):
        MeasureConfig(network_controls=("image",))
    with pytest.raises(SpecError, match="candidates: got 1"):
        MeasureConfig(candidates=1)
    assert set(askable()) == set(METRICS) - {"retrieval_rank"}
