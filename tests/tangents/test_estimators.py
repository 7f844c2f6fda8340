"""Every estimator against tangent spaces that are known, and the contract that all of them keep."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import lru_cache

import pytest
import torch
from torch import Tensor, nn

from tangency.data.search import Neighbours
from tangency.errors import NumericsError, SpecError
from tangency.score import FunctionScore, load_score
from tangency.tangents import (
    AutoencoderTangents,
    ConvAutoencoder,
    DenoiserTangents,
    Ground,
    KrylovOptions,
    LocalPCATangents,
    ScoreSVDTangents,
    ShuffledTangents,
    TangentEstimator,
    TangentSpace,
    WorldTangents,
    open_tangents,
    space_agreement,
)
from tangency.types import Dataset, LabelledImages
from tangency.worlds import World, load_dataset, make_world

IMAGES = 12
NAMES = (
    "exact",
    "mfa?rank=3",
    "local-pca?rank=3&neighbours=20",
    "denoiser?rank=3&sigma=0.03",
    "denoiser-differences?rank=3&sigma=0.03",
    "score-svd?rank=3&sigma=0.03",
    "dct?rank=3",
    "pca?rank=3",
    "random?rank=3",
)


@lru_cache(maxsize=4)
def ground(world: str) -> Ground:
    """A world, its images and its exact score."""
    data = load_dataset(f"world:{world}&train=3000&test={IMAGES}")
    return Ground(data, score=make_world(world))


def known(world: str) -> tuple[Ground, Tensor, TangentSpace]:
    """The ground, images in double precision, and their tangent spaces."""
    found = ground(world)
    x = found.data.test.images().double()
    assert isinstance(found.score, World)
    return found, x, WorldTangents(found.score).at(x)


SPHERE = "sphere?shape=1x6x7&rank=3"


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_the_same_tangent_space_in_any_batch(name: str) -> None:
    found, x, _ = known(SPHERE)
    estimator, ids = open_tangents(name, found), torch.arange(IMAGES)
    whole = estimator.at(x, ids)
    order = torch.tensor([7, 2, 11])
    for index in (order, order[:1]):
        part = estimator.at(x[index], ids[index])
        assert torch.equal(part.rank, whole.rank[index])
        same = space_agreement(part, TangentSpace(whole.basis[index], whole.rank[index]))
        assert float(same.largest.max()) < 1e-4
    assert whole.basis.dtype == x.dtype
    assert estimator.at(x.float(), ids).basis.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_bases_are_orthonormal_up_to_the_rank_and_zero_beyond(name: str) -> None:
    found, x, _ = known(SPHERE)
    estimator = open_tangents(name, found)
    space = estimator.at(x, torch.arange(IMAGES))
    kept = torch.arange(space.basis.shape[2]) < space.rank[:, None]
    gram = space.basis.mT @ space.basis
    torch.testing.assert_close(gram, torch.diag_embed(kept.double()), atol=1e-6, rtol=0)
    assert int(space.rank.max()) <= estimator.max_rank
    assert estimator.card["kind"] == estimator.kind


WORLDS = (
    "sphere?shape=1x6x7&rank=3",
    "torus?shape=1x8x8&rank=2",
    "linear?shape=1x8x8&rank=4",
    pytest.param("torus?shape=2x4x5&rank=4", marks=pytest.mark.slow),
)


@pytest.mark.parametrize("world", WORLDS)
def test_the_exact_estimator_is_exact_and_a_denoiser_nearly(world: str) -> None:
    found, x, truth = known(world)
    assert float(space_agreement(open_tangents("exact", found).at(x), truth).largest.max()) < 1e-6
    k = int(truth.rank.max())
    denoiser = space_agreement(open_tangents(f"denoiser?rank={k}&sigma=0.02", found).at(x), truth)
    assert float(denoiser.mean.max()) < 0.5
    svd = space_agreement(open_tangents(f"score-svd?rank={k}&sigma=0.02", found).at(x), truth)
    assert float(svd.mean.max()) < 6


@pytest.mark.parametrize("world", WORLDS)
def test_a_denoiser_knows_the_rank_where_its_eigenvalues_drop(world: str) -> None:
    found, x, truth = known(world)
    space = open_tangents("denoiser?rank=drop&sigma=0.02&most=12", found).at(x)
    assert torch.equal(space.rank, truth.rank)
    assert open_tangents("denoiser?rank=relative&sigma=0.02&most=12", found).at(x).rank.equal(truth.rank)
    assert float(space.asymmetry.max()) < 1e-10
    # eigenvalues are Var[x₀|x]/σ²: nearly 1 along the manifold
    assert float((space.spectrum.gather(1, truth.rank[:, None] - 1) - 1).abs().max()) < 0.06


def test_a_local_pca_of_a_sphere_leaks_no_more_than_its_curvature() -> None:
    found, x, truth = known(SPHERE)
    space = open_tangents("local-pca?rank=3&neighbours=20", found).at(x)
    assert float(space_agreement(space, truth).mean.max()) < 3


def test_local_pca_is_the_svd_of_the_nearest_images() -> None:
    found, x, _ = known("linear?shape=1x8x8&rank=4")
    space = LocalPCATangents(found.data.train, neighbours=15, rank=4).at(x)
    rows = found.data.train.images().flatten(1).double()
    for i in range(IMAGES):
        near = rows[(rows - x[i].flatten()).square().sum(1).argsort()[:15]]
        _, values, vectors = torch.linalg.svd(near - near.mean(0), full_matrices=False)
        expected = TangentSpace(vectors[:4].T[None], torch.tensor([4]))
        own = TangentSpace(space.basis[i : i + 1], torch.tensor([4]))
        assert float(space_agreement(own, expected).largest) < 1e-5
        torch.testing.assert_close(space.spectrum[i], values[:14].square() / 14, rtol=1e-6, atol=1e-12)


def test_a_denoisers_eigenpairs_are_those_of_the_dense_jacobian() -> None:
    found, x, _ = known("fitted?size=6&components=1&rank=3&images=300")
    estimator = DenoiserTangents(found.score, KrylovOptions(sigma=0.2, rank=5))
    space = estimator.at(x[:3])
    for i in range(3):
        jacobian = torch.func.jacrev(lambda u: found.score.denoise(u, 0.2))(x[i : i + 1]).reshape(36, 36)
        values, vectors = torch.linalg.eigh((jacobian + jacobian.T) / 2)
        torch.testing.assert_close(space.spectrum[i, :5], values.flip(0)[:5], rtol=1e-6, atol=1e-9)
        leading = TangentSpace(vectors.flip(1)[None, :, :5], torch.tensor([5]))
        assert float(space_agreement(TangentSpace(space.basis[i : i + 1], torch.tensor([5])), leading).largest) < 0.01


def test_a_denoiser_that_is_no_gradient_is_told() -> None:
    mix = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    score = FunctionScore(lambda u, sigma, y: (u.flatten(1) @ mix.to(u).T).reshape(u.shape), (1, 4, 4))
    space = DenoiserTangents(score, KrylovOptions(rank=4)).at(torch.rand(2, 1, 4, 4, dtype=torch.float64))
    assert float(space.asymmetry.min()) > 0.3


def test_the_average_over_the_ball_is_the_mean_of_jacobians() -> None:
    found, x, _ = known("torus?shape=1x8x8&rank=2")
    estimator = DenoiserTangents(found.score, KrylovOptions(sigma=0.1, rank=2, draws=3))
    from tangency.seeding import Draw

    jacobian = torch.zeros(64, 64, dtype=torch.float64)
    for number in range(3):
        noise = Draw(0, torch.tensor([5]), f"denoiser tangents, draw {number}").normal(x.shape[1:], x.dtype)
        at = x[5:6] + 0.1 * noise
        jacobian += torch.func.jacrev(lambda u: found.score.denoise(u, 0.1))(at).reshape(64, 64) / 3
    leading = torch.linalg.eigh((jacobian + jacobian.T) / 2).eigenvectors.flip(1)[None, :, :2]
    own = estimator.at(x[5:6], torch.tensor([5]))
    assert float(space_agreement(own, TangentSpace(leading, torch.tensor([2]))).largest) < 0.01


def test_a_soft_tangent_space_weighs_by_eigenvalues() -> None:
    found, x, _ = known("linear?shape=1x8x8&rank=4")
    soft = DenoiserTangents(found.score, KrylovOptions(sigma=0.1, rank=4, soft=True)).at(x)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inside = torch.einsum("ndk,nd->nk", soft.basis, v.flatten(1))
    expected = (soft.spectrum[:, :4].clamp(0, 1) * inside.square()).sum(1) / v.flatten(1).square().sum(1)
    torch.testing.assert_close(soft.fraction(v), expected)
    torch.testing.assert_close(soft.trace, soft.spectrum[:, :4].clamp(0, 1).sum(1))
    assert float(soft.trace.max()) < 4


class Linear(nn.Module):
    """decode(z) = W z + b, encode the posterior mean of a linear Gaussian model's."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def encode(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - 0.5) @ torch.linalg.pinv(self.weight).T

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T + 0.5).reshape(len(z), 1, 4, 5)


def weight(rank: int, k: int = 6) -> Tensor:
    """(20, k) of a rank, with singular values 1, ½, ⅓, …"""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, k, generator=generator, dtype=torch.float64)).Q for n in (20, k))
    values = torch.tensor([1 / (1 + i) if i < rank else 0.0 for i in range(k)], dtype=torch.float64)
    return (left * values) @ right.T


@pytest.mark.parametrize("rank", [0, 1, 4, 6])
def test_a_linear_decoder_gives_its_column_space_and_its_rank(rank: int) -> None:
    matrix = weight(rank)
    x = torch.rand(3, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    space = AutoencoderTangents(Linear(matrix), (1, 4, 5), tolerance=1e-6).at(x)
    assert space.rank.tolist() == [rank] * 3
    projector = matrix @ torch.linalg.pinv(matrix, rtol=1e-9)
    torch.testing.assert_close(space.basis @ space.basis.mT, projector.expand(3, -1, -1), atol=1e-9, rtol=0)
    expected = torch.linalg.svdvals(matrix).expand(3, -1)
    torch.testing.assert_close(space.spectrum, expected, atol=1e-7, rtol=1e-9)
    away = x.flatten(1) - 0.5
    torch.testing.assert_close(space.residual, (away - away @ projector).norm(dim=1), atol=1e-9, rtol=0)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14), (1, 1, 7), (2, 2, 2)])
@pytest.mark.parametrize("variational", [False, True])
def test_bases_of_a_network_are_those_of_its_jacobian(shape: tuple[int, int, int], variational: bool) -> None:
    torch.manual_seed(0)
    net = ConvAutoencoder(shape, latent=4, widths=(4, 8), variational=variational)
    x = torch.rand(3, *shape)
    space = AutoencoderTangents(net, shape, rank=3).at(x)
    code = net.encode(x).detach()
    for i in range(3):
        jacobian = torch.func.jacrev(lambda z: net.decode(z).flatten())(code[i : i + 1])[:, 0].detach().double()
        left = torch.linalg.svd(jacobian, full_matrices=False).U[None, :, :3]
        expected = TangentSpace(left, torch.tensor([3]))
        own = TangentSpace(space.basis[i : i + 1], torch.tensor([3]))
        assert float(space_agreement(own, expected).largest) < 0.5
    assert net.training  # left as it was found
    torch.testing.assert_close(space.base, net.decode(code).detach(), atol=1e-6, rtol=0)


def test_a_collapsed_code_has_no_say() -> None:
    torch.manual_seed(0)
    net = ConvAutoencoder((1, 8, 8), latent=6, widths=(4,))
    with torch.no_grad():
        net.decoder[0].weight[:, 3:] *= 1e-5  # three directions that hardly move the picture
    space = AutoencoderTangents(net, (1, 8, 8), tolerance=0.01).at(torch.rand(2, 1, 8, 8))
    assert space.rank.tolist() == [3, 3]


def broken(change: Callable[[nn.Module], None]) -> nn.Module:
    """An autoencoder with a fault."""
    torch.manual_seed(0)
    net = ConvAutoencoder((1, 8, 8), latent=4, widths=(4,))
    change(net)
    return net


def test_faults_of_autoencoders_are_named() -> None:
    net = broken(lambda net: net.decoder[0].weight.data.fill_(math.nan))
    with pytest.raises(NumericsError, match=r"Jacobian of its decoder is NaN or infinite for images \[0, 1\]"):
        AutoencoderTangents(net, (1, 8, 8)).at(torch.rand(2, 1, 8, 8))
    with pytest.raises(NumericsError, match="cannot take images of"):
        AutoencoderTangents(ConvAutoencoder((1, 8, 6), latent=4, widths=(4,)), (1, 8, 8))
    wide = nn.Module()
    wide.encode, wide.decode = (lambda x: x.flatten(1)[:, :4]), (lambda z: torch.zeros(len(z), 1, 8, 9))
    with pytest.raises(NumericsError, match=r"its decoder gives \(2, 1, 8, 9\) for images of \(2, 1, 8, 8\)"):
        AutoencoderTangents(wide, (1, 8, 8))
    with pytest.raises(NumericsError, match="got 70 for images of 64 pixels"):
        AutoencoderTangents(ConvAutoencoder((1, 8, 8), latent=70, widths=(4,)), (1, 8, 8))
    with pytest.raises(NumericsError, match="got 5, expected at most the 4 numbers of a code"):
        AutoencoderTangents(ConvAutoencoder((1, 8, 8), latent=4, widths=(4,)), (1, 8, 8), rank=5)
    with pytest.raises(NumericsError, match="expected a module with encode and decode"):
        AutoencoderTangents(nn.Linear(2, 2), (1, 8, 8))


def test_requests_that_cannot_be_met_are_refused() -> None:
    found, x, _ = known(SPHERE)
    train = found.data.train
    with pytest.raises(NumericsError, match="expected more than that"):
        LocalPCATangents(train, neighbours=5, rank=5)
    with pytest.raises(NumericsError, match="expected at most that many"):
        LocalPCATangents(train.subset(slice(0, 10)), neighbours=20, rank=5)
    for maker in (
        lambda k: LocalPCATangents(train, 60, k),
        lambda k: DenoiserTangents(found.score, KrylovOptions(rank=k)),
        lambda k: ScoreSVDTangents(found.score, rank=k),
    ):
        with pytest.raises(NumericsError, match="got 42 for images of 42 pixels"):
            maker(42)
    for reference in ("pca?rank=42", "dct?rank=42", "mfa?rank=42", "random?rank=42"):
        with pytest.raises(NumericsError, match="for images of 42 pixels"):
            open_tangents(reference, found)
    with pytest.raises(NumericsError, match="span no 9 directions"):
        DenoiserTangents(found.score, KrylovOptions(rank=9, products=2, block=4))
    with pytest.raises(NumericsError, match="sigma: got 0"):
        DenoiserTangents(found.score, KrylovOptions(sigma=0.0))
    with pytest.raises(NumericsError, match="cannot be differentiated"):
        DenoiserTangents(FunctionScore(lambda u, sigma, y: u.detach(), (1, 6, 7)))
    with pytest.raises(NumericsError, match="expected the places of the images"):
        ShuffledTangents(open_tangents("exact", found), found.data.test).at(x)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("mffa", "Did you mean 'mfa'"),
        ("mfa?ranks=3", "unknown option 'ranks'"),
        ("local-pca?rank=many", "expected a number of at least 1 or one of"),
        ("denoiser?sigma=little", "expected a number such as sigma=0.1"),
        ("denoiser?soft=1", "expected true or false"),
        ("exact", "is no world"),
        ("autoencoder:nowhere.safetensors", "no such file"),
        ("diffusers:nowhere", r"no config\.json in it"),
        ("stored:nowhere", "cannot be read"),
    ],
)
def test_references_that_cannot_be_met_are_refused(reference: str, said: str) -> None:
    images = LabelledImages(torch.rand(60, 1, 4, 4), torch.arange(60) % 2, ("a", "b"))
    with pytest.raises(Exception, match=said) as caught:
        open_tangents(reference, Ground(Dataset("tensors", images, images)))
    assert type(caught.value).__module__ == "tangency.errors"


def test_shuffled_tangents_are_those_of_another_image() -> None:
    found, x, _ = known(SPHERE)
    exact, ids = open_tangents("exact", found), torch.arange(IMAGES)
    test = dataclasses.replace(found.data.test, pixels=x)
    other = ShuffledTangents(exact, test, seed=3)
    partner, _ = other.partners.any(ids)
    assert not (partner == ids).any()
    expected = exact.at(x[partner])
    assert float(space_agreement(other.at(x, ids), expected).largest.max()) < 1e-6
    within = ShuffledTangents(exact, test, within_class=True)
    partner, usable = within.partners.of_class(ids, test.labels)
    assert torch.equal(test.labels[partner], test.labels)
    assert within.at(x, ids).basis.isnan().any((1, 2)).equal(~usable)


def test_a_named_score_is_loaded_once() -> None:
    images = LabelledImages(torch.rand(60, 1, 4, 4), torch.arange(60) % 2, ("a", "b"))
    found = Ground(Dataset("tensors", images, images))
    one: TangentEstimator = open_tangents("denoiser?score=gaussian&rank=2", found)
    two = open_tangents("score-svd?score=gaussian&rank=2", found)
    assert isinstance(one, DenoiserTangents)
    assert isinstance(two, ScoreSVDTangents)
    assert one.denoiser is two.denoiser
    with pytest.raises(SpecError, match="unknown score"):
        open_tangents("denoiser?score=gausian", found)
    assert load_score("gaussian", found.data).kind == "gaussian"


def test_the_search_is_exact_and_keeps_the_order_of_equals() -> None:
    base = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    same = LabelledImages(base.repeat(40, 1, 1, 1), torch.zeros(40, dtype=torch.int64), ("a",))
    assert Neighbours(same).of(base, 3).tolist() == [[0, 1, 2]]
    pixels = torch.zeros(4200, 1, 28, 28, dtype=torch.uint8)  # black, and a few white ones far from their common centre
    pixels[4000:] = 255
    generator = torch.Generator().manual_seed(1)
    for i in range(200):
        places = torch.randperm(784, generator=generator)[: 1 + i % 40]
        pixels[4000 + i].view(-1)[places] -= 1
    data = LabelledImages(pixels, torch.zeros(4200, dtype=torch.int64), ("a",))
    white = torch.ones(1, 1, 28, 28)
    found = Neighbours(data).of(white, 10)[0]
    distance = (data.images().double() - white.double()).flatten(1).square().sum(1)
    assert torch.equal(found, distance.argsort(stable=True)[:10])


def test_weights_are_part_of_the_identity_of_an_autoencoders_tangents() -> None:
    cards = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        cards.append(AutoencoderTangents(ConvAutoencoder((1, 8, 8), latent=3, widths=(4,)), (1, 8, 8)).card)
    assert cards[0] != cards[1]


def test_what_gives_no_tangent_space_says_so() -> None:
    constant = FunctionScore(lambda u, sigma, y: u * 0 + 0.5, (1, 4, 4))
    with pytest.raises(NumericsError, match="its Jacobian is zero"):
        DenoiserTangents(constant, KrylovOptions(rank=2)).at(torch.rand(2, 1, 4, 4))
    given = FunctionScore(lambda u, sigma, y: u / 2, (1, 4, 4), classes=2, unconditional=False)
    with pytest.raises(NumericsError, match="needs labels, which would leak"):
        DenoiserTangents(given, KrylovOptions(rank=2))
    with pytest.raises(NumericsError, match="got no images"):
        DenoiserTangents(FunctionScore(lambda u, sigma, y: u / 2, (1, 4, 4)), KrylovOptions(rank=2)).at(
            torch.rand(0, 1, 4, 4)
        )
