"""What is said of objects that do not fit their declaration."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from tangency.cause.spec import parse_cause
from tangency.errors import SpecError
from tangency.study import parse_spec
from tangency.validation import validated

SWEEP = {"sweep": [{"objective": "standard"}]}


@validated
class Pair:
    """At least two numbers from 0 to 1."""

    numbers: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=2)]


def test_too_few_members_are_a_complaint_of_their_own() -> None:
    with pytest.raises(SpecError, match=r"numbers: .*expected at least 2"):
        Pair(numbers=(0.5,))
    with pytest.raises(SpecError, match=r"numbers: .*expected at most 1") as told:
        Pair(numbers=(0.5, 2.0))
    assert "at least 2" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        ({"epochs": 3}, "unknown key 'epochs'. Did you mean 'train.epochs'?"),
        ({"learning_rates": 3}, "unknown key 'learning_rates'. Did you mean 'train.learning_rate'?"),
        ({"train": {"measured": 3}}, "unknown key 'train.measured'. Did you mean 'measured'?"),
        ({"train": {"epoch": 3}}, "unknown key 'train.epoch'. Did you mean 'train.epochs'? Known: train.epochs,"),
        ({"ranks": 3}, "Did you mean 'score.rank' or 'generate.rank'?"),
        ({"sweep": [{"objective": "standard", "epochs": 2}]}, "'sweep.0.epochs'. Did you mean 'train.epochs'?"),
        ({"zzz": 1}, "unknown key 'zzz'. Known: "),
    ],
)
def test_an_unknown_key_names_the_nearest_one_where_it_belongs(content: dict, meant: str) -> None:
    with pytest.raises(SpecError) as told:
        parse_spec(SWEEP | content, "spec")
    assert meant in str(told.value)


def test_an_unknown_key_of_a_causal_study_likewise() -> None:
    with pytest.raises(SpecError, match=r"unknown key 'measured'\. Did you mean 'study\.measured'\?"):
        parse_cause({"study": {}, "guide": "exact", "shams": ["dct"], "measured": 5}, "spec")


def test_a_value_by_place_is_named_as_its_field_is() -> None:
    assert Pair((0.5, 1.0)) == Pair(numbers=(0.5, 1.0))
    with pytest.raises(SpecError, match=r"^numbers: got 'a', expected a valid tuple\.$"):
        Pair("a")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="numbers"):
        Pair((0.5, 1.0), numbers=(0.5, 1.0))  # type: ignore[misc]
    with pytest.raises(SpecError):
        Pair((0.5, 1.0), 3)  # type: ignore[call-arg]
