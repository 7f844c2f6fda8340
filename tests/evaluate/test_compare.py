"""Two measured classifiers: pairing, settings, refusals, and words that say no more than p."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from measured_support import MAIN, N, columns, write_measured
from tangency.cli.app import app
from tangency.errors import NumericsError, RunError
from tangency.evaluate import estimates
from tangency.evaluate.compare import MeasureDifference, ModelComparison, compare
from tangency.evaluate.entries import EstimateEntry
from tangency.measures import MeasureConfig, Rows
from tangency.report.text.comparison import in_words, overall, size_of, winner

FRACTION = "tangent_fraction.margin"


def by_key(found: ModelComparison) -> dict[str, MeasureDifference]:
    return {row.key: row for row in found.measures}


def test_differences_are_those_of_the_paired_images(tmp_path: Path) -> None:
    a, b = columns(0), columns(1, fraction=0.25)
    found = compare(str(write_measured(tmp_path / "a", a)), str(write_measured(tmp_path / "b", b)))
    rows = by_key(found)
    assert found.images == N
    assert found.left_out == {"a": 0, "b": 0}
    row = rows[FRACTION]
    difference = a[FRACTION] - b[FRACTION]
    assert row.difference.mean == pytest.approx(difference.mean())
    assert row.dz == pytest.approx(difference.mean() / difference.std(ddof=1))
    half = 1.96 * difference.std() / np.sqrt(N)
    assert row.difference.high - row.difference.low == pytest.approx(2 * half, rel=0.1)
    wins = int(((a["accuracy"] == 1) & (b["accuracy"] == 0)).sum())
    losses = int(((a["accuracy"] == 0) & (b["accuracy"] == 1)).sum())
    assert rows["accuracy"].p == pytest.approx(stats.binomtest(wins, wins + losses).pvalue, abs=0.02)
    rho = {
        name: m["rho_off.logits.sigma=0.05"].sum() / m["rho_all.logits.sigma=0.05"].sum()
        for name, m in (("a", a), ("b", b))
    }
    assert rows["rho.logits.sigma=0.05"].difference.mean == pytest.approx(rho["a"] - rho["b"])
    excess = [m[FRACTION] - m[f"{FRACTION}.shuffled"] for m in (a, b)]
    assert rows[f"excess.{FRACTION}.shuffled"].difference.mean == pytest.approx((excess[0] - excess[1]).mean())
    assert "outside_on.eps=2" not in rows  # the same for every classifier
    sizes = [abs(row.dz) for row in found.measures]
    assert sizes == sorted(sizes, reverse=True)
    assert all(row.p_holm >= row.p for row in found.measures)


def test_the_same_model_twice_differs_in_nothing(tmp_path: Path) -> None:
    folder = str(write_measured(tmp_path / "a"))
    found = compare(folder, folder, replicates=100, permutations=99)
    for row in found.measures:
        assert [row.difference.mean, row.difference.low, row.difference.high] == [0, 0, 0], row.key
        assert (row.dz, row.p, row.p_holm) == (0, 1, 1)
    assert "exactly 0" in overall(found)
    assert found.warnings == []


def test_images_are_paired_by_their_index(tmp_path: Path) -> None:
    made = columns(0)
    order = np.random.default_rng(0).permutation(N)[:50]
    a = write_measured(tmp_path / "a", made)
    b = write_measured(tmp_path / "b", {key: v[order] for key, v in made.items()}, ids=order)
    found = compare(str(a), str(b), replicates=50, permutations=99)
    assert found.images == 50
    assert found.left_out == {"a": 30, "b": 0}
    assert all(row.difference.mean == 0 for row in found.measures)


def test_images_without_a_gradient_are_left_out_of_both(tmp_path: Path) -> None:
    a, b = columns(0), columns(1)
    a[FRACTION][:10] = np.nan
    b[FRACTION][70:] = np.nan
    b["change_on.eps=2"][:] = np.nan
    found = by_key(compare(str(write_measured(tmp_path / "a", a)), str(write_measured(tmp_path / "b", b))))
    kept = slice(10, 70)
    for row in (found[FRACTION], found["kappa.margin"]):
        assert (row.difference.n, row.difference.degenerate) == (60, 20)
    assert found[FRACTION].a.mean == pytest.approx(a[FRACTION][kept].mean())
    assert found[FRACTION].b.mean == pytest.approx(b[FRACTION][kept].mean())
    assert found["change_on.eps=2"].difference.mean is None
    assert found["change_on.eps=2"].p_holm is None
    assert list(found)[-1] == "change_on.eps=2"


def test_other_data_are_refused(tmp_path: Path) -> None:
    a, b = write_measured(tmp_path / "a"), write_measured(tmp_path / "b", digest="e" * 64)
    with pytest.raises(RunError, match="other images cannot be paired"):
        compare(str(a), str(b))


@pytest.mark.parametrize("shared", [0, 1])
def test_too_few_shared_images_are_refused(tmp_path: Path, shared: int) -> None:
    a = write_measured(tmp_path / "a", ids=np.arange(N))
    b = write_measured(tmp_path / "b", ids=np.arange(N) + N - shared)
    with pytest.raises(RunError, match=f"share {shared} measured images, expected at least 2"):
        compare(str(a), str(b))


def test_settings_that_differ_are_named(tmp_path: Path) -> None:
    a = write_measured(tmp_path / "a")
    other = MeasureConfig(sigmas=(0.5,), directions=1)
    made = {key: v for key, v in columns(1).items() if "eps=2" not in key}
    b = write_measured(tmp_path / "b", made | {"change_on.eps=1": np.ones(N)}, config=other)
    found = compare(str(a), str(b), permutations=99)
    assert "measures.sigmas: 0.125, 0.25, 0.5 for A, 0.5 for B." in found.warnings
    assert "measures.directions: 4 for A, 1 for B." in found.warnings
    assert "change_on.eps=2" in found.only["a"]
    assert found.only["b"] == ["change_on.eps=1"]


def test_keys_choose_measures_and_unknown_ones_are_named(tmp_path: Path) -> None:
    folder = str(write_measured(tmp_path / "a"))
    found = compare(folder, folder, ("accuracy", "excess.tangent_fraction"), permutations=99)
    controls = {f"excess.{FRACTION}.{name}" for name in ("shuffled", "shuffled_class", "pca")}
    assert set(by_key(found)) == {"accuracy", *controls}
    with pytest.raises(RunError, match=r"Did you mean 'kappa\.margin'"):
        compare(folder, folder, ("kapa.margin",))


def damaged(folder: Path, kind: str) -> str:
    """A folder with something wrong, and what the message must say."""
    summary = folder / "summary.json"
    if kind == "absent":
        return "no such folder"
    write_measured(folder)
    content = json.loads(summary.read_text())
    if kind == "killed":
        summary.unlink()
        return "it was broken off"
    if kind == "rows gone":
        (folder / "rows.parquet").unlink()
        return "nothing to pair images by"
    if kind == "cut short":
        (folder / "rows.parquet").write_bytes((folder / "rows.parquet").read_bytes()[:200])
        return "not a readable Parquet table"
    if kind == "no json":
        summary.write_text("<html>")
        return "not readable JSON"
    if kind == "foreign":
        summary.write_text('{"loss": 0.3}')
        return "that tangency did not write"
    if kind == "a list":
        summary.write_text("[]")
        return "expected an object"
    if kind == "other schema":
        summary.write_text(json.dumps(content | {"schema": 99}))
        return "has schema 99"
    if kind == "foreign rows":
        import polars

        polars.DataFrame({"x": [1]}).write_parquet(folder / "rows.parquet")
        return "lacks"
    if kind == "twice the same image":
        write_measured(folder, ids=np.zeros(N, int))
        return "not one for each image"
    (folder / "trials").mkdir()
    return "is the run of a study"


KINDS = (
    "absent",
    "killed",
    "rows gone",
    "cut short",
    "no json",
    "foreign",
    "a list",
    "other schema",
    "foreign rows",
    "twice the same image",
    "study",
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_with_a_folder_is_said_with_exit_code_2(tmp_path: Path, kind: str) -> None:
    good = write_measured(tmp_path / "good")
    said = damaged(tmp_path / "bad", kind)
    result = CliRunner().invoke(app, ["compare", str(good), str(tmp_path / "bad")])
    assert isinstance(result.exception, RunError)  # which main() prints as one paragraph, with exit code 2
    assert said in str(result.exception)


@pytest.mark.parametrize("reference", ["run:nowhere/trials/x", "run:nowhere"])
def test_a_run_that_is_not_there_is_named(tmp_path: Path, reference: str) -> None:
    with pytest.raises(RunError, match="no such run"):
        compare(reference, str(write_measured(tmp_path / "a")))


def test_a_folder_of_several_models_lists_them(tmp_path: Path) -> None:
    alone = write_measured(tmp_path / "alone")
    for name in ("01-a", "02-b"):
        write_measured(tmp_path / "three" / name)
    with pytest.raises(RunError) as told:
        compare(str(alone), str(tmp_path / "three"))
    assert "holds 2 measured models, expected one" in str(told.value)
    assert f"'{tmp_path / 'three' / '01-a'}', '{tmp_path / 'three' / '02-b'}'" in str(told.value)
    for number in range(20):
        write_measured(tmp_path / "three" / f"more-{number:02d}")
    with pytest.raises(RunError, match=r"22 measured models.* and 12 more"):
        compare(str(tmp_path / "three"), str(alone))


def test_a_file_in_place_of_a_folder_is_said_to_be_one(tmp_path: Path) -> None:
    alone, file = write_measured(tmp_path / "alone"), tmp_path / "h.pt"
    file.write_bytes(b"weights")
    with pytest.raises(RunError) as told:
        compare(str(alone), str(file))
    assert f"'{file}': is a file, expected a folder that `tangency measure --out` wrote" in str(told.value)
    assert f"tangency measure --model {file} --data REF --out DIR" in str(told.value)


def test_the_terminal_says_in_words_what_is_shown(tmp_path: Path) -> None:
    a = write_measured(tmp_path / "a", columns(0))
    b = write_measured(tmp_path / "b", columns(0, fraction=0.2), config=MeasureConfig(directions=1))
    shown = CliRunner().invoke(app, ["compare", str(a), str(b), "--keys", "tangent_fraction,kappa,accuracy"])
    assert shown.exit_code == 0, shown.output
    assert "settings differ: measures.directions: 4 for A, 1 for B." in shown.output
    assert "A is better in 2, B in 0" in shown.output
    assert "A is better (Holm's p" in shown.output
    strict = CliRunner().invoke(app, ["compare", str(a), str(b), "--json"])
    assert json.loads(strict.output)["images"] == N


def test_words_follow_the_direction_of_the_measure() -> None:
    more = EstimateEntry(mean=0.2, low=0.1, high=0.3)
    row = MeasureDifference("kappa.margin", "lower", more, more, more, dz=0.3, p=0.01, p_holm=0.01)
    assert winner(row) == "b"
    assert "A has more than B, A − B = +0.2, a small paired effect; B is better" in in_words(row, "+0.2")
    assert winner(replace(row, better="neither")) is None
    assert winner(replace(row, p_holm=0.06)) is None
    assert winner(replace(row, p_holm=None)) is None
    assert [size_of(dz) for dz in (-0.1, 0.2, -0.7, 3)] == ["very small", "small", "medium", "large"]


def test_alignment_and_its_excess_have_p_and_effects(tmp_path: Path) -> None:
    folder = write_measured(tmp_path / "a")
    summary = json.loads((folder / "summary.json").read_text())
    excess = summary["excess"][f"alignment_cosine.{MAIN}"]
    assert excess["p"] == 1 / 10_000
    made = columns()
    own, null = made[f"alignment_cosine.{MAIN}"], made[f"alignment_cosine.{MAIN}.shuffled"]
    assert excess["null_sd"] == pytest.approx((own.mean() - null.mean()) / null.std(ddof=1))
    assert excess["dz"] == pytest.approx((own - null).mean() / (own - null).std(ddof=1))
    controls = summary["excess"][FRACTION]["controls"]
    assert set(controls) == {"shuffled", "shuffled_class", "pca"}
    assert summary["excess"][FRACTION]["p"] == max(each["p"] for each in controls.values())


@pytest.mark.parametrize("missing", ["tangent_rank", "rho_all.logits.sigma=0.05"])
def test_a_column_that_a_pooled_number_rests_on_is_named(missing: str, tmp_path: Path) -> None:
    held = {key: values for key, values in columns().items() if key != missing}
    rows = Rows(torch.arange(N), {key: torch.as_tensor(values) for key, values in held.items()}, 36, 3)
    with pytest.raises(NumericsError, match=f"^{missing}: is not among the columns, and .* rests on it"):
        estimates(rows, 100)
    with pytest.raises(NumericsError, match=f"^{missing}: is not among the columns"):
        compare(rows, rows)


def test_one_resample_makes_no_interval() -> None:
    rows = Rows(torch.arange(N), {"accuracy": torch.as_tensor(columns()["accuracy"])}, 36, 3)
    for made in (lambda: estimates(rows, 1), lambda: compare(rows, rows, replicates=1)):
        with pytest.raises(NumericsError, match="replicates: got 1, expected at least 2"):
            made()


@pytest.mark.parametrize("wrong", [{"settings": []}, {"shape": 3}])
def test_a_summary_of_another_form_is_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    own, other = write_measured(tmp_path / "own"), write_measured(tmp_path / "other", **wrong)
    with pytest.raises(RunError, match=r"summary.json': has settings or a shape that tangency did not write"):
        compare(own, other)
