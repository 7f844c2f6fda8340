"""Registries: names of our own, of other packages by entry points, and of this process; a sentence for the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study_support import tiny_spec, write_data
from support import make_mixture
from tangency.data import KINDS
from tangency.errors import DataError, ModelError, SpecError, TangencyError
from tangency.evaluate.generation.run import generate_with
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.table import TASKS
from tangency.measures import MEASURES, METRICS, MeasureConfig
from tangency.models import ARCHITECTURES, build, load_model
from tangency.models.foreign.loaders import LOADERS
from tangency.objectives import OBJECTIVES, make
from tangency.references import OPENERS, Registry, makes
from tangency.score import load_score
from tangency.score.references import SCORES, fingerprint
from tangency.seeding import Draw
from tangency.study import parse_spec
from tangency.study.generation.plan import plan_entries
from tangency.study.plan import plan_trials
from tangency.study.preflight import checked_plan
from tangency.tangents import Ground, open_tangents
from tangency.tangents.references import ESTIMATORS
from tangency.types import Dataset, LabelledImages
from tangency.worlds import load_dataset

OUTSIDE = Path(__file__).parent.parent / "outside"
TABLES: tuple[Registry[Any], ...] = (
    KINDS,
    LOADERS,
    ARCHITECTURES,
    SCORES,
    ESTIMATORS,
    OBJECTIVES,
    METRICS,
    MEASURES,
    TASKS,
)


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The packages of tests/outside are installed, and nothing has been looked up yet."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(OUTSIDE))
    for table in TABLES:
        monkeypatch.setattr(table, "_points", None)
        monkeypatch.setattr(table, "_entries", dict(table._entries))
    yield
    for name in set(sys.modules) - before:
        if name.endswith("_things"):
            del sys.modules[name]


def data() -> Dataset:
    return load_dataset("other/stripes?images=60")


def rules(**own: Any) -> Registry[Callable[[float], float]]:
    return Registry("rule", "", own, "a function (x)", makes(1))


def test_names_of_the_package_come_first_and_nothing_is_imported_before_it_is_asked_for() -> None:
    table = rules(half=lambda x: x / 2, root="math:sqrt", absent="tangency.nowhere:rule")
    assert list(table) == ["half", "root", "absent"]
    assert len(table) == 3
    assert table.own == ("half", "root", "absent")
    assert table["root"](9.0) == 3
    assert table.origin("half") == ""
    with pytest.raises(SpecError, match=r"rule 'absent': it is registered as tangency.nowhere:rule, which cannot be"):
        table["absent"]
    with pytest.raises(SpecError, match=r"unknown rule 'haf'. Did you mean 'half'\?"):
        table["haf"]


def test_a_function_registered_by_a_decorator_or_by_its_place_is_there_until_it_is_forgotten() -> None:
    table = rules(half=lambda x: x / 2)

    @table.register("mine/third")
    def third(x: float) -> float:
        return x / 3

    table.register("mine/root", "math:sqrt")
    assert table["mine/third"](9.0) == table["mine/root"](9.0) == third(9.0)
    assert list(table) == ["half", "mine/third", "mine/root"]
    with pytest.raises(SpecError, match="rule 'mine/third': the name is taken, expected one that is free"):
        table.register("mine/third", third)
    with pytest.raises(SpecError, match="rule 'mine/third': is registered in this process alone, so that neither"):
        table.shared_origin("mine/third")
    table.forget("mine/third")
    assert "mine/third" not in table
    for name in ("half", "mine/third"):
        with pytest.raises(SpecError, match=f"rule '{name}': was not registered in this process"):
            table.forget(name)


@pytest.mark.parametrize("name", ["third", "mine/", "/third", "mine/third/x", "my package/third", "mine/third.x", ""])
def test_a_name_of_somebody_elses_has_a_package(name: str) -> None:
    with pytest.raises(SpecError, match="names of other packages are package/name, of letters, digits, - and _"):
        rules().register(name, lambda x: x)


def test_what_is_registered_must_be_of_the_kind() -> None:
    def without_default(x: float, *, rank: int) -> float:
        return x

    for held in (3, lambda x, y: x, without_default):
        with pytest.raises(SpecError, match=r"rule 'mine/x': what was registered is .*, expected a function \(x\)"):
            rules().register("mine/x", held)
    table = rules()
    table.register("mine/pi", "math:pi")
    with pytest.raises(SpecError, match=r"what was registered is of type float, expected a function \(x\)"):
        table["mine/pi"]


def test_what_this_process_registered_has_an_identity_of_its_own_each_time() -> None:
    found = set()
    for _ in range(2):
        OBJECTIVES.register("mine/loss", lambda model, x, y, draw, strength: model(x)[:, 0])
        found.add(make("mine/loss").identity["origin"])
        OBJECTIVES.forget("mine/loss")
    assert len(found) == 2


BROKEN = {
    "broken/absent": r"entry point of broken-things 0.3 is broken_things.nowhere:loss, which cannot be imported \(M",
    "broken/unnamed": r"of broken-things 0.3 is broken_things:nothing_of_that_name, which cannot be imported \(A",
    "broken/short": r"of broken-things 0.3 is short\(model, x\), expected a function \(model, x, y, draw, strength",
    "broken/text": r"is text\(model, x, y, draw, strength, .*, expected .* options with numbers, switches or words",
    "broken/twin": r"(broken-things 0.3 and twin-things 0.4|twin-things 0.4 and broken-things 0.3) both register it",
    "plain": r"'plain' of broken-things 0.3: names of other packages are package/name, .* such as mine/plain\.",
    "broken/shrt": r"unknown objective 'broken/shrt'. Did you mean 'broken/short'\?",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_entry_point_is_a_sentence_and_spoils_no_other(name: str) -> None:
    with pytest.raises(SpecError, match=BROKEN[name]):
        make(name)
    assert make("acme/smoothed_labels", 0.5).identity["origin"] == "acme-things 1.2"
    assert make("standard").identity == {"name": "standard", "strength": 0.0, "options": {}, "legacy": None}


def test_a_loss_that_is_not_one_for_each_image_is_refused() -> None:
    model = build("convnet", (1, 8, 8), 3, channels=(4, 4, 4))
    x, y = torch.rand(5, 1, 8, 8), torch.zeros(5, dtype=torch.long)
    with pytest.raises(
        SpecError, match=r"objective broken/mean: gave \(\) for 5 images, expected a loss for each, \(5,\)"
    ):
        make("broken/mean").losses(model, x, y, Draw(0, torch.arange(5), "test"))


def test_every_kind_says_what_is_wrong_with_what_is_not_of_it(tmp_path: Path) -> None:
    shown = data()
    for call, error, complaint in (
        (
            lambda: open_tangents("broken/ground", Ground(shown)),
            SpecError,
            "made an object of type Ground, expected a T",
        ),
        (lambda: load_score("broken/score:x"), SpecError, "made an object of type Reference, expected a Denoiser"),
        (lambda: load_model("broken/model:x", shown), ModelError, "made an object of type Request, expected an Opened"),
        (
            lambda: MeasureConfig(metrics=("cosine", "broken/metric")),
            SpecError,
            "is text.*, expected a Metric of pairs",
        ),
        (
            lambda: load_dataset("broken/data"),
            DataError,
            "data set 'broken/data': the entry point of .*expected a Kind",
        ),
        (
            lambda: GenerationConfig("broken/task"),
            SpecError,
            "task 'broken/task': the entry .* of GenerationTask",
        ),
    ):
        with pytest.raises(error, match=complaint):
            call()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.group)
def test_every_group_is_named_in_the_docs_and_lists_names_without_loading_them(table: Registry[Any]) -> None:
    before = set(sys.modules)
    assert [name for name in table if name not in table.own]
    assert not {name for name in set(sys.modules) - before if name.endswith("_things")}
    assert f"`{table.group}`" in (OUTSIDE.parent.parent / "docs" / "extending.md").read_text()
    with pytest.raises(TangencyError, match="unknown"):
        table["acme/nothing-of-that-name"]
    assert not OPENERS.group


def test_data_an_architecture_and_a_metric_of_another_package_in_a_plan() -> None:
    shown = data()
    assert (len(shown.train), len(shown.test), shown.train.shape) == (60, 20, (1, 8, 8))
    assert len(load_dataset("other/stripes?train=30&images=60").train) == 30
    with pytest.raises(DataError, match=r"unknown option of other/stripes 'image'. Did you mean 'images'\?"):
        load_dataset("other/stripes?image=3")
    net = {"architecture": "other/flat", "options": {"width": 4}}
    spec = parse_spec(tiny_spec(Path("x")) | {"data": "other/stripes", "model": net}, "spec")
    own = load_dataset(spec.data)
    checked_plan(spec, own)
    assert plan_trials(spec, own)[0].train_hash
    assert build("other/flat", (1, 8, 8), 3, width=4)(shown.test.images()).shape == (20, 3)
    with pytest.raises(ModelError, match="unknown option of other/flat 'wdth'"):
        build("other/flat", (1, 8, 8), 3, wdth=4)


def test_a_score_of_another_package_is_one_of_a_file_and_known_by_it(tmp_path: Path) -> None:
    path = tmp_path / "pixels.npz"
    np.savez(path, pixels=np.random.default_rng(0).random((40, 1, 8, 8), dtype=np.float32))
    reference = f"other/gaussian:{path}"
    assert load_score(reference).shape == (1, 8, 8)
    before = fingerprint(reference)
    np.savez(path, pixels=np.random.default_rng(1).random((40, 1, 8, 8), dtype=np.float32))
    assert fingerprint(reference) != before
    with pytest.raises(SpecError, match=r"unknown score 'other/gausian:x'. Did you mean 'other/gaussian"):
        load_score("other/gausian:x")


def test_tangent_spaces_with_a_location_want_one(tmp_path: Path) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(b"x")
    ground = Ground(data())
    assert open_tangents(f"other/stored:{path}?rank=3", ground).max_rank == 3
    with pytest.raises(SpecError, match="unknown tangent spaces 'other/stored'"):
        open_tangents("other/stored", ground)


def test_a_classifier_of_another_package_is_loaded_and_says_by_whom(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    np.savez(tmp_path / "net.npz", weight=weight)
    shown = data()
    net = load_model(f"acme/linear:{tmp_path / 'net.npz'}?range=0,1&mean=none", shown)
    x = shown.test.images()
    assert torch.allclose(net(x), x.flatten(1) @ torch.from_numpy(weight).T, atol=1e-4)
    assert net.card.provenance["loader"] == "acme-things 1.2"
    with pytest.raises(ModelError, match=r"unknown model 'acme/liner:x'. Did you mean 'acme/linear"):
        load_model("acme/liner:x", shown)


def test_a_task_of_another_package_is_performed_and_in_its_identity(tmp_path: Path) -> None:
    x, y = make_mixture((1, 8, 8), 3, 2, 3, noise=0.003).sample(60, 0)
    parts = [LabelledImages(x[p].clamp(0, 1).float(), y[p], ("a", "b", "c")) for p in (slice(40), slice(40, 60))]
    net = build("convnet", (1, 8, 8), ("a", "b", "c"), 0, channels=(4, 4, 4))
    one = GenerationConfig("other/brighten", 3, components=1, rank=3, references=())
    other = GenerationConfig("denoise", 3, components=1, rank=3, references=())
    made, usual = (generate_with(net, Dataset("d", *parts), config) for config in (one, other))
    assert torch.equal(made.pictures["classifier"], usual.pictures["classifier"])
    content = tiny_spec(write_data(tmp_path), generate=[{"task": "other/brighten", "references": [], "count": 3}])
    spec = parse_spec(content | {"measures": content["measures"]}, "spec")
    assert plan_entries(spec, load_dataset(spec.data))[0].name == "other/brighten"
