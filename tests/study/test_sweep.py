"""Grids of strengths, and the learning rates that the published code trains them at."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from study_support import tiny_spec
from tangency.errors import SpecError
from tangency.objectives import make
from tangency.study import dump_spec, load_spec, parse_spec, shipped_spec
from tangency.study.plan import at_strength, plan_trials
from tangency.study.spec import StudySpec
from tangency.study.sweep import SweepEntry, logspace
from tangency.types import Dataset, LabelledImages

GRIDS = {
    "gradient_norm": (-5, 2, 0.01),
    "noise_consistency": (-4, 4, 10.0),
    "noise_augmentation": (-3, 2, None),
    "pgd_l2": (-5, 4, 100.0),
}


def images(count: int, shape: tuple[int, int, int] = (3, 32, 32)) -> LabelledImages:
    pixels = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(count))
    return LabelledImages(pixels, torch.arange(count) % 10, tuple("0123456789"))


DATA = Dataset("noise", images(60), images(20))


def swept(*entries: dict, **changes: object) -> StudySpec:
    content = tiny_spec(Path("tiny.npz"), sweep=list(entries), **changes)
    return parse_spec(content, "spec")


def test_a_grid_is_numpys_with_exact_ends() -> None:
    for low, high, _ in GRIDS.values():
        grid = logspace([10.0**low, 10.0**high, 30])
        assert (grid[0], grid[-1], len(grid)) == (10.0**low, 10.0**high, 30)
        np.testing.assert_allclose(grid, np.logspace(low, high, 30), rtol=1e-11)
    assert logspace([0.5, 2, 2]) == (0.5, 2.0)


def test_a_grid_in_a_spec_is_the_list_that_it_stands_for() -> None:
    text = "{objective: gradient_norm, strengths: {logspace: [1e-5, 1e2, 30]}}"  # of YAML, where 1e-5 is text
    grid = swept(yaml.safe_load(text))
    written = swept({"objective": "gradient_norm", "strengths": list(grid.sweep[0].strengths)})
    assert grid == written
    assert grid.digest() == written.digest()
    assert [t.train_hash for t in plan_trials(grid, DATA)] == [t.train_hash for t in plan_trials(written, DATA)]
    stored = yaml.safe_load(dump_spec(grid))
    assert stored["sweep"][0]["strengths"] == list(grid.sweep[0].strengths)
    assert parse_spec(stored, "spec") == grid


@pytest.mark.parametrize(
    ("strengths", "words"),
    [
        ({"logspace": [1, 0.1, 3]}, r"got \[1, 0\.1, 3\], expected \[first, last, count\]"),
        ({"logspace": [0, 1, 3]}, "above 0"),
        ({"logspace": [-1, 1, 3]}, "above 0"),
        ({"logspace": [0.1, 1, 1]}, "2 to 10000"),
        ({"logspace": [0.1, 1, 2.5]}, "how many"),
        ({"logspace": [0.1, 1, 1e9]}, "2 to 10000"),
        ({"logspace": [0.1, "inf", 3]}, "logspace: got"),
        ({"logspace": [0.1, "nan", 3]}, "logspace: got"),
        ({"logspace": [True, 2, 3]}, "logspace: got"),
        ({"logspace": [0.1, None, 3]}, "logspace: got"),
        ({"logspace": [0.1, 1]}, "logspace: got"),
        ({"logspace": "1e-5"}, "logspace: got"),
        ({"logspace": {"first": 1}}, "logspace: got"),
        ({"logspce": [0.1, 1, 3]}, "unknown key 'logspce'. Did you mean 'logspace'"),
        ({"logspace": [0.1, 1, 3], "more": 1}, "unknown key 'more'"),
        ({}, "logspace: got None"),
    ],
)
def test_a_grid_that_is_none_is_one_sentence(strengths: object, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        swept({"objective": "gradient_norm", "strengths": strengths})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", GRIDS)
def test_learning_rates_are_those_of_the_published_sweep(name: str) -> None:
    """run_experiments.py: lr = 0.025; if constant > s0: lr = 0.025 / (constant / s0)."""
    low, high, threshold = GRIDS[name]
    for strength in np.logspace(low, high, 30).tolist():
        published = 0.025
        if threshold is not None and strength > threshold:
            published = 0.025 / (strength / threshold)
        assert make(name, strength, legacy="pags").learning_rate(0.025) == published
        assert make(name, strength).learning_rate(0.025) == 0.025


def test_the_learning_rate_is_part_of_a_trials_identity_only_where_it_differs() -> None:
    entry = {"objective": "gradient_norm", "strengths": [0.005, 1.0], "legacy": "pags"}
    ids = "gradient_norm-0.005-pags-s0", "gradient_norm-1-pags-s0"
    own = {trial.id: trial for trial in plan_trials(swept(entry), DATA)}
    equal, slowed = (own[name] for name in ids)
    assert equal.train_hash == as_ever(equal.id, 0.005, 5e-3)
    assert slowed.train_hash == as_ever(slowed.id, 1.0, 5e-3 * 0.01)
    assert slowed.train_hash != as_ever(slowed.id, 1.0, 5e-3)
    assert slowed.objective is not None
    assert at_strength(swept(entry).train, slowed.objective).learning_rate == pytest.approx(5e-5)


def as_ever(_: str, strength: float, rate: float) -> str:
    """The identity of a trial, written out: what it was before learning rates depended on strengths."""
    spec = swept({"objective": "gradient_norm", "strengths": [strength], "legacy": "pags"})
    training = spec.train.plain() | {"learning_rate": rate}
    del training["checkpoint_seconds"]
    model = {"architecture": "convnet", "options": {}}
    parts = [DATA.train.digest, model, "gradient_norm", strength, "-pags", {}, training, 0, 1]
    return hashlib.sha256(json.dumps(["train", 1, *parts], sort_keys=True).encode()).hexdigest()[:16]


def test_the_papers_sweep_has_360_trials_at_the_published_strengths_and_rates() -> None:
    spec = load_spec("paper/cifar10")
    assert spec == shipped_spec("paper/cifar10")
    trials = plan_trials(spec, DATA, "weights that are not there")
    swept_trials = [t for t in trials if t.name in GRIDS]
    assert len(swept_trials) == 360
    for entry in spec.sweep[1:]:
        low, high, threshold = GRIDS[entry.objective]
        np.testing.assert_allclose(entry.strengths, np.logspace(low, high, 30), rtol=1e-11)
        for strength in entry.strengths:
            rate = at_strength(spec.train, entry.build(strength)).learning_rate
            slowed = threshold is not None and strength > threshold
            assert rate == pytest.approx(0.025 * threshold / strength if slowed else 0.025, rel=1e-12)
    train = spec.train
    assert (train.epochs, train.batch_size, train.optimiser, train.schedule) == (200, 128, "sgd", "step")
    assert (train.momentum, train.weight_decay, train.flip, train.crop, train.warmup) == (0.9, 5e-4, True, 4, 0)


def test_an_entry_takes_a_grid_in_python() -> None:
    assert SweepEntry(objective="pgd_l2", strengths={"logspace": (1, 100, 3)}).strengths == (1.0, 10.0, 100.0)
