"""What `measure` compares with where a score is named or left open, and the tangent spaces that go with it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from measure_support import toy_world
from tangency.errors import DataError, NumericsError, SpecError, TangencyError
from tangency.measures import MeasureConfig, Rows, WorkingSize, measure
from tangency.mixtures import fit_mixture
from tangency.score import EmpiricalScore, GaussianScore, MixtureScore
from tangency.tangents import LocalPCATangents, MixtureTangents
from tangency.types import LabelledImages

SHAPE = (1, 6, 6)
CONFIG = MeasureConfig(sigmas=(0.5,), rho_sigmas=(0.1,), epsilons=(1.0,), directions=1, metrics=("cosine",))


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    return toy_world(SHAPE, 90)[1]


@pytest.fixture(scope="module")
def reference() -> LabelledImages:
    mixture, data = toy_world(SHAPE, 4)
    x, y = mixture.sample(150, 1)
    return dataclasses.replace(data, pixels=x.clamp(0, 1), labels=y)


def rows(data: LabelledImages, reference: LabelledImages, **changes: Any) -> Rows:
    torch.manual_seed(0)
    size = data.pixels[0].numel()
    model = nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.Softplus(), nn.Linear(8, 3)).double()
    few = data.images()[:10], data.labels[:10]
    return measure(model, *few, train_data=reference, **({"config": CONFIG} | changes))


def assert_same(found: Rows, wanted: Rows) -> None:
    assert found.keys() == wanted.keys()
    for key, values in wanted.columns.items():
        torch.testing.assert_close(found[key], values, equal_nan=True, msg=key)


def aligned(found: Rows) -> set[str]:
    return {key for key in found.columns if key.startswith("alignment")}


def test_a_mixture_is_cut_to_what_memory_holds_and_that_is_said(
    data: LabelledImages, reference: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows(data, reference)
    assert whole.notes == ()
    monkeypatch.setattr("tangency.mixtures.budget.BUDGET", 3 * 2 * 36 * 4 * (3 + 2))
    found = rows(data, reference)
    (note,) = found.notes
    assert note.startswith("the mixture has 1 component of rank 8 a class, not 4 components of rank 12")
    assert not note.endswith(".")
    cut = fit_mixture(reference, 1, 8)[0]
    assert_same(found, rows(data, reference, score=MixtureScore(cut), tangents=MixtureTangents(cut)))
    given = rows(data, reference, score=GaussianScore(reference))  # tangent spaces are a mixture's
    assert given.notes == (note,)
    monkeypatch.setattr("tangency.mixtures.budget.BUDGET", 100)
    with pytest.raises(DataError, match=r"mixture of 3 classes.*--score none"):
        rows(data, reference)


def test_without_a_score_alignment_is_left_out_and_nothing_is_fitted(
    data: LabelledImages, reference: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = rows(data, reference)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a mixture is fitted")

    monkeypatch.setattr("tangency.measures.comparison.chosen.fit_affordable", refuse)
    found = rows(data, reference, score="none")
    assert aligned(usual)
    assert not aligned(found)
    assert set(found.keys()) == set(usual.keys()) - aligned(usual)
    torch.testing.assert_close(found["accuracy"], usual["accuracy"])
    for control in ("shuffled", "dct", "pca"):
        assert found[f"tangent_fraction.margin.{control}"].isfinite().all()
    assert found.notes == (
        "no score: alignment with a closed form is not measured",
        "no mixture is fitted: tangent spaces are those of the 60 nearest training images, of rank 12, since tangents "
        "names none",
    )
    local = LocalPCATangents(reference, 60, 12)
    given = rows(data, reference, score="none", tangents=local)
    assert_same(found, given)
    assert given.notes == found.notes[:1]
    few = rows(data, reference.subset(slice(0, 7)), score="none")
    assert "7 nearest training images, of rank 5" in few.notes[1]
    with pytest.raises(DataError, match="has 2 training images, expected at least 3"):
        rows(data, reference.subset(slice(0, 2)), score="none")


@pytest.mark.parametrize(("name", "make"), [("gaussian", GaussianScore), ("empirical", EmpiricalScore)])
def test_other_closed_forms_by_name(name: str, make: type, data: LabelledImages, reference: LabelledImages) -> None:
    found = rows(data, reference, score=name)
    assert aligned(found)
    assert_same(found, rows(data, reference, score=make(reference), tangents=LocalPCATangents(reference)))
    assert ["local" in note or "nearest" in note for note in found.notes] == [True]


def test_a_mixture_by_name_has_its_options(data: LabelledImages, reference: LabelledImages) -> None:
    assert_same(rows(data, reference, score="mfa"), rows(data, reference))
    own = fit_mixture(reference, 2, 3, seed=5)[0]
    wanted = rows(data, reference, score=MixtureScore(own), tangents=MixtureTangents(own))
    found = rows(data, reference, score="mfa?components=2&rank=3&seed=5")
    assert_same(found, wanted)
    assert float(found["tangent_rank"].max()) == 3


def test_a_named_score_lives_at_the_working_size(
    data: LabelledImages, reference: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(CONFIG, working_size=3)
    found = rows(data, reference, score="gaussian", config=config)
    small = WorkingSize(SHAPE, (3, 3)).images(reference)
    given = {"score": GaussianScore(small), "tangents": LocalPCATangents(small, 60, 8)}
    assert_same(found, rows(data, reference, config=config, **given))
    assert "at 3x3 of 6x6 by area" in found.notes[0]
    monkeypatch.setattr("tangency.measures.config.LARGE", 25)
    monkeypatch.setattr("tangency.measures.config.REDUCED", 3)
    assert_same(rows(data, reference, score="gaussian"), found)  # as where nothing is given, large images have one
    assert rows(data, reference, score="gaussian", tangents=LocalPCATangents(reference)).dimension == 36


def test_a_trained_score_alone(data: LabelledImages, reference: LabelledImages) -> None:
    pairs = (*CONFIG.alignments, ("margin", "network_bayes_gradient"))
    config = dataclasses.replace(CONFIG, alignments=pairs)
    trained = GaussianScore(reference)
    both = rows(data, reference, config=config, network=trained)
    alone = rows(data, reference, config=config, network=trained, score="none")
    assert aligned(alone) == {key for key in aligned(both) if ".network_" in key} != set()
    for key in aligned(alone):
        torch.testing.assert_close(alone[key], both[key])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"score": "exact"}, SpecError, "score: got 'exact', expected none, mfa, gaussian, empirical.*or a world"),
        ({"score": "edm-fashion-mnist"}, SpecError, "what load_score makes of a reference"),
        ({"score": "network:a.safetensors"}, SpecError, "is given as network"),
        ({"score": "none?rank=3"}, SpecError, "none takes no options"),
        ({"score": "mfa?ranks=3"}, SpecError, "Did you mean 'rank'"),
        ({"score": "none", "config": MeasureConfig(legacy="pags")}, SpecError, "published alignment is one with a"),
        (
            {"score": "none", "config": MeasureConfig(alignments=(("margin", "network_score"),))},
            SpecError,
            "network_score need a trained score",
        ),
        ({"tangents": ()}, NumericsError, "tangents: got none of them"),
    ],
)
def test_what_cannot_be_compared_with_is_refused(
    changes: dict[str, Any], error: type[TangencyError], message: str, data: LabelledImages, reference: LabelledImages
) -> None:
    with pytest.raises(error, match=message):
        rows(data, reference, **changes)


@pytest.mark.parametrize("name", ["", "gap.shuffled", "gap.dct", 2])
def test_names_that_would_be_read_as_a_control_are_refused(
    name: Any, data: LabelledImages, reference: LabelledImages
) -> None:
    near = LocalPCATangents(reference, 8, 3)
    with pytest.raises(SpecError, match=r"tangents: got the name .*expected a text without a control"):
        rows(data, reference, score="none", tangents={"own": near, name: near})


def test_one_gaussian_of_large_images_is_refused_with_the_way_out(
    data: LabelledImages, reference: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = LabelledImages(torch.rand(8, 3, 40, 40).double(), torch.arange(8) % 3, ("a", "b", "c"))
    with pytest.raises(NumericsError, match=r"got images of 4,800 values .*at most 4,096.*-size 36"):
        rows(large, large, score="gaussian")
    monkeypatch.setattr("tangency.score.closed.gaussian.LARGEST", 16)
    with pytest.raises(NumericsError, match=r"\(--working-size 4, measures.working_size, or \?size= of the data\)"):
        rows(data, reference, score="gaussian")
    config = dataclasses.replace(CONFIG, working_size=4)
    assert rows(data, reference, score="gaussian", config=config).dimension == 16
