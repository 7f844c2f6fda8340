"""The page and figures of synthetic runs: self-contained, complete, honest, escaped."""

import base64
import html
import io
import itertools
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from report.synthetic_run import CLASSES, build_run
from tangency.errors import RunError
from tangency.report import pictures, write_report
from tangency.report.figures import correlations, curves, story
from tangency.report.glossary import MEASURES, REGIMES
from tangency.report.inputs import read_run
from tangency.report.page import render
from tangency.report.payload import density, story_keys, story_labels
from tangency.study import dump_spec, load_spec


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    run = build_run(tmp_path_factory.mktemp("reported") / "run")
    return run, write_report(run)


@pytest.fixture(scope="module")
def page(reported):
    return reported[1].read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path):
    return build_run(tmp_path / "run")


def page_of(run):
    return render(read_run(run))


def rewrite(run, change):
    path = run / "summary.json"
    summary = json.loads(path.read_text())
    change(summary)
    path.write_text(json.dumps(summary))


def without_scripts(text):
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def visible(text):
    body = re.sub(r"<style.*?</style>", "", without_scripts(text), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", body))


def embedded(text):
    return json.loads(re.search(r'<script type="application/json" id="run-data">(.*?)</script>', text, re.DOTALL)[1])


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
    for word in ("diverged", "collapsed", "≤ 0.5", "worse by 0.05", summary["regimes"]["text"]):
        assert word in text


def test_measures_are_explained_beside_their_panels(page):
    text = visible(page)
    for measure in MEASURES.values():
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
    assert data["measures"]["kappa.logp_y"][diverged] is None


def test_pictures_have_text_for_those_who_do_not_see_them(reported, page):
    tags = re.findall(r"<img [^>]*>", without_scripts(page))
    held = load_file(reported[0] / "artefacts" / "pictures.safetensors")
    shown = [tag for tag in tags if "data:image/png" in tag]
    assert len(shown) == (len(held) - 1) * len(held["image"])  # all but the labels
    assert all(re.search(r'alt="[^"]{10,}"', tag) for tag in shown)
    for plot in re.findall(r'<div class="plot[^>]*>', page):
        assert 'role="img"' in plot
        assert re.search(r'aria-label="[^"]{20,}"', plot)


def test_positive_headline_is_claimed(page):
    assert "more tangent" in visible(page)


def test_explained_rise_is_never_called_more_tangent(tmp_path):
    text = page_of(build_run(tmp_path / "run", positive=False))
    assert "more tangent" not in text.lower()
    assert "a control explains the rise: one global PCA subspace" in visible(text)


@pytest.mark.parametrize(("seeds", "warned"), [((0,), True), ((0, 1), False)])
def test_one_seed_is_warned_about(tmp_path, seeds, warned):
    text = visible(page_of(build_run(tmp_path / "run", seeds=seeds)))
    assert ("may be training noise" in text) is warned
    assert ("means over seeds" in text) is not warned


def test_run_without_a_standard_trial(tmp_path):
    text = visible(page_of(build_run(tmp_path / "run", headline=False)))
    assert "no rise can be claimed" in text
    assert "more tangent" not in text


def test_colour_images_come_with_a_colour_version(tmp_path):
    text = page_of(build_run(tmp_path / "run", channels=3))
    first = re.search(r'data-coloured="data:image/png;base64,([^"]+)"', text)[1]
    assert Image.open(io.BytesIO(base64.b64decode(first))).mode == "RGB"


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
    rewrite(run, lambda summary: summary["trials"][1]["measures"]["kappa.logp_y"].update(mean=float("nan")))
    assert embedded(page_of(run))["measures"]["kappa.logp_y"][1][0] is None


def test_zero_gradient_is_named_not_drawn(run):
    path = run / "artefacts" / "pictures.safetensors"
    held = load_file(path)
    held["gradient.standard-0-s0"][0] = 0
    held["gradient.standard-0-s0"][1] = np.nan
    save_file(held, path)
    assert len(re.findall(r'class="empty"[^>]*standard', page_of(run))) == 2


@pytest.mark.parametrize("name", ["summary.json", "spec.yaml", "rows.parquet", "artefacts/pictures.safetensors"])
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


def test_figures_are_valid_files(reported):
    folder = reported[1].parent / "figures"
    names = {"story", "curves", "correlations", "pictures", "score"}
    assert {path.name for path in folder.iterdir()} == {f"{n}.{kind}" for n in names for kind in ("pdf", "png")}
    for path in folder.glob("*.pdf"):
        content = path.read_bytes()
        assert content.startswith(b"%PDF-")
        assert content.rstrip().endswith(b"%%EOF")
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert picture.width > 1000
            assert len(picture.convert("L").getcolors() or []) > 10  # something is drawn


def test_report_again_is_the_same_atomic_and_journalled(reported, tmp_path, monkeypatch):
    run = shutil.copytree(reported[0], tmp_path / "copy")
    first = {p.name: p.read_bytes() for p in (run / "report").rglob("*") if p.is_file()}
    monkeypatch.setenv("TANGENCY_JOURNAL", str(tmp_path / "journal"))
    again = write_report(run)
    assert first == {p.name: p.read_bytes() for p in again.parent.rglob("*") if p.is_file()}
    points = (tmp_path / "journal").read_text().splitlines()
    assert points.index("report.figures") < points.index("report.page") < points.index("rename:index.html")


def test_signed_picture_is_symmetric_and_clear_at_zero():
    gradient = np.zeros((1, 7, 11))
    gradient[0, 2, 3], gradient[0, 4, 5] = 0.25, -0.25
    pixels = pictures.signed(gradient)
    assert pixels.shape == (7, 11, 4)
    assert tuple(pixels[2, 3]) == (*pictures.POSITIVE, 255)
    assert tuple(pixels[4, 5]) == (*pictures.NEGATIVE, 255)
    assert np.count_nonzero(pixels[..., 3]) == 2
    np.testing.assert_array_equal(pictures.signed(1e-20 * gradient), pixels)


def test_one_wild_pixel_does_not_dim_the_picture():
    gradient = np.random.default_rng(0).choice([-1.0, 1.0], (1, 53, 59))
    gradient[0, 0, 0] = 1e6
    assert (pictures.signed(gradient)[..., 3] == 255).all()


def test_large_pictures_are_shrunk_to_the_budget():
    uri = pictures.data_uri(np.zeros((211, 223, 3), np.uint8), 41)
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (41, 39)


def test_density_peaks_where_the_values_are():
    curve = density(np.full(97, 0.25))
    assert np.argmax(curve) == 15
    assert max(curve) == 1.0
    at_the_edge = density(np.zeros(97))
    assert np.argmax(at_the_edge) == 0


@pytest.mark.parametrize("headline", [True, False])
def test_the_story_shows_the_headline_alignment_with_or_without_a_headline(tmp_path, headline):
    summary = read_run(build_run(tmp_path / "run", headline=headline)).summary
    for trial in summary["trials"]:  # the order of summary.json, in which another alignment comes first
        trial["measures"] = dict(sorted(trial["measures"].items()))
    keys = story_keys(summary)
    assert keys["alignment"] == "alignment_cosine.logp_y.bayes_gradient.sigma=0.5"
    assert keys["alignment_control"] == "alignment_cosine.logp_y.bayes_gradient.sigma=0.5.shuffled"
    assert story_labels(keys)["alignment"] == "cos Bayes gradient, σ = 0.5"
    assert story_labels(keys)["on"] == "Softmax change, ε = 2"


def test_without_the_bayes_gradient_another_alignment_is_shown_at_its_largest_sigma():
    keys = [f"alignment_lpips.sum_logits.score.sigma={sigma}" for sigma in (0.25, 0.5, 0.125)]
    trial = {"measures": {key: {"mean": 0.1} for key in keys}}
    found = story_keys({"trials": [trial], "headline": None})
    assert found == {"alignment": keys[1]}
    assert story_labels(found) == {"alignment": "1 − LPIPS score, σ = 0.5"}


def test_table_at_a_glance_names_target_sigma_and_epsilon_and_holds_kappa(page):
    table = re.search(r'<table[^>]*id="glance">.*?</table>', page, re.DOTALL)[0]
    heads = [html.unescape(text) for text in re.findall(r"<th[^>]*>([^<]*)</th>", table.partition("</thead>")[0])]
    assert {"κ (pooled)", "cos Bayes gradient, σ = 0.5", "On-manifold change, ε = 2"} <= set(heads)
    row = next(r for r in re.findall(r"<tr>.*?</tr>", table, re.DOTALL) if "gradient_norm-0.3-s0" in r)
    cells = re.findall(r'<td class="num[^>]*>([^<]*)</td>', row)
    fraction, kappa = (float(cells[heads.index(name) - 2]) for name in ("Tangent fraction F²", "κ (pooled)"))
    assert kappa == pytest.approx((1 - fraction) / fraction * 12 / 772, rel=0.02)


def test_rule_paper_and_correlation_are_named(page):
    text = " ".join(visible(page).split())
    assert "largest F² among the weak and Bayes-aligned trials" in text
    assert "not corrected for choosing the largest" in text
    assert "arXiv 2305.19101" in text
    assert "Srinivas, Bordt and Lakkaraju" in text
    assert "Spearman's ρ" not in text
    assert "Spearman's r s " in text


def test_hashes_of_trials_stand_once(reported, page):
    text = visible(page)
    train_hash = json.loads((reported[0] / "summary.json").read_text())["trials"][3]["train_hash"]
    assert text.count(train_hash) == 1
    assert "not shown twice" not in text
    assert "ab12" * 8 in text


def test_an_unknown_objective_is_shown_by_its_name(run):
    def rename(summary):
        for trial in summary["trials"]:
            if trial["objective"] == "pgd_l2":
                trial.update(objective="off_manifold", id=trial["id"].replace("pgd_l2", "off_manifold"))

    rewrite(run, rename)
    text = visible(write_report(run).read_text(encoding="utf-8"))
    assert "Off manifold: Bayes-aligned at 0.3, 1" in text


def test_story_figure_names_what_is_white_and_labels_every_strength(reported):
    figure = story(read_run(reported[0]))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["weak", "Bayes-aligned", "excessive", "undetermined, diverged, collapsed"]
    figure.draw_without_rendering()
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert "cos Bayes gradient\nσ = 0.5" in labels
    assert "Softmax change\nε = 2" in labels
    for axes in figure.axes[-3:]:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert [label.get_text() for label in figure.axes[-3].get_xticklabels()] == ["0", "0.03", "0.3", "3", "30", "300"]
    legends = [axes for axes in figure.axes if axes.get_legend()]
    assert len(legends) == 3
    for axes in legends:
        assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1


def test_strength_labels_that_would_touch_are_left_out(run):
    def crowd(summary):
        for trial in summary["trials"]:
            if trial["objective"] == "noise_augmentation":
                trial["strength"] = 1 + trial["strength"] / 100

    rewrite(run, crowd)
    figure = story(read_run(run))
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["0", "1.001"]


def test_image_control_is_a_level_of_its_own_in_alignment_panels(reported, page):
    content = read_run(reported[0])
    key = "alignment_cosine.logp_y.bayes_gradient.sigma=0.5"
    level = next(t["measures"][f"{key}.image"]["mean"] for t in content.summary["trials"] if key in t["measures"])
    dotted = {a.get_title(): [n for n in a.lines if n.get_label() == "image itself"] for a in curves(content).axes}
    assert {len(lines) for title, lines in dotted.items() if title.startswith(("Cosine", "1 −"))} == {1}
    assert not any(lines for title, lines in dotted.items() if not title.startswith(("Cosine", "1 −")))
    own = next(lines[0] for title, lines in dotted.items() if title.startswith("Cosine with the Bayes gradient"))
    assert own.get_ydata()[0] == level
    assert 'mark(image[MEAN], "1px,3px", "ink", "image itself")' in page
    assert f"{key}.image" in embedded(page)["measures"]


def test_figure_of_correlations_does_not_call_them_rho(reported):
    titles = [axes.get_title(loc="right") for axes in correlations(read_run(reported[0])).axes]
    assert all("$r_s$" in title and "ρ" not in title for title in titles)
