"""What the page of a run must do in a browser; each check raises an AssertionError that says what it does not."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from playwright.sync_api import Page

NARROW, WIDE = {"width": 400, "height": 800}, {"width": 1280, "height": 800}
HELD = 2.0**-12  # relative error of a number that a page holds by image
PRINTED = 6e-5  # of one with five digits
BASE64 = """async key => {
    const bytes = new Uint8Array((await tangency.run.numbers(key)).buffer), parts = [];
    for (let i = 0; i < bytes.length; i += 30000) parts.push(String.fromCharCode(...bytes.subarray(i, i + 30000)));
    return btoa(parts.join(""));
}"""
GIVEN = """async selector => {
    const make = URL.createObjectURL, {click} = HTMLAnchorElement.prototype;
    const blob = await new Promise(done => {
        URL.createObjectURL = own => { done(own); return "#"; };
        HTMLAnchorElement.prototype.click = () => {};
        document.querySelector(selector).click();
    });
    URL.createObjectURL = make;
    HTMLAnchorElement.prototype.click = click;
    return blob.text();
}"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(done))))"

# What is drawn above pushes the pictures down: they are in view once they stay there.
SETTLED = """async () => {
    const row = document.querySelector("#grid tbody tr:first-child");
    for (let still = 0, last = null; still < 10; ) {
        row.scrollIntoView({block: "center"});
        await new Promise(done => setTimeout(done, 30));
        const {top} = row.getBoundingClientRect();
        still = top === last ? still + 1 : 0;
        last = top;
    }
}"""


@dataclass(frozen=True)
class Held:
    """What the files of a run say."""

    folder: Path
    summary: dict[str, Any]
    rows: pl.DataFrame

    @classmethod
    def of(cls, folder: Path) -> Held:
        """The files of a run directory."""
        return cls(folder, json.loads((folder / "summary.json").read_text()), pl.read_parquet(folder / "rows.parquet"))

    def values(self, trial: str, key: str) -> dict[int, float]:
        """Image to number."""
        own = self.rows.filter(pl.col("trial") == trial)
        return dict(zip(own["image"], own[key].fill_null(float("nan")), strict=True))


def same(shown: Any, held: float | None, share: float) -> bool:
    """Whether a number is the one of the files, up to a share of it; empty and NaN are no number."""
    value = math.nan if shown in ("", None) else float(shown)
    wanted = math.nan if held is None else held
    if math.isnan(wanted) or math.isnan(value):
        return math.isnan(wanted) and math.isnan(value)
    return abs(value - wanted) <= share * abs(wanted)


def tabs(page: Page) -> Iterator[str]:
    """Open the parts of the page in turn."""
    for tab in page.locator("#tabs a").all():
        tab.click()
        page.evaluate(DRAWN)
        yield tab.inner_text()


def open_tab(page: Page, name: str) -> None:
    """Open a part by the name of its tab."""
    page.locator("#tabs a", has_text=name).first.click()
    page.evaluate(DRAWN)


def downloaded(page: Page, press: Any) -> bytes:
    """The file that a click saves."""
    from playwright.sync_api import TimeoutError as Late

    try:
        with page.expect_download(timeout=15_000) as waiting:
            press()
    except Late:  # on a busy machine, browsers lose one download in hundreds
        with page.expect_download() as waiting:
            press()
    return Path(waiting.value.path()).read_bytes()


def table_of(content: bytes) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(content.decode())))


def save(page: Page, card: str, kind: str) -> bytes:
    """A figure's file of a kind, from the menu in its card."""
    return downloaded(page, lambda: page.eval_on_selector(f'{card} [data-save="{kind}"]', "own => own.click()"))


def check_numbers_by_image(page: Page, held: Held) -> None:
    """Every number of every image that the page holds is that of rows.parquet."""
    ids = page.evaluate("tangency.run.explorer.images.ids")
    trials = page.evaluate("tangency.run.trials.map(trial => trial.id)")
    keys = page.evaluate("[...tangency.run.keys.keys()]")
    assert keys, "the page holds no numbers by image"
    numbers = {trial: place for place, trial in enumerate(trials)}
    rows = held.rows.filter(pl.col("trial").is_in(trials))
    place = rows["trial"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy() * len(ids)
    place = place + np.searchsorted(ids, rows["image"].to_numpy())
    for key in keys:
        shown = np.frombuffer(base64.b64decode(page.evaluate(BASE64, key)), "<f4")
        wanted = np.full(len(ids) * len(trials), np.nan)
        wanted[place] = rows[key].fill_null(float("nan")).to_numpy()
        wrong = ~np.isclose(shown, wanted, rtol=HELD, atol=1e-37, equal_nan=True)
        assert not wrong.any(), f"{key}: {wrong.sum()} numbers by image are not those of the rows"


def check_all_numbers(page: Page, held: Held) -> None:
    """The table of all measures, saved, is summary.json."""
    open_tab(page, "Numbers")
    page.locator("#filter-controls").check()
    shown = table_of(downloaded(page, page.locator("#save-csv").click))
    measures = {trial["id"]: trial["measures"] for trial in held.summary["trials"]}
    assert {(row["trial"], row["measure"]) for row in shown} == {
        (trial, key) for trial, own in measures.items() for key in own
    }, "the table of all measures has other rows than summary.json"
    for row in shown:
        entry = measures[row["trial"]][row["measure"]]
        for name in ("mean", "low", "high", "n", "degenerate", "chance"):
            assert same(row[name], entry.get(name), PRINTED), f"{row}: {name} is {entry.get(name)} in summary.json"
    page.locator("#filter-controls").uncheck()


def check_curves(page: Page, held: Held) -> None:
    """Whatever measure is picked, its curve's numbers are those of summary.json."""
    open_tab(page, "Measures")
    measures = {trial["id"]: trial["measures"] for trial in held.summary["trials"]}
    options = page.eval_on_selector_all("#pick-measure option", "all => all.map(own => own.value)")
    first = page.locator("#pick-measure").input_value()
    for key in options:
        page.locator("#pick-measure").select_option(key)
        shown = table_of(
            page.evaluate(GIVEN, '#measure-card [data-save="csv"]').encode()
        )  # a hundred downloads are slow
        wanted = {trial for trial, own in measures.items() if key in own}
        assert {row["trial"] for row in shown} == wanted, f"{key}: other trials are drawn than measured"
        for row in shown:
            for name in ("mean", "low", "high"):
                assert same(row[name], measures[row["trial"]][key][name], PRINTED), f"{key}: {row}"
    page.locator("#pick-measure").select_option(first)


def check_slider(page: Page, held: Held) -> None:
    """One step moves the pictures and the words, and touches nothing that cannot be seen."""
    open_tab(page, "Overview")
    page.locator("#strength").fill("0")
    page.evaluate(SETTLED)
    page.locator("#grid tbody tr:first-child canvas[data-trial]").first.wait_for()
    page.evaluate(SETTLED)
    page.evaluate(DRAWN)
    state = "[...document.querySelectorAll('#grid tbody tr:first-child canvas')].map(own => own.dataset.trial).join()"
    before, said = page.evaluate(state), page.locator("#strength-label").inner_text()
    count, decoded = page.evaluate("[tangency.visible.touched, tangency.blocks.decoded]")
    page.locator("#strength").press("ArrowRight")
    page.wait_for_function(f"before => {state} !== before", arg=before)  # the pictures move with it
    page.evaluate(DRAWN)
    assert page.locator("#strength-label").inner_text() != said, "the slider's words stay when it moves"
    touched, read = page.evaluate("[tangency.visible.touched, tangency.blocks.decoded]")
    seen = page.evaluate(
        """() => [...document.querySelectorAll("#grid tbody tr, .plot, #image-list")].filter(own => {
            const {top, bottom, width} = own.getBoundingClientRect();
            return width > 0 && bottom > -80 && top < innerHeight + 80;
        }).length"""
    )
    objectives = page.evaluate("tangency.run.objectives.length")
    assert touched - count <= seen, f"a step touches {touched - count} charts and rows of pictures, {seen} can be seen"
    assert read - decoded <= objectives, f"a step decodes {read - decoded} blocks for {objectives} columns of gradients"
    for name in page.eval_on_selector_all("#pick-objective option", "all => all.map(own => own.value)"):
        page.locator("#pick-objective").select_option(name)
        own = page.evaluate("name => tangency.run.strengths(name).length", name)
        stops = int(page.locator("#strength").get_attribute("max") or 0) + 1
        assert stops == own, f"the slider has {stops} stops for {own} strengths of {name}"
    page.locator("#map button").first.click()
    page.evaluate(DRAWN)


def check_pickers(page: Page, held: Held) -> None:
    """Objective, estimator and seed choose what the table of images shows."""
    open_tab(page, "Images")
    for name in ("objective", "seed", "estimator", "measure"):
        picker = page.locator(f"#pick-{name}")
        options = picker.locator("option").all()
        if len(options) < 2 or not picker.is_visible():
            continue
        first = picker.input_value()
        picker.select_option(options[-1].get_attribute("value"))
        page.evaluate(DRAWN)
        now = page.evaluate(f"String(tangency.state.now.{name} ?? '')")
        assert now == picker.input_value(), f"the picker of the {name} chooses nothing"
        picker.select_option(first)
    page.evaluate(DRAWN)


def check_sorting(page: Page, held: Held) -> None:
    """Images are sorted by a measure, filtered by class, and found by their index; the saved table is the rows."""
    open_tab(page, "Images")
    key = "tangent_fraction.margin"
    page.locator("#order-by").select_option(key)
    page.evaluate(DRAWN)
    trials = page.evaluate(
        "(({objective, strength, seed}) => tangency.run.trialsAt(objective, tangency.run.nearest(objective, strength), "
        "seed).map(place => tangency.run.trials[place].id))(tangency.state.now)"
    )
    each = [held.values(trial, key) for trial in trials]
    mean = {i: float(np.nanmean([own[i] for own in each])) for i in each[0] if any(np.isfinite(own[i]) for own in each)}
    rows = table_of(downloaded(page, page.locator("#images-csv").click))
    images = [int(row["image"]) for row in rows]
    assert len(images) == len(each[0]), f"{len(images)} images are listed, {len(each[0])} were measured"
    values = [mean[i] for i in images if i in mean]
    assert all(a >= b - 1e-3 * abs(b) for a, b in itertools.pairwise(values)), "images are not in their order"
    for row in rows:
        assert same(row[key], mean.get(int(row["image"])), 2 * HELD), f"image {row['image']}: {row[key]}"
    page.locator("#order-up").click()
    page.locator("#filter-image").fill(str(images[0]))
    page.evaluate(DRAWN)
    found = page.locator("#image-list tbody tr").all_inner_texts()
    assert any(str(images[0]) in text for text in found), "an image is not found by its index"
    page.locator("#filter-image").fill("")
    page.locator("#order-up").click()
    page.evaluate(DRAWN)


def check_dialog(page: Page, held: Held) -> None:
    """An image opens with pictures that are drawn and numbers that are those of the rows."""
    open_tab(page, "Images")
    link = page.locator("#image-list tbody .image-link").first
    image = int(link.get_attribute("data-image") or -1)
    link.click()
    page.locator("#image-dialog[open] #dialog-numbers tbody tr").first.wait_for()
    page.wait_for_function(
        "[...document.querySelectorAll('#dialog-numbers thead th')].every((head, i) => "
        "[...document.querySelectorAll('#dialog-numbers tbody tr')]"
        ".some(row => i < 2 || row.cells[i]?.textContent !== '–'))"
    )
    names = page.locator("#image-dialog .plot text").all_text_contents()
    assert any("this image" in name for name in names), "lines of the image's chart have no names"
    rows = table_of(downloaded(page, page.locator("#image-dialog [data-csv]").click))
    assert rows, "the image has no numbers"
    seeds = {trial["seed"] for trial in held.summary["trials"]}
    if len(seeds) == 1:
        places = {(t["objective"], float(t["strength"])): t["id"] for t in page.evaluate("tangency.run.trials")}
        for row in rows:
            strength = float(row["strength"])
            trial = places.get((row["objective"], strength)) or places["standard", 0.0]
            assert same(row["value"], held.values(trial, row["measure"])[image], 2 * HELD), f"image {image}: {row}"
    if page.evaluate("tangency.run.explorer.pictures !== null"):
        pictured = page.evaluate("tangency.run.explorer.images.pictured")
        page.keyboard.press("Escape")
        open_tab(page, "Overview")
        page.locator("#grid tbody button").first.click()
        page.locator("#image-dialog[open] #dialog-strip canvas").first.wait_for()
        page.evaluate(DRAWN)
        strip = page.locator("#dialog-strip canvas:not(.nothing)").count()
        assert pictured, "no picture is one of the images"
        assert strip, "no gradient of the image is drawn"
        step = page.locator("#image-dialog h2").inner_text()
        page.locator("#image-dialog [data-next]").click()
        page.wait_for_function("old => document.querySelector('#image-dialog h2').textContent !== old", arg=step)
    page.keyboard.press("Escape")
    page.locator("#image-dialog:not([open])").wait_for(state="attached")


def check_comparison(page: Page, held: Held, other: Path) -> None:
    """Another run's exported numbers are read beside this run's, and its own exported ones are what it holds."""
    open_tab(page, "Compare")
    page.locator("#other-run").set_input_files(other)
    page.wait_for_function("document.querySelectorAll('#comparison-table tbody tr').length > 0")
    assert "Read" in page.locator("#other-said").inner_text()
    rows = table_of(save(page, "#comparison-card", "csv"))
    assert rows, "the comparison has no numbers"
    own = json.loads(downloaded(page, page.locator("#export-run").click))
    written = json.loads((held.folder / "report" / "run.json").read_text())
    assert own["schema"] == written["schema"]
    assert own["data"]["measures"] == written["data"]["measures"], "the saved run is not report/run.json"
    page.locator("#other-run").set_input_files({"name": "bad.json", "mimeType": "application/json", "buffer": b"[]"})
    page.wait_for_function("document.querySelector('#other-said').textContent.includes('Not read')")


def check_downloads(page: Page, held: Held) -> None:
    """Every figure has a menu that saves it as PNG, SVG and CSV; a drawn chart's and each still figure's are tried."""
    bare = page.evaluate(
        """[...document.querySelectorAll(".card :is(.plot, img[data-figure])")].map(own => own.closest(".card"))
        .filter(card => ["png", "svg", "csv"].some(kind => !card.querySelector(`[data-save="${kind}"]`)))
        .map(card => card.innerText.slice(0, 60))"""
    )
    assert not bare, f"figures without a menu to save them: {bare}"
    open_tab(page, "Overview")
    page.eval_on_selector(".plot.story", "own => own.scrollIntoView()")
    page.wait_for_function("document.querySelector('.plot.story svg') !== null")
    stills = page.eval_on_selector_all("img[data-figure]", "all => all.map(own => own.dataset.figure)")
    for card in (".card:has(> .plot.story)", *(f'.card:has(> [data-figure="{name}"])' for name in stills)):
        assert save(page, card, "png").startswith(b"\x89PNG"), f"{card}: its PNG is none"
        drawing = save(page, card, "svg").decode()
        assert "<svg" in drawing[:300], f"{card}: its SVG is none"
        assert "<script" not in drawing
        assert table_of(save(page, card, "csv")), f"{card} has no numbers"


def check_thresholds(page: Page, held: Held) -> None:
    """At δ = 0 labels change as the rule says, and go back."""
    open_tab(page, "Regimes")
    slider = page.locator("#threshold-accuracy_margin")
    if not slider.count():
        return
    slider.fill("0")
    page.evaluate(DRAWN)
    changed = page.evaluate("[...tangency.state.now ? document.querySelectorAll('.changed') : []].length")
    said = page.locator("#relabelled").inner_text()
    assert (changed > 0) == ("another label" in said), "what is said of labels is not what is marked"
    page.locator("#thresholds-reset").click()
    page.evaluate(DRAWN)
    assert page.locator(".changed").count() == 0, "labels do not go back"


def check_narrow(page: Page, held: Held) -> None:
    """At 400 pixels nothing scrolls sideways."""
    page.set_viewport_size(NARROW)
    for name in tabs(page):
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= NARROW["width"], f"{name}: {width} pixels wide at {NARROW['width']}"
    page.set_viewport_size(WIDE)


def check_steering(page: Page, held: Held) -> None:
    """Tabs and the headings of tables stay in view while a part is scrolled; another part opens at its start."""
    open_tab(page, "Images")
    page.evaluate("document.querySelector('#image-list').closest('.scroll').scrollIntoView()")
    page.locator("#image-list tbody tr").first.wait_for()
    page.evaluate("scrollTo(0, scrollY + document.querySelector('#image-list').getBoundingClientRect().top)")
    page.evaluate(DRAWN)
    tabs_end, head = page.evaluate(
        "[document.querySelector('#tabs').getBoundingClientRect().bottom, "
        "document.querySelector('#image-list thead th').getBoundingClientRect().top]"
    )
    assert 0 < tabs_end < 300, "the tabs are scrolled away"
    assert abs(head - tabs_end) < 4, f"the table's headings are at {head}, the tabs end at {tabs_end}"
    open_tab(page, "Regimes")
    top = page.evaluate("document.querySelector('#part-regimes').getBoundingClientRect().top")
    assert -4 < top - tabs_end < 40, f"another part opens at {top}"
    page.evaluate("scrollTo(0, 0)")


def check_paper(page: Page, held: Held) -> None:
    """Captured as paper, a page has all its parts and charts, and on the screen again one part."""
    page.emulate_media(media="print")
    blank = """() => [...document.querySelectorAll(".plot")].every(own => !own.clientWidth || own.querySelector("svg"))
        && [...document.querySelectorAll(".part")].every(own => own.clientHeight > 0)"""
    page.wait_for_function(blank, timeout=15_000)
    page.emulate_media(media="screen")
    page.wait_for_function("[...document.querySelectorAll('.part')].filter(own => own.clientHeight > 0).length === 1")
