"""The leaderboard: one table a data set, ranks that intervals allow, warnings, pictures, downloads, bad folders."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from measured_support import MAIN, N, columns, write_measured
from tangency.cli.app import app
from tangency.errors import RunError
from tangency.evaluate.entries import EstimateEntry
from tangency.measures import MeasureConfig
from tangency.report import write_leaderboard
from tangency.report.read.models import rank_ranges


def rows_of(page: str, table: int = 0) -> list[str]:
    """Labels of a leaderboard table, from the top."""
    body = re.findall(r'<table class="plain sortable leaderboard">.*?</table>', page, re.DOTALL)[table]
    return re.findall(r'<th scope="row"[^>]*><code>([^<]*)</code>', body)


def unescaped(text: str) -> str:
    return " ".join(html.unescape(text).split())


def numbers_of(text: str) -> list[dict]:
    """The numbers of the download."""
    found = json.loads(re.search(r'id="numbers">(.*?)</script>', text, re.DOTALL)[1])
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]


def strong(seed: int = 2, accuracy: float = 0.9) -> dict[str, np.ndarray]:
    """Rows of a model whose gradient has twice as much energy in the own tangent space, and no more elsewhere."""
    made = columns(seed, accuracy=accuracy)
    made["tangent_fraction.margin"] *= 2
    return made


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_measured(folder / "weak", columns(1), pictures=True)
    write_measured(folder / "strong", strong(), pictures=True)
    write_measured(folder / "guessing", strong(3, accuracy=0.3))
    write_measured(folder / "elsewhere", columns(4), digest="e" * 64, data="other-data")
    return folder


def test_models_stand_in_order_one_table_for_each_data_set(boards: Path) -> None:
    page = write_leaderboard([str(boards)])
    assert page == boards / "index.html"
    text = page.read_text(encoding="utf-8")
    assert rows_of(text) == ["strong", "weak", "guessing"]
    assert rows_of(text, 1) == ["elsewhere"]
    assert "cannot be ranked together" in text
    assert "strong stands first" in text
    assert "Its accuracy is not shown to be above chance" in text
    assert re.search(r"<tr><td>–</td><th[^>]*><code>guessing", text)  # no rank for a network that classifies nothing
    assert text.count('src="data:image/png') >= 4 * (4 + 2)
    assert not re.search(r'(src|href)="https?:', text)
    again = write_leaderboard([str(boards)])  # its own files are no measured model
    assert again.read_text(encoding="utf-8") == text


def test_rows_and_numbers_can_be_downloaded(boards: Path) -> None:
    text = write_leaderboard([str(boards)]).read_text(encoding="utf-8")
    table = pl.read_parquet(boards / "leaderboard-rows.parquet")
    assert table.columns[:3] == ["model", "data", "image"]
    assert set(table.columns[3:]) == set(columns())
    assert set(table.dtypes[3:]) == {pl.Float64}
    made, own = columns(1), table.filter(pl.col("model") == "weak").sort("image")
    assert own["image"].to_list() == list(range(N))
    assert all((own[key].to_numpy() == values).all() for key, values in made.items())
    numbers = {(row["model"], row["measure"]): row["mean"] for row in numbers_of(text)}
    assert numbers["strong", "accuracy"] == 0.9
    assert numbers["strong", "log_fraction_over_control"] > np.log(2)
    assert 'href="leaderboard-rows.parquet" download' in text


def test_other_settings_and_other_images_are_warned_of(tmp_path: Path) -> None:
    a = write_measured(tmp_path / "a")
    b = write_measured(tmp_path / "b", columns(1, n=50), config=MeasureConfig(directions=1), warnings=["Mind the gap."])
    text = write_leaderboard([str(a), str(b)], tmp_path / "out").read_text(encoding="utf-8")
    assert "Settings differ in measures.directions" in text
    assert "Not all were measured on the same images" in text
    assert "Mind the gap." in text


def test_one_model_and_missing_gradients(tmp_path: Path) -> None:
    made = columns()
    made["tangent_fraction.margin"][:20] = np.nan
    made["change_on.eps=2"][:] = np.nan
    folder = write_measured(tmp_path / "only", made)
    page = write_leaderboard([str(folder)])
    assert page.parent == folder / "report"
    text = page.read_text(encoding="utf-8")
    assert "<h1>only on " in text
    assert "Rank</th>" not in text
    assert "ranks rest" not in text
    assert "What is said of tangent spaces rests on one estimator" in text
    assert "in the tangent spaces of their own images than in any control (log F²/best control " in unescaped(text)
    assert "over the images of this one network" in unescaped(text)
    assert f"20 of {N} images have no gradient" in text
    assert '<td class="num none">–</td>' in text


def test_a_model_of_one_image_has_no_rank_that_is_wrong(tmp_path: Path) -> None:
    one = write_measured(tmp_path / "one", columns(n=1))
    text = write_leaderboard([str(one), str(write_measured(tmp_path / "many"))], tmp_path / "out").read_text("utf-8")
    assert rows_of(text) == ["many", "one"]
    assert re.search(r"<tr><td>–</td><th[^>]*><code>one<", text)


def test_the_same_folder_twice_is_one_model_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    a, b = write_measured(tmp_path / "x" / "net"), write_measured(tmp_path / "y" / "net", columns(1))
    text = write_leaderboard([str(a), str(a), str(b)], tmp_path / "out").read_text(encoding="utf-8")
    assert len(rows_of(text)) == len(set(rows_of(text))) == 2


def test_a_measured_folder_with_others_below_it_shows_all(tmp_path: Path) -> None:
    own = write_measured(tmp_path / "own")
    write_measured(own / "below", columns(1))
    write_measured(own / "beside", columns(2))
    page = write_leaderboard([str(own)])
    assert page == own / "index.html"
    assert sorted(rows_of(page.read_text(encoding="utf-8"))) == ["below", "beside", "own"]


def test_a_measure_that_one_model_lacks_is_null_in_the_rows(tmp_path: Path) -> None:
    made = columns()
    made["radius"] = np.where(np.arange(N) < 3, np.nan, 1.0)
    a, b = write_measured(tmp_path / "a", made), write_measured(tmp_path / "b")
    page = write_leaderboard([str(a), str(b)], tmp_path / "out")
    table = pl.read_parquet(page.parent / "leaderboard-rows.parquet")
    assert table.height == 2 * N
    first, second = (table.filter(pl.col("model") == name)["radius"] for name in "ab")
    assert first.null_count() == 0
    assert first.is_nan().sum() == 3
    assert second.null_count() == N


def page_of(folder: Path) -> str:
    return write_leaderboard([str(folder)]).read_text(encoding="utf-8")


def test_what_is_shown_is_decided_by_the_adjusted_p(tmp_path: Path) -> None:
    """One model whose interval leaves out 0, among so many that Holm's p is above 0.05."""
    rng, key = np.random.default_rng(0), f"alignment_cosine.{MAIN}"

    def made(seed: int, gain: float) -> dict[str, np.ndarray]:
        found = columns(seed)
        noise = np.random.default_rng(seed).normal(size=N)
        noise = (noise - noise.mean()) / noise.std()
        found[f"{key}.shuffled"] = found[key] - 0.05 * (noise + gain)
        return found

    folders = [write_measured(tmp_path / "slight", made(1, 0.25))]
    folders += [write_measured(tmp_path / f"none-{i}", made(i, float(rng.uniform(-0.05, 0)))) for i in range(2, 6)]
    assert "of the same class the difference is" not in unescaped(page_of(write_measured(tmp_path / "bare", columns())))
    within = made(1, 0.25)
    within[f"{key}.shuffled_class"] = within[key] + 0.01
    assert "against another image of the same class the difference is −0.01" in unescaped(
        page_of(write_measured(tmp_path / "within", within))
    )
    alone = write_leaderboard([str(folders[0])], tmp_path / "one").read_text(encoding="utf-8")
    assert "They are more aligned with the Bayes direction of their own image than with that of any other" in unescaped(
        alone
    )
    assert "Its alignment is not shown" not in alone
    text = unescaped(write_leaderboard(list(map(str, folders)), tmp_path / "all").read_text(encoding="utf-8"))
    (entry,) = [row for row in numbers_of(text) if row["model"] == "slight" and row["measure"] == f"excess.{key}"]
    assert entry["low"] > 0
    assert entry["p"] <= 0.05 < entry["p_holm"]
    assert "0 aligned beyond the targets of other images in every direction (Holm's p ≤ 0.05)" in text
    assert text.count("Its alignment is not shown to be above that with other images' targets") >= 5
    assert "shown to be above 0 where Holm's p ≤ 0.05, whatever the interval" in text


def test_tangency_that_a_control_explains_lowers_the_rank_and_is_said(tmp_path: Path) -> None:
    """A filter before a network: more energy in the own tangent space, and still more in global PCA."""
    filtered, robust = columns(1, fraction=0.4, cosine=0.6), columns(2, fraction=0.3, cosine=0.5)
    filtered["tangent_fraction.margin.pca"] = 2 * filtered["tangent_fraction.margin"]
    folders = [write_measured(tmp_path / "filtered", filtered), write_measured(tmp_path / "robust", robust)]
    text = unescaped(write_leaderboard(list(map(str, folders)), tmp_path / "out").read_text(encoding="utf-8"))
    assert rows_of(text) == ["robust", "filtered"]
    numbers = {(row["model"], row["measure"]): row for row in numbers_of(text)}
    own = numbers["filtered", "log_fraction_over_control"]
    assert own["mean"] == pytest.approx(-np.log(2))
    assert own["low"] <= own["mean"] <= own["high"]
    assert "Its F² is not shown to be above every control: one global PCA subspace" in text
    assert "1 is shown to be tangent beyond every control (95 % intervals), 2 aligned beyond the targets" in text


def second_estimates(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with a second direction and a second estimator."""
    more = {"tangent_rank.tangents=denoiser": made["tangent_rank"]}
    for key, values in made.items():
        if key.startswith("alignment_cosine"):
            more[key.replace("bayes_gradient", "network_bayes_gradient")] = values
        elif key.startswith("tangent_fraction"):
            more[key.replace(".margin", ".margin.tangents=denoiser")] = values
    return made | more


def test_the_unit_and_what_backs_the_ranks_are_said(tmp_path: Path) -> None:
    def page(*names: str) -> str:
        text = write_leaderboard([str(tmp_path / name) for name in names], tmp_path / "out").read_text("utf-8")
        return unescaped(text)

    backed = second_estimates(columns())
    write_measured(tmp_path / "one")
    write_measured(tmp_path / "backed", backed)
    write_measured(tmp_path / "bare", {key: values for key, values in backed.items() if "fraction" not in key})
    assert "The unit of every interval here is the image" in page("one")
    assert "They say nothing of networks trained anew with other seeds" in page("one")
    assert "The ranks rest on one estimator of tangent spaces" in page("one", "backed")
    assert "What is said of tangent spaces rests on one estimator" in page("one")
    assert "fewer than two Bayes directions in all models (the closed form's Bayes direction ∇ log p(y|x))" in page(
        "one"
    )
    assert "on one estimator" not in page("backed")
    assert "The ranks are backed by" not in page("backed")
    assert "The ranks rest on one estimator" in page("one", "backed")  # like is compared with like: what both have
    text = page("backed", "bare")
    assert "Without a rank, since what ranks the others was not measured: bare." in text
    assert re.search(r"<tr><td>–</td><th[^>]*><code>bare", text)
    only = {key: values for key, values in columns().items() if not key.endswith((".shuffled_class", ".pca"))}
    write_measured(tmp_path / "only", only)
    other = {key: values for key, values in columns().items() if key != "tangent_fraction.margin.shuffled"}
    write_measured(tmp_path / "other", other)
    assert "No ranks:" in page("only", "other")  # no control that both have
    assert "No ranks:" in page("bare")
    assert "No model can be ranked" in page("bare")


def test_finite_steps_that_contradict_kappa_are_warned_of(tmp_path: Path) -> None:
    made = columns()
    made["change_off.eps=2"] = 2 * made["change_on.eps=2"]
    text = write_leaderboard([str(write_measured(tmp_path / "a", made))], tmp_path / "out").read_text("utf-8")
    assert "steps off the manifold move the softmax more than steps on it at ε = 2;" in unescaped(text)


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    folder = write_measured(tmp_path / "a", model="</script><script>alert(1)</script>", data="<b>data</b>")
    text = write_leaderboard([str(folder)], tmp_path / "out").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<b>data" not in text


def test_broken_folders_beside_good_ones_are_said_and_named_ones_are_refused(boards: Path) -> None:
    broken = write_measured(boards / "killed")
    (broken / "summary.json").unlink()
    (boards / "notes").mkdir()
    text = write_leaderboard([str(boards)]).read_text(encoding="utf-8")
    assert "Not shown:" in text
    assert "broken off" in text
    with pytest.raises(RunError, match="broken off"):
        write_leaderboard([str(broken)])
    with pytest.raises(RunError, match="holds no measured model"):
        write_leaderboard([str(boards / "notes")])
    with pytest.raises(RunError, match="no such folder"):
        write_leaderboard([str(boards / "nowhere"), str(boards)])
    with pytest.raises(RunError, match="got a file"):
        write_leaderboard([str(boards)], boards / "index.html")


def test_the_command_writes_leaderboards_and_keeps_reports_of_studies(boards: Path, run: Path) -> None:
    shown = CliRunner().invoke(app, ["report", str(boards / "weak"), str(boards / "strong"), "--out", str(boards)])
    assert shown.exit_code == 0, shown.output
    study = CliRunner().invoke(app, ["report", str(run), "--json"])
    assert json.loads(study.output)["report"] == str(run / "report" / "index.html")
    refused = CliRunner().invoke(app, ["report", str(run), "--out", str(boards)])
    assert isinstance(refused.exception, RunError)
    trial = CliRunner().invoke(app, ["report", str(boards), str(run)])
    assert "name a trial of it" in str(trial.exception)


def test_ranks_are_those_that_intervals_leave_open() -> None:
    spans = [(0.8, 0.9), (0.5, 0.7), (0.6, 0.75), (None, None), (0.1, 0.2)]
    found = rank_ranges([EstimateEntry(mean=low, low=low, high=high) for low, high in spans])
    assert found == ["1", "2–3", "2–3", "–", "4"]
