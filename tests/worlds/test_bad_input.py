"""Every misuse raises the right error and says what was got and what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tangency.errors import DataError, NumericsError, SpecError
from tangency.worlds import BayesClassifier, World, bayes_risk, load_dataset, make_world, place_posterior
from worlds.world_cases import HAS_POSTERIOR, NAMES, images_case, world_case

NOISY: dict[str, Callable] = {
    "density": lambda w, x, y, s: w.log_density(x, s),
    "density given y": lambda w, x, y, s: w.log_density_given(x, s, y),
    "joint": lambda w, x, y, s: w.log_class_joint(x, s),
    "score": lambda w, x, y, s: w.score(x, s),
    "score given y": lambda w, x, y, s: w.score(x, s, y),
    "denoise": lambda w, x, y, s: w.denoise(x, s, y),
    "mean square": lambda w, x, y, s: w.mean_square(x, s),
    "local dimension": lambda w, x, y, s: w.local_dimension(x, s),
    "posterior": lambda w, x, y, s: w.log_posterior(x, s),
    "Bayes direction": lambda w, x, y, s: w.bayes_direction(x, y, s),
    "classifier": lambda w, x, y, s: BayesClassifier(w, s)(x),
    "risk": lambda w, x, y, s: bayes_risk(w, s, 10),
}
OF_IMAGES = {
    **{name: call for name, call in NOISY.items() if name != "risk"},
    "tangents": lambda w, x, y, s: w.tangent_basis(x),
}
OF_IMAGES["normals"] = lambda w, x, y, s: w.normal_basis(x)
OF_LABELS = ("density given y", "score given y", "denoise", "Bayes direction")
DENSITY = ("density", "density given y", "joint", "score", "score given y", "denoise")


def complains(error: type[Exception], *words: str):
    """The error, with all the words in this order."""
    return pytest.raises(error, match="(?s)" + ".*".join(map(re.escape, words)))


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("what", NOISY)
@pytest.mark.parametrize("name", ["linear", "torus"])
def test_noise_levels_that_are_none(name: str, what: str, sigma: float) -> None:
    with complains(NumericsError, f"sigma: got {sigma}", "finite noise level"):
        NOISY[what](world_case(name), *images_case(name, 0.1), sigma)


@pytest.mark.parametrize("what", DENSITY)
@pytest.mark.parametrize("name", ["linear without noise", "offset", "rotated", "sphere", "uneven torus"])
def test_singular_worlds_have_no_density_at_zero_noise(name: str, what: str) -> None:
    with complains(NumericsError, "at σ = 0", "no density in pixel space", "Ask at some σ > 0"):
        NOISY[what](world_case(name), *images_case(name, 0.1), 0.0)


@pytest.mark.parametrize("what", ["mean square", "local dimension"])
@pytest.mark.parametrize("name", NAMES)
def test_distance_to_the_clean_image_needs_noise(name: str, what: str) -> None:
    with complains(NumericsError, "sigma: got 0", "> 0"):
        NOISY[what](world_case(name), *images_case(name, 0.1), 0.0)


@pytest.mark.parametrize("what", ["posterior", "Bayes direction", "classifier", "risk"])
@pytest.mark.parametrize("name", ["offset", "rotated"])
def test_classes_on_different_subspaces_have_no_posterior_at_zero_noise(name: str, what: str) -> None:
    assert name not in HAS_POSTERIOR
    with complains(NumericsError, "posterior", "no limit", "different subspaces", "σ > 0"):
        NOISY[what](world_case(name), *images_case(name, 0.1), 0.0)


@pytest.mark.parametrize("what", OF_IMAGES)
def test_images_of_another_shape(what: str) -> None:
    world, (x, y) = world_case("linear"), images_case("linear", 0.1)
    for images in (x.transpose(2, 3), x.squeeze(1), x[0], x.flatten(1), x.repeat(1, 3, 1, 1)):
        with complains(NumericsError, f"got images {tuple(images.shape)}", "expected (N, 1, 5, 7)"):
            OF_IMAGES[what](world, images, y[: len(images)].repeat(3)[: len(images)], 0.1)


@pytest.mark.parametrize("what", OF_IMAGES)
@pytest.mark.parametrize("name", ["linear", "sphere", "mixture"])
def test_no_images(name: str, what: str) -> None:
    x, y = images_case(name, 0.1)
    with complains(NumericsError, "got no images", "at least 1"):
        OF_IMAGES[what](world_case(name), x[:0], y[:0], 0.1)


@pytest.mark.parametrize("what", OF_LABELS)
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda y: y + 3, ["labels", "3 classes"]),
        (lambda y: y - 5, ["labels", "expected 0 to 2"]),
        (lambda y: y[:2], ["labels", "for 3 images"]),
        (lambda y: y[:, None], ["labels", "shape (3, 1)"]),
        (lambda y: y.double(), ["labels", "float64", "integers"]),
        (lambda y: y > 0, ["labels", "bool", "integers"]),
    ],
)
def test_labels_that_are_none(what: str, wrong: Callable, words: list[str]) -> None:
    x, y = images_case("linear", 0.1)
    with complains(DataError, *words):
        NOISY[what](world_case("linear"), x, wrong(y), 0.1)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("linear?rank=0", ["rank: got 0", "expected 1 to 255"]),
        ("linear?rank=-1", ["rank: got -1"]),
        ("linear?rank=16&shape=1x4x4", ["rank: got 16", "16 pixels", "1 to 15"]),
        ("linear?rank=99&shape=1x4x4", ["rank: got 99"]),
        ("linear?classes=1", ["classes: got 1", "at least 2"]),
        ("linear?classes=0", ["classes: got 0"]),
        ("linear?components=0", ["components: got 0", "positive"]),
        ("linear?separation=0", ["separation: got 0", "positive"]),
        ("linear?separation=nan", ["separation: got nan", "positive"]),
        ("linear?contrast=-1", ["contrast: got -1", "positive"]),
        ("linear?contrast=inf", ["contrast: got inf", "positive"]),
        ("linear?noise=-0.1", ["noise: got -0.1", "expected 0 or a variance"]),
        ("linear?noise=nan", ["noise: got nan", "variance"]),
        ("linear?noise=inf", ["noise: got inf", "variance"]),
        ("linear?embedding=sharp", ["unknown embedding 'sharp'", "orthogonal, smooth"]),
        ("offset?rank=0", ["rank: got 0"]),
        ("offset?rank=256", ["got 25", "256 pixels"]),
        ("offset?rank=14&shape=1x4x4", ["17 pixel patterns", "16 pixels"]),
        ("offset?classes=1", ["classes: got 1"]),
        ("offset?distance=0", ["distance: got 0", "positive"]),
        ("offset?noise=-1", ["noise: got -1"]),
        ("offset?contrast=0", ["contrast: got 0"]),
        ("rotated?rank=0", ["rank: got 0"]),
        ("rotated?rank=300", ["rank: got 300", "256 pixels"]),
        ("rotated?rank=5&shape=1x4x4", ["20 pixel patterns", "16 pixels"]),
        ("rotated?classes=1", ["classes: got 1"]),
        ("rotated?angle=0", ["angle: got 0", "degrees"]),
        ("rotated?angle=91", ["angle: got 91", "90"]),
        ("rotated?angle=nan", ["angle: got nan"]),
        ("sphere?rank=0", ["rank", "0", "at least 1"]),
        ("sphere?rank=-3", ["rank -3", "at least 1"]),
        ("sphere?rank=15&shape=1x4x4", ["16 pixel patterns", "16 pixels"]),
        ("sphere?concentration=-1", ["concentration: got -1", "from 0"]),
        ("sphere?concentration=inf", ["concentration: got inf", "from 0"]),
        ("sphere?concentration=nan", ["concentration: got nan"]),
        ("sphere?classes=1", ["classes: got 1"]),
        ("sphere?components=0", ["components: got 0"]),
        ("torus?rank=0", ["rank 0", "at least 1"]),
        ("torus?rank=8&shape=1x4x4", ["16 pixel patterns", "16 pixels"]),
        ("torus?noise=-1", ["noise: got -1"]),
        ("distractor?shape=1x7x5", ["height 7", "even"]),
        ("distractor?shape=1x4x3&rank=6", ["rank: got 6", "6 pixels"]),
        ("distractor?shape=1x4x3&rank=4", ["6 pixel patterns", "6 pixels"]),
        ("distractor?rank=0", ["rank: got 0"]),
        ("distractor?classes=1", ["classes: got 1"]),
        ("distractor?noise=0", ["noise: got 0", "positive"]),
        ("distractor?noise=-1", ["noise: got -1"]),
        ("distractor?mark=0", ["mark: got 0", "positive"]),
        ("distractor?contrast=0", ["contrast: got 0"]),
        ("distractor?separation=-1", ["separation: got -1"]),
    ],
)
def test_options_that_make_no_world(reference: str, words: list[str]) -> None:
    with complains(NumericsError, *words):
        make_world(reference)


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        ("fitted?noise=white", SpecError, ["unknown noise 'white'", "common, diagonal, isotropic"]),
        ("fitted?images=0", NumericsError, ["images: got 0", "at least 1"]),
        ("fitted?images=30", DataError, ["class '", "images, expected at least 8 for 4 components"]),
        ("fitted?rank=784&components=1", NumericsError, ["rank: got 784", "784 pixels"]),
        ("fitted?rank=0", NumericsError, ["rank: got 0"]),
        ("fitted?components=0", NumericsError, ["components=0", "at least 1"]),
        ("fitted?data=nothing", DataError, ["unknown data set 'nothing'"]),
    ],
)
def test_fits_that_cannot_be(reference: str, error: type[Exception], words: list[str]) -> None:
    with complains(error, *words):
        make_world(reference)


def test_equal_images_cannot_be_fitted(tmp_path) -> None:
    import numpy as np

    path = tmp_path / "grey.npz"
    grey, labels = np.full((40, 4, 4), 128, np.uint8), np.arange(40) % 2
    np.savez(path, x_train=grey, y_train=labels, x_test=grey, y_test=labels)
    with complains(DataError, "all images of a class are equal"):
        make_world(f"fitted?data=npz:{path}&components=1&rank=2")


def test_places_of_a_world_without_halves() -> None:
    for name in ("linear", "sphere"):
        with complains(NumericsError, "no halves", "distractor"):
            place_posterior(world_case(name), images_case(name, 0.1)[0], 0.1)


@pytest.mark.parametrize("n", [0, -2])
def test_samples_of_nothing(n: int) -> None:
    with complains(NumericsError, f"got n = {n}", "at least 1"):
        world_case("linear").sample(n, 0)


def test_normals_of_images_of_different_rank() -> None:
    """Components of different rank have no common normal rank."""
    import dataclasses

    world: World = world_case("mixture")
    loadings = world.core.mixture.loadings.clone()
    loadings[::2, :, 1] = 0
    core = dataclasses.replace(world.core, mixture=dataclasses.replace(world.core.mixture, loadings=loadings))
    other = dataclasses.replace(world, core=core)
    found = other.sample(60, 0)
    basis, rank = other.tangent_basis(found.x)
    assert set(rank.tolist()) == {1, 2}
    assert float(basis[rank == 1][:, :, 1].abs().max()) == 0
    assert other.intrinsic_dimension == 2
    with complains(NumericsError, "ranks from 1 to 2", "one rank"):
        other.normal_basis(found.x)


def test_errors_of_a_reference_name_the_option() -> None:
    with complains(SpecError, "world:linear?rank=x", "rank=x"):
        load_dataset("world:linear?rank=x")
