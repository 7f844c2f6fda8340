"""Each check fails on a world with a mistake that it is there to find."""

from __future__ import annotations

import pytest

from worlds import broken
from worlds.world_averages import AVERAGES
from worlds.world_cases import images_case, reference_case, world_case
from worlds.world_checks import CHECKS

CAUGHT = [
    ("densities", broken.forgotten_noise, "thick sphere"),
    ("densities", broken.swapped_classes, "linear"),
    ("densities", broken.no_normal_part, "sphere"),
    ("posterior", broken.swapped_classes, "torus"),
    ("posterior", broken.forgotten_noise, "linear"),
    ("scores", broken.wrong_sign, "linear"),
    ("scores", broken.pixel_units, "torus"),
    ("scores", broken.no_normal_part, "rotated"),
    ("weighted_score", broken.wrong_sign, "thick torus"),
    ("weighted_score", broken.weights_of_one, "linear"),
    ("tweedie", broken.half_noise, "sphere"),
    ("tweedie", broken.slightly_off, "distractor"),
    ("posterior_mean", broken.half_noise, "offset"),
    ("posterior_mean", broken.slightly_off, "circle"),
    ("jacobian", broken.half_noise, "circle"),
    ("jacobian", broken.twisted, "linear"),
    ("jacobian", broken.half_derivative, "offset"),
    ("local_dimension", broken.mode_distance, "linear"),
    ("local_dimension", broken.mode_distance, "circle"),
    ("local_dimension", broken.no_normal_part, "offset"),
    ("bayes_direction", broken.next_label, "sphere"),
    ("bayes_direction", broken.whole_odds, "sphere"),
    ("bayes_direction", broken.wrong_sign, "rotated"),
    ("bayes_gradients_cancel", broken.whole_odds, "linear"),
    ("bayes_gradients_cancel", broken.swapped_classes, "sphere"),
    ("class_scores_average", broken.swapped_classes, "linear"),
    ("class_scores_average", broken.more_than_one, "torus"),
    ("denoiser_difference", broken.half_noise, "linear"),
    ("denoiser_difference", broken.next_label, "sphere"),
    ("denoiser_difference", broken.whole_odds, "torus"),
    ("finite_differences", broken.wrong_sign, "torus"),
    ("finite_differences", broken.pixel_units, "mixture"),
    ("finite_differences", broken.one_class, "linear"),
    ("bayes_span", broken.tilted_span, "linear"),
    ("bayes_span", broken.tilted_span, "distractor"),
    ("tangent_basis", broken.short_tangents, "sphere"),
    ("tangent_is_where_images_move", broken.random_tangents, "torus"),
]
CAUGHT_ON_AVERAGE = [
    ("score_averages_to_zero", lambda world: broken.resampled(world, x=lambda x: x + 0.05)),
    ("score_averages_to_zero", broken.one_class),
    ("stein", broken.wrong_sign),
    ("stein", broken.pixel_units),
    ("stein", lambda world: broken.resampled(world, x=lambda x: 0.5 + 2 * (x - 0.5))),
    ("stein", broken.no_normal_part),
    ("sure", broken.half_derivative),
    ("sure", broken.half_noise),
    ("sure", broken.mode_distance),
    ("mean_square_is_the_distance", broken.mode_distance),
    ("mean_square_is_the_distance", broken.forgotten_noise),
    ("posterior_is_calibrated", broken.swapped_classes),
    ("posterior_is_calibrated", broken.more_than_one),
    ("posterior_is_calibrated", lambda world: broken.resampled(world, y=lambda y: y * 0)),
]


@pytest.mark.parametrize(("check", "mistake", "name"), CAUGHT)
def test_a_mistake_is_caught(check: str, mistake, name: str) -> None:
    arguments = (reference_case(name), *images_case(name, 0.1, 2), 0.1)
    CHECKS[check](world_case(name), *arguments)
    with pytest.raises(AssertionError):
        CHECKS[check](mistake(world_case(name)), *arguments)


@pytest.mark.parametrize(("check", "mistake"), CAUGHT_ON_AVERAGE)
def test_a_mistake_is_caught_on_average(check: str, mistake) -> None:
    AVERAGES[check](world_case("linear"), 0.1)
    with pytest.raises(AssertionError):
        AVERAGES[check](mistake(world_case("linear")), 0.1)


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, *_ in CAUGHT} == set(CHECKS)
    assert {check for check, _ in CAUGHT_ON_AVERAGE} == set(AVERAGES)
