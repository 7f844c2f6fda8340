"""The blocks of a page: decoded as its script decodes them, they are the rows and the pictures of the run."""

import base64
import gzip
import json
import shutil

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from report.synthetic_run import RANK, build_run
from tangency.report.page.blocks import number_block, photograph_block, picture_block
from tangency.report.page.explorer import PICTURED, aligned_keys, explore
from tangency.report.page.numbers import ImageTable, embedded_numbers
from tangency.report.page.study import exported
from tangency.report.read.run import read_run
from tangency.report.text.score import direction_label


def unpacked(block):
    return gzip.decompress(base64.b64decode(block))


def numbers_of(block, trials):
    """One number after the other, byte by byte: slow and plain."""
    planes = unpacked(block)
    count = len(planes) // 4
    values = [np.frombuffer(bytes(planes[plane * count + i] for plane in range(4)), "<f4")[0] for i in range(count)]
    return np.array(values).reshape(trials, -1)


def pictures_of(block, kind):
    data = unpacked(block)
    length = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + length])
    values = np.frombuffer(data[4 + length :], kind).reshape(head["shape"]).astype(float)
    scales = np.array(head["scales"])
    return values, scales.reshape(head["shape"][:2] if len(head["shape"]) == 3 else -1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that no test changes."""
    return build_run(tmp_path_factory.mktemp("explored") / "run")


@pytest.fixture(scope="module")
def explored(folder):
    run = read_run(folder)
    return run, explore(run)


def test_every_number_of_every_image_is_that_of_the_rows(explored, folder):
    run, explorer = explored
    rows = pl.read_parquet(folder / "rows.parquet")
    trials = [trial.id for trial in run.summary.trials]
    ids = explorer.content["images"]["ids"]
    entries = explorer.content["keys"]
    assert {entry["key"] for entry in entries} == {
        name for name in rows.columns[3:] if rows[name].is_finite().any()
    }  # and so a measure that is degenerate everywhere is none
    wanted = {trial: rows.filter(pl.col("trial") == trial).sort("image") for trial in trials}
    for entry in entries[::7]:
        values = numbers_of(explorer.blocks[entry["block"]], len(trials))
        for trial, own in zip(trials, values, strict=True):
            assert wanted[trial]["image"].to_list() == ids
            np.testing.assert_allclose(own, wanted[trial][entry["key"]].to_numpy(), rtol=2**-13, atol=0)


def test_numbers_keep_twelve_bits_nan_and_the_ends_of_their_range():
    largest = float(np.finfo(np.float32).max)
    values = np.array([[1 / 3, -1e-12, 0.0, np.nan, largest, -1e300, 1.0, 0.5 + 2**-14]])
    read = numbers_of(number_block(values), 1)
    assert np.isnan(read[0, 3])
    np.testing.assert_allclose(read[0, [0, 1, 2, 6, 7]], values[0, [0, 1, 2, 6, 7]], rtol=2**-13)
    np.testing.assert_allclose(read[0, 4:6], [largest, -largest], rtol=2**-12)
    assert not (read[0, [0, 1, 7]].view("<u4") & 0x7FF).any()  # what was rounded off takes no room


def test_rows_in_another_order_and_trials_without_rows_give_the_same_table(explored):
    run, _ = explored
    trials = run.summary.trials
    mixed = run.rows.sample(fraction=1.0, shuffle=True, seed=3).filter(pl.col("trial") != trials[1].id)
    a, b = ImageTable.of(trials, run.rows), ImageTable.of(trials, mixed)
    own = a.values("accuracy")
    own[1] = np.nan
    np.testing.assert_array_equal(b.values("accuracy"), own)
    fewer = mixed.filter(~((pl.col("trial") == trials[0].id) & (pl.col("image") == 5)))
    lacking = ImageTable.of(trials, fewer).values("accuracy")
    assert np.isnan(lacking[0, 5])
    assert np.isfinite(lacking[0]).sum() == lacking.shape[1] - 1


def test_keys_come_headline_first_and_what_does_not_fit_is_named(explored):
    run, explorer = explored
    entries = explorer.content["keys"]
    texts = [entry["key"] for entry in entries]
    assert texts[:2] == ["accuracy", "tangent_fraction.margin"]
    fraction = entries[1]
    assert set(fraction["controls"]) >= {"tangent_fraction.margin.dct", "tangent_fraction.margin.shuffled"}
    assert fraction["better"] == "higher"
    assert fraction["chance"] == pytest.approx(RANK / 784, rel=1e-3)
    table = ImageTable.of(run.summary.trials, run.rows)
    sizes = [len(explorer.blocks[entry["block"]]) for entry in entries]
    some = embedded_numbers(table, texts, sum(sizes[:5]) + min(sizes) - 1, "r2-")
    assert [entry["key"] for entry in some.keys] == texts[:5]
    assert some.left_out == texts[5:]
    assert set(some.blocks) == {f"r2-n{i}" for i in range(5)}
    assert sum(map(len, some.blocks.values())) == sum(sizes[:5])


def test_titles_tell_keys_apart(explored):
    titles = [entry["title"] for entry in explored[1].content["keys"]]
    assert len(set(titles)) == len(titles)


def test_pictures_are_those_of_the_run_to_a_part_of_254(explored, folder):
    run, explorer = explored
    content, held = explorer.content["pictures"], load_file(folder / "artefacts" / "pictures.safetensors")
    image, _ = pictures_of(explorer.blocks[content["image"]], np.uint8)
    np.testing.assert_allclose(image / 255, held["image"], atol=0.5 / 255 + 1e-6)
    blocks = {target["name"]: target["block"] for target in content["targets"]}
    blocks |= {f"gradient.{trial}": block for trial, block in content["gradients"].items()}
    assert len(blocks) == sum(name.startswith("gradient.") for name in held) + 3
    for name, block in blocks.items():
        values, scales = pictures_of(explorer.blocks[block], np.int8)
        largest = np.abs(held[name]).max((1, 2, 3))
        np.testing.assert_allclose(scales, largest, rtol=1e-5)
        wrong = np.abs(values / 127 * scales[:, None, None, None] - held[name]).max((1, 2, 3))
        assert (wrong <= largest / 250).all()
    assert explorer.content["images"]["pictured"] == list(range(7))
    assert explorer.content["images"]["labels"] == [i % 10 for i in range(200)]


def test_the_tangent_part_of_a_gradient_can_be_made_from_a_block(explored):
    run, explorer = explored
    (space,) = explorer.content["pictures"]["tangents"]
    assert (space["estimator"], space["rank"]) == ("mfa", RANK)
    rows, scales = pictures_of(explorer.blocks[space["block"]], np.int8)
    basis = rows / 127 * scales[..., None]
    gram = basis @ basis.transpose(0, 2, 1)
    assert np.abs(gram - np.eye(RANK)).max() < 0.02
    assert explorer.content["pictures"]["why_no_tangents"] == ""


def test_a_zero_gradient_and_one_that_is_not_finite_have_no_scale():
    values = np.ones((3, 1, 2, 2), np.float32)
    values[1], values[2, 0, 0] = 0, np.nan
    read, scales = pictures_of(picture_block(values), np.int8)
    assert scales.tolist() == [1.0, 0.0, 0.0]
    assert read.reshape(3, -1)[:, 0].tolist() == [127, 0, 0]
    assert pictures_of(photograph_block(3 * values[:1]), np.uint8)[0].max() == 255


def test_large_pictures_are_drawn_smaller_without_tangent_spaces(tmp_path, monkeypatch):
    run = build_run(tmp_path / "run", channels=3)
    monkeypatch.setattr("tangency.report.page.explorer.PICTURES_BUDGET", 60_000)
    explorer = explore(read_run(run))
    content = explorer.content["pictures"]
    values, _ = pictures_of(explorer.blocks[content["image"]], np.uint8)
    assert values.shape[1:] == tuple(content["shape"])
    assert values.size * (1 + len(content["targets"]) + len(content["gradients"])) <= 60_000
    held = load_file(run / "artefacts" / "pictures.safetensors")["image"]
    factor = 28 // content["shape"][1]
    corner = held[0, :, :factor, :factor].mean((1, 2))
    np.testing.assert_allclose(values[0, :, 0, 0] / 255, corner, atol=0.5 / 255 + 1e-6)
    assert content["tangents"] == []
    assert "smaller" in content["why_no_tangents"]


def test_pictures_of_an_older_version_still_make_a_page(folder, tmp_path):
    """Plain float32, indices in the header, no tangent spaces, no answers, no labels of the other images."""
    run = shutil.copytree(folder, tmp_path / "old")
    path = run / "artefacts" / "pictures.safetensors"
    held = load_file(path)
    new = ("ids", "measured", "tangents.", "scale.", "probability.", "answer.")
    old = {name: values for name, values in held.items() if not name.startswith(new)}
    save_file(old, path, metadata={"tangency": json.dumps({"ids": [3, 1, 4, 0, 5, 9, 2]})})
    content = explore(read_run(run)).content
    assert content["images"]["pictured"] == [3, 1, 4, 0, 5, 9, 2]
    assert content["images"]["labels"][:7] == [3, 1, 6, 0, 2, 4, -1]
    assert content["pictures"]["tangents"] == []
    assert "version" in content["pictures"]["why_no_tangents"]
    save_file(old, path)
    assert explore(read_run(run)).content["images"]["pictured"] == []


def test_more_pictures_than_a_page_holds_are_cut(folder, tmp_path):
    run = shutil.copytree(folder, tmp_path / "many")
    path = run / "artefacts" / "pictures.safetensors"
    held = load_file(path)
    own = {name: values for name, values in held.items() if not name.startswith("measured")}
    many = {name: np.concatenate([values] * 8) for name, values in own.items()}
    many["ids"] = np.arange(56)
    save_file({**held, **many}, path)
    explorer = explore(read_run(run))
    assert len(explorer.content["images"]["pictured"]) == PICTURED
    assert pictures_of(explorer.blocks["p-image"], np.uint8)[0].shape[0] == PICTURED


def test_a_run_without_pictures_has_its_numbers(folder, tmp_path):
    run = shutil.copytree(folder, tmp_path / "none")
    (run / "artefacts" / "pictures.safetensors").unlink()
    content = explore(read_run(run)).content
    assert content["pictures"] is None
    assert content["images"]["pictured"] == []
    assert content["images"]["count"] == 200


def test_the_exported_numbers_stand_alone(explored):
    run, explorer = explored
    file = json.loads(json.dumps(exported(run), allow_nan=False))
    entries = file["data"]["explorer"]["keys"]
    assert file["schema"] == 1
    assert {entry["block"] for entry in entries} == set(file["blocks"])
    assert entries[0]["key"] == "accuracy"
    blocks = {entry["key"]: entry["block"] for entry in explorer.content["keys"]}
    for entry in entries:
        assert file["blocks"][entry["block"]] == explorer.blocks[blocks[entry["key"]]]
    assert file["data"]["explorer"]["pictures"] is None
    names = {trial["name"] for trial in file["data"]["trials"]}
    assert "gradient norm 0.3" in names


def test_l_of_images_is_made_of_the_keys_that_the_rule_uses(explored):
    run, explorer = explored
    summary, trials = run.summary, [trial.id for trial in run.summary.trials]
    blocks = {entry["key"]: entry["block"] for entry in explorer.content["keys"]}
    first, second = explorer.content["directions"]
    assert first["target"] == summary.headline.direction
    assert {first["title"], second["title"]} == {
        f"L, {direction_label(each)}" for each in ("bayes_gradient", "network_bayes_gradient")
    }
    cell = next(cell for cell in summary.cells if cell.id == summary.headline.recipe)
    for each in (first, second):
        own, control, agreement = (
            numbers_of(explorer.blocks[blocks[each[name]]], len(trials)) for name in ("own", "control", "agreement")
        )
        place = trials.index(summary.headline.trials[0])
        level = cell.verdict.aligned[each["target"]].alignment.mean
        assert (own - control)[place].mean() == pytest.approx(level, abs=1e-3)
        assert np.isfinite(agreement[place]).all()
    assert not aligned_keys(summary, [first["own"]])  # half of a difference is none


def test_no_title_of_a_key_is_its_name(explored):
    titles = {entry["key"]: entry["title"] for entry in explored[1].content["keys"]}
    assert titles["tangent_rank"] == "Rank k of the tangent space"
    assert not [key for key, title in titles.items() if title.startswith(key.partition(".")[0] + ".") or title == key]
