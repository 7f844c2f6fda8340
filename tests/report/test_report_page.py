"""The pages of synthetic runs: self-contained, complete, honest, escaped."""

import html
import json
import re
import shutil

import pytest
from safetensors.numpy import load_file, save_file

from report.helpers import embedded, page_of, rewrite, section, visible, without_scripts
from report.synthetic_run import CLASSES, build_run
from tangency.errors import RunError
from tangency.measures.keys import Key
from tangency.measures.registry import own_measures
from tangency.report import write_report
from tangency.report.text.glossary import REGIMES
from tangency.report.text.measures import definitions, describe
from tangency.study import dump_spec, load_spec


def test_page_needs_no_network(page):
    markup = without_scripts(page)
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", markup)
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", markup)
    assert not re.search(r"<(?:link|iframe|object|embed)\b(?![^>]*href=\"data:)", markup)
    assert not re.search(r"<script[^>]*\bsrc\b", page)


def test_every_reference_in_the_page_is_inline_or_an_anchor(page):
    references = re.findall(r"""(?:src|href)=["']([^"']*)["']""", without_scripts(page))
    anchors = {reference[1:] for reference in references if reference.startswith("#")}
    assert all(reference.startswith(("#", "data:")) for reference in references)
    assert anchors <= set(re.findall(r'\bid="([^"]+)"', page))
    assert len(anchors) > 10


def test_page_is_small(reported):
    assert reported[1].stat().st_size < 6_000_000


def test_trials_regimes_and_thresholds_are_shown(reported, page):
    text = visible(page)
    summary = json.loads((reported[0] / "summary.json").read_text())
    for trial in summary["trials"]:
        assert trial["id"] in text
    for label, _ in REGIMES.values():
        assert label in text
    for word in ("diverged", "collapsed", "δ = 0.05", "10 % of the filter's own rise", summary["regimes"]["text"]):
        assert word in text


def test_the_measures_of_this_run_alone_are_explained(reported, page):
    text = visible(page)
    summary = json.loads((reported[0] / "summary.json").read_text())
    taken = {Key.parse(key) for trial in summary["trials"] for key in trial["measures"]}
    explained = dict(definitions(taken))
    assert set(explained) == {key.family for key in taken} < set(own_measures())
    reading = section(page, "reading")
    assert all((describe(Key(name)).title in reading) is (name in explained) for name in own_measures())
    for measure in explained.values():
        assert measure.unit in text
        assert measure.chance in text
        assert measure.reading in text
    assert "σ = 0.5 (1 in [−1, 1] units)" in text


def test_what_was_asked_and_provenance_are_shown(reported, page):
    text = visible(page)
    summary = json.loads((reported[0] / "summary.json").read_text())
    assert (reported[0] / "spec.yaml").read_text() in text
    for value in (summary["spec_hash"], summary["data"]["digest"], "2.14.0", summary["trials"][3]["train_hash"]):
        assert value in text


def test_embedded_numbers_are_those_of_the_summary(reported, page):
    summary = json.loads((reported[0] / "summary.json").read_text())
    data = embedded(page)
    for index, trial in enumerate(summary["trials"]):
        for key, entry in trial["measures"].items():
            mean = data["measures"][key][index][0]
            assert mean is None if entry["mean"] is None else mean == pytest.approx(entry["mean"], rel=1e-4)
    diverged = [t["outcome"] for t in summary["trials"]].index("diverged")
    assert data["measures"]["kappa.margin"][diverged] is None


def test_charts_have_text_for_those_who_do_not_see_them(page):
    plots = re.findall(r'<div class="plot[^>]*>', page)
    assert len(plots) > 10
    for plot in plots:
        assert 'role="img"' in plot
        assert re.search(r'aria-label="[^"]{20,}"', plot)
    assert all(re.search(r'alt="[^"]{10,}"', tag) for tag in re.findall(r"<img [^>]*>", without_scripts(page)))


@pytest.mark.parametrize(("seeds", "warned"), [((0,), True), ((0, 1), False)])
def test_one_seed_is_warned_about(tmp_path, seeds, warned):
    text = visible(page_of(build_run(tmp_path / "run", seeds=seeds)))
    assert ("may be training noise" in text) is warned
    assert ("thick lines are recipes" in text) is not warned


def test_run_without_a_standard_trial(tmp_path):
    text = visible(page_of(build_run(tmp_path / "run", headline=False)))
    assert "No standard-trained network in this run, so nothing is claimed" in text
    assert "No change from a standard network is measured" in text


def test_colour_channels_can_be_shown_where_there_are_some(tmp_path, page):
    text = page_of(build_run(tmp_path / "run", channels=3))
    assert 'id="coloured"' in text
    assert embedded(text)["explorer"]["pictures"]["shape"] == [3, 28, 28]
    assert 'id="coloured"' not in page


def test_text_from_outside_is_escaped(tmp_path):
    attack = "</script><script>alert(1)</script>"
    run = build_run(tmp_path / "run", spec=f'name: "{attack} & more"\nsweep: [{{objective: standard}}]\n')

    def poison(summary):
        summary["name"] = attack
        summary["data"]["classes"] = [f"{attack}{name}" for name in CLASSES]
        summary["trials"][2]["id"] += '<b>"x'
        summary["regimes"]["text"] = attack

    rewrite(run, poison)
    text = page_of(run)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert any(trial["id"].endswith('<b>"x') for trial in embedded(text)["trials"])


def test_all_measures_undefined_still_reports(run):
    def forget(summary):
        for trial in summary["trials"]:
            trial["excess"] = {}
            for entry in trial["measures"].values():
                entry.update(mean=None, low=None, high=None, chance=None, n=0)
        summary["headline"] = None
        summary["correlations"] = []
        summary["score"] = {"kind": "edm"}

    rewrite(run, forget)
    text = visible(write_report(run).read_text(encoding="utf-8"))
    assert "Too few trials" in text


def test_nan_in_the_summary_becomes_null(run):
    rewrite(run, lambda summary: summary["trials"][1]["measures"]["kappa.margin"].update(mean=float("nan")))
    assert embedded(page_of(run))["measures"]["kappa.margin"][1][0] is None


@pytest.mark.parametrize("name", ["spec.yaml", "rows.parquet"])
def test_missing_file_is_named(run, name):
    (run / name).unlink()
    with pytest.raises(RunError, match=rf"{re.escape(name)}' is missing.*study again"):
        write_report(run)


@pytest.mark.parametrize("name", ["summary.json", "spec.yaml", "rows.parquet", "artefacts/pictures.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"PAR1 nonsense PAR1", b"[1]"])
def test_damaged_file_is_named(run, name, content):
    (run / name).write_bytes(content)
    with pytest.raises(RunError, match=re.escape(name)):
        write_report(run)


def test_a_spec_that_the_summary_was_not_made_from_is_refused(run):
    path = run / "spec.yaml"
    before = load_spec(path).digest()
    path.write_text(path.read_text().replace("seeds: [0]", "seeds: [0, 1]"))
    message = f"hash {before}, spec.yaml has {load_spec(path).digest()}.*run the study again"
    with pytest.raises(RunError, match=message):
        write_report(run)


def test_a_spec_that_was_only_written_differently_is_accepted(run):
    path = run / "spec.yaml"
    path.write_text(dump_spec(load_spec(path)) + "# cut differently\n")
    assert "# cut differently" in page_of(run)


def test_missing_run_is_named(tmp_path):
    with pytest.raises(RunError, match="no directory"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(schema=99), "schema 99"),
        (lambda s: s.pop("regimes"), "lacks regimes"),
        (lambda s: s.update(trials=[]), "no trial"),
        (
            lambda s: s["trials"][0]["measures"]["accuracy"].update(mean={}),
            "0, measures, accuracy, mean: .*number",
        ),
        (lambda s: s["trials"][0].update(measures=[]), "trials, 0, measures: .*(object|dictionary)"),
    ],
)
def test_summary_of_another_shape_is_refused(run, change, message):
    rewrite(run, change)
    with pytest.raises(RunError, match=message):
        write_report(run)


def test_pictures_that_disagree_are_refused(run):
    path = run / "artefacts" / "pictures.safetensors"
    held = load_file(path)
    save_file(held | {"score": held["score"][1:]}, path)
    with pytest.raises(RunError, match=r"'score'.*shape"):
        write_report(run)
    del held["bayes_gradient"]
    save_file(held, path)
    with pytest.raises(RunError, match="lacks bayes_gradient"):
        write_report(run)


def test_report_again_is_the_same_atomic_and_journalled(reported, tmp_path, monkeypatch):
    run = shutil.copytree(reported[0], tmp_path / "copy")
    first = {p.name: p.read_bytes() for p in (run / "report").rglob("*") if p.is_file()}
    monkeypatch.setenv("TANGENCY_JOURNAL", str(tmp_path / "journal"))
    again = write_report(run)
    assert first == {p.name: p.read_bytes() for p in again.parent.rglob("*") if p.is_file()}
    points = (tmp_path / "journal").read_text().splitlines()
    assert points.index("report.page") < points.index("rename:index.html")


def test_table_at_a_glance_names_target_sigma_and_epsilon_and_holds_kappa(page):
    table = re.search(r'<table[^>]*id="glance">.*?</table>', page, re.DOTALL)[0]
    heads = [html.unescape(text) for text in re.findall(r"<th[^>]*>([^<]*)</th>", table.partition("</thead>")[0])]
    assert {"κ (pooled)", "cos closed form's Bayes direction, σ = 0.5", "On-manifold change, ε = 2"} <= set(heads)
    row = next(r for r in re.findall(r"<tr>.*?</tr>", table, re.DOTALL) if "gradient_norm-0.3-s0" in r)
    cells = re.findall(r'<td class="num[^>]*>([^<]*)</td>', row)
    fraction, kappa = (float(cells[heads.index(name) - 2]) for name in ("Tangent fraction F²", "κ (pooled)"))
    assert kappa == pytest.approx((1 - fraction) / fraction * 12 / 772, rel=0.02)


def test_rule_and_paper_are_named(page):
    text = " ".join(visible(page).split())
    assert "the largest L, mean over Bayes directions, among the Bayes-aligned recipes" in text
    assert "arXiv 2305.19101" in text
    assert "Srinivas, Bordt and Lakkaraju" in text
    assert "Spearman's ρ" not in text


def test_nothing_is_called_more_tangent(page):
    text = visible(page).lower()
    assert "more tangent" not in text
    assert "no control explains" not in text


def test_hashes_of_trials_stand_once(reported, page):
    text = visible(page)
    train_hash = json.loads((reported[0] / "summary.json").read_text())["trials"][3]["train_hash"]
    assert text.count(train_hash) == 1
    assert "not shown twice" not in text
    assert "ab12" * 8 in text


def test_an_unknown_objective_is_shown_by_its_name(run):
    path = run / "summary.json"
    path.write_text(path.read_text().replace("pgd_l2", "off_manifold"))
    text = visible(page_of(run))
    assert "Off manifold: Bayes-aligned at 0.3, 1" in text


def test_a_verdict_on_the_thesis_is_said_once(page):
    assert "holds Gradient norm : L and log F²/control" in section(page, "thesis")


@pytest.mark.parametrize(
    ("status", "mark", "words"),
    [
        ("shown", "∈", "on-manifold"),
        ("shown (global)", "∈", "on-manifold (global)"),
        ("not", "∉", "not on-manifold"),
        ("open", "?", "on-manifold is open"),
    ],
)
def test_the_map_of_labels_marks_who_is_on_the_manifold(tmp_path, status, mark, words):
    run = build_run(tmp_path / "run")

    def other(summary):
        next(cell for cell in summary["cells"] if cell["id"] == "pgd_l2-0.3")["verdict"]["on_manifold"] = status

    rewrite(run, other)
    text = page_of(run)
    cell = re.search(r'data-objective="pgd_l2" data-strength="0.3">(.*?)</button>', text, re.DOTALL)[1]
    assert f'role="img" aria-label="{words}" title="{words}">{mark}</span>' in cell
    assert "∈ on-manifold, ∉ not, ? open" in section(text, "verdict")


def test_a_bayes_direction_has_one_name_on_the_page_and_is_explained_once(page):
    text = " ".join(visible(page).split())
    for former in ("mixture's Bayes rule", "Bayes gradient", "the network's class score"):
        assert former not in text, former
    assert text.count("A Bayes direction is ∇ log p(y|x) by a Bayes rule") == 1


def test_intervals_say_whether_they_are_corrected_and_both_rises_over_the_filter_are_explained(reported, page):
    among = json.loads((reported[0] / "summary.json").read_text())["headline"]["among"]
    head, judged = section(page, "verdict"), section(page, "regimes")
    assert head.count(f"over images, Bonferroni-corrected for {among} levels of L") == 3
    assert "log F²/best control − standard" in head
    assert "Intervals of this table are not corrected for a choice" in judged
    assert "Over the filter: minus L of the standard network behind it. Beyond the filter, on which labels" in judged


def test_a_control_that_orders_the_recipes_as_the_target_does_is_said_to(tmp_path):
    run = build_run(tmp_path / "run")
    assert "both order the recipes alike" not in section(page_of(run), "correlations")

    def alike(summary):
        entry = next(each for each in summary["correlations"] if "shuffled" in each["controls"])
        entry["controls"]["shuffled"].update(rho=entry["rho"], difference=0.0)

    rewrite(run, alike)
    assert section(page_of(run), "correlations").count("difference 0.00 (both order the recipes alike)") == 1
