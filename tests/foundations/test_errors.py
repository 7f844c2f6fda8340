"""Sentences of errors: the nearest name, at most ten names, and how many more there are."""

from __future__ import annotations

import re

import pytest

from tangency.errors import SpecError, listed, unknown_name
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.prepare import fitted_to
from tangency.measures import METRICS, MeasureConfig
from tangency.worlds import load_dataset


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, ""), (1, "n0"), (10, "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9"), (11, "n9 and 1 more"), (1000, "and 990 more")],
)
def test_at_most_ten_names_are_listed(count: int, told: str) -> None:
    found = listed(f"n{number}" for number in range(count))
    assert found.endswith(told)
    assert found.count("n") - ("and" in found) == min(count, 10)


def test_of_many_known_names_the_nearest_are_told() -> None:
    known = [f"class {number:04d}" for number in range(1000)]
    told = unknown_name("class", "class 0123x", known)
    assert told.startswith("unknown class 'class 0123x'. Did you mean 'class 0123'? Known: class 0123, ")
    assert told.endswith(" and 990 more.")
    assert told.count("class ") == 1 + 1 + 1 + 10
    assert unknown_name("rule", "x", ["b", "a"]) == "unknown rule 'x'. Known: a, b."


def test_a_long_name_is_cut() -> None:
    assert len(unknown_name("class", "x" * 10_000, ["a", "b"])) < 300


def test_errors_of_commands_list_ten_names_at_most() -> None:
    assert len(METRICS) > 10
    with pytest.raises(SpecError) as metrics:
        MeasureConfig(metrics=("cosin",))
    assert "Did you mean 'cosine'?" in str(metrics.value)
    assert re.search(r" and \d more\.$", str(metrics.value))
    data = load_dataset("world:linear?rank=2&classes=12&shape=1x8x8&train=48&test=24")
    with pytest.raises(SpecError, match=r"or one of .* and 2 more"):
        fitted_to(GenerationConfig("translate", 4, target=12), data)
