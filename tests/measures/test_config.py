"""What is measured is checked when it is named: in Python, by a spec, and by a request."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tangency.errors import SpecError
from tangency.evaluate import MeasureRequest
from tangency.measures import MeasureConfig
from tangency.study import parse_spec

BAD: list[tuple[dict[str, Any], str]] = [
    ({"sigmas": (-0.5, 0.5)}, r"sigmas: got \[-0\.5\], expected at least 0 in \[0, 1\] pixel units\."),
    ({"sigmas": (math.nan,)}, r"sigmas: got \[nan\], expected finite numbers"),
    ({"rho_sigmas": (0.0,)}, r"rho_sigmas: got \[0\.0\], expected more than 0"),
    ({"epsilons": (math.inf,)}, r"epsilons: got \[inf\], expected finite numbers"),
    ({"sigmas": (0.25, 0.2500001)}, r"sigmas: got \[0\.25, 0\.2500001\], expected distinct numbers"),
    ({"noise_sigmas": (0.5, 0.5)}, r"noise_sigmas: got \[0\.5, 0\.5\], expected distinct numbers"),
    ({"directions": 0}, "directions: got 0, expected at least 1 per image"),
    ({"directions": "many"}, "directions: got 'many', expected a whole number"),
    ({"candidates": 1}, "candidates: got 1, expected at least 2 images, the own target and another"),
    ({"curved": -1}, "curved: got -1, expected at least 0"),
    ({"curved": 4, "epsilons": (2.0, 1.0)}, "curved: got 4 edges .* expected lengths that rise"),
    ({"label": "predictd"}, "unknown (measures.)?label 'predictd'. Did you mean 'predicted'"),
    ({"legacy": "pag"}, "unknown (measures.)?legacy 'pag'. Did you mean 'pags'"),
    ({"metrics": "cosine"}, "metrics: got 'cosine', expected a valid tuple"),
    ({"sigma": (0.5,)}, "unknown key '(measures.)?sigma'. Did you mean '(measures.)?sigmas'"),
    ({"working_size": [4, 0]}, r"working_size: got \[4, 0\], expected pixels of at least 1, \(h, w\), or own"),
    ({"working_size": True}, "working_size: got True, expected pixels"),
    ({"alignments": [("logp_y", "scor")]}, "unknown alignment target 'scor'. Did you mean 'score'"),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_bad_measures_are_refused_at_the_door(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=f"^{words}"):
        MeasureConfig(**options)
    with pytest.raises(SpecError, match=words):
        parse_spec({"sweep": [{"objective": "standard"}], "measures": options}, "spec 'x.yaml'")


def test_every_complaint_is_in_one_sentence_of_a_spec() -> None:
    measures = {"directions": 0, "epsilons": [-1, 1, -2]}
    with pytest.raises(SpecError) as caught:
        parse_spec({"sweep": [{"objective": "standard"}], "measures": measures, "measured": 1}, "x")
    assert str(caught.value) == (
        "x: measured: got 1, expected at least 2; measures.epsilons: got [-1, -2], expected more than 0 in [0, 1] "
        "pixel units; measures.directions: got 0, expected at least 1 per image."
    )


def test_lists_and_whole_numbers_are_the_same_measures() -> None:
    same = MeasureConfig(epsilons=[1, 2], sigmas=[0.5], metrics=["cosine"])  # type: ignore[arg-type]
    assert same == MeasureConfig(epsilons=(1.0, 2.0), sigmas=(0.5,), metrics=("cosine",))
    assert same.digest() == MeasureConfig(epsilons=(1.0, 2.0), sigmas=(0.5,), metrics=("cosine",)).digest()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit": 1}, "limit: got 1, expected at least 2 images, since the controls need another one"),
        ({"stages": -1}, "stages: got -1, expected at least 0"),
        ({"epsilons": (0.0,)}, r"epsilons: got \[0\.0\], expected more than 0"),
        ({"legacy": "old"}, "legacy: got 'old', expected 'pags'"),
        ({"working_size": "64:bilinear"}, "working_size: got '64:bilinear'"),
        ({"sigma": (0.5,)}, "unknown key 'sigma'. Did you mean 'sigmas'"),
        ({"batch_size": True}, "batch_size: got True, expected auto, or at least 1 image"),
        ({"batch_size": None}, "batch_size: got None, expected auto"),
        ({"out": 3}, "out: got 3, expected a folder"),
        ({"data": 3}, "data: got 3, expected a reference of data"),
        ({"models": ()}, "models: got none, expected at least one, each once"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_loaded(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=f"^{words}"):
        MeasureRequest(**({"models": ("nowhere.safetensors",)} | options))


def test_requests_take_paths() -> None:
    request = MeasureRequest(Path("net.safetensors"), Path("tiny.npz"), maps=Path("maps.npz"))  # type: ignore[arg-type]
    assert (request.models, request.data, request.maps) == (("net.safetensors",), "npz:tiny.npz", "maps.npz")


@pytest.mark.parametrize("size", [np.int64(4), np.array([4, 4]), [np.int32(4), 4]])
def test_numbers_of_numpy_are_whole_numbers(size: Any) -> None:
    plain = MeasureConfig(working_size=(4, 4) if np.ndim(size) else 4, directions=2, sigmas=(0.25, 0.5))
    found = MeasureConfig(working_size=size, directions=np.int64(2), sigmas=np.array([0.25, 0.5]))  # type: ignore[arg-type]
    assert found == plain
    assert found.digest() == plain.digest()
    assert MeasureRequest("net.safetensors", working_size=size).working_size == plain.working_size  # type: ignore[arg-type]


def test_requests_take_what_is_as_good_as_text() -> None:
    request = MeasureRequest(
        (name for name in ("a.safetensors", Path("b.safetensors"))),  # type: ignore[arg-type]
        device=torch.device("cpu"),  # type: ignore[arg-type]
        batch_size=np.int64(3),  # type: ignore[arg-type]
    )
    assert (request.models, request.device) == (("a.safetensors", "b.safetensors"), "cpu")
    assert request.batch_size == 3
