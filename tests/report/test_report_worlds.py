"""Studies of worlds: the Bayes rule is a reference and no network, and what is exact is called exact."""

import dataclasses
import html
import json
import re

import numpy as np
import pytest

from report.helpers import embedded, page_of, rewrite, section, visible
from report.synthetic_run import build_run
from tangency.evaluate.entries import IntervalEntry, MeasureEntry
from tangency.measures import registry
from tangency.measures.keys import Key
from tangency.report.draw.gallery import gallery_columns
from tangency.report.draw.pictures import REFERENCE, picture_columns
from tangency.report.draw.story import story_figure
from tangency.report.draw.sweep import correlations_figure, curves_figure
from tangency.report.read.run import read_run
from tangency.report.read.trials import REFERENCES, bayes_level, swept, trained
from tangency.report.text.measures import describe, parameter_label, short_label
from tangency.report.text.numbers import estimate, number
from tangency.report.text.score import score_doubt, score_lead, world_sentence
from tangency.report.text.story import stories
from tangency.report.text.trials import networks_text, regime_label, regime_sentences, trial_name
from tangency.report.text.verdict import verdict
from tangency.study.plan import REFERENCES as PLANNED

COS = "alignment_cosine.margin.bayes_gradient.sigma=0.5"


@pytest.fixture(scope="module")
def content(world_run):
    return read_run(world_run)


def levels_of(axes):
    return [line.get_ydata()[0] for line in axes.lines if line.get_label() == "Bayes rule" and len(line.get_ydata())]


def bayes_of(summary):
    return next(trial for trial in summary.trials if trial.objective == "bayes")


def test_references_are_those_of_the_study():
    assert set(REFERENCES) == set(PLANNED)


def test_the_bayes_rule_is_counted_nowhere_among_networks(content):
    trials = content.summary.trials
    assert swept(trials) == ["gradient_norm", "pgd_l2", "noise_augmentation"]
    assert len(trained(trials)) == len(trials) - 4  # without the untrained network, the Bayes rule, two filtered ones
    assert networks_text(trials) == "12 trained networks, beside the Bayes rule and 1 untrained control"
    assert networks_text([t for t in trials if t.objective == "standard"]) == "1 trained network"
    assert not any("ayes rule" in sentence for sentence in regime_sentences(content.summary))
    assert [o["id"] for o in embedded(page_of(content.folder))["objectives"]] == swept(trials)


def test_the_bayes_rule_does_not_change_the_verdict(content):
    kept = [t for t in content.summary.trials if t.objective in ("bayes", "standard")]
    summary = dataclasses.replace(content.summary, headline=None, trials=kept)
    assert verdict(summary).claim.startswith("Only the standard network was trained")


def test_the_bayes_rule_is_labelled_by_the_same_tests_among_the_references(content, world_page):
    assert regime_label(bayes_of(content.summary)) == "Bayes-aligned"
    assert trial_name(bayes_of(content.summary)) == "Bayes rule"
    text = section(world_page, "regimes")
    start, end = text.index("References: labelled by the same tests"), text.index("On-manifold is over all")
    assert "Bayes rule Bayes-aligned" in text[start:end]
    assert "untrained collapsed" in text[start:end]
    assert "Bayes rule Bayes-aligned" not in text[:start]


def test_every_panel_of_the_curves_holds_the_level_of_the_bayes_rule(content):
    figure, measures = curves_figure(content), bayes_of(content.summary).measures
    shown = {axes.get_title().partition("\n")[0]: axes for axes in figure.axes if axes.get_title()}
    assert levels_of(shown["Accuracy"]) == [measures["accuracy"].mean]
    titles = {" ".join(axes.get_title().split()): axes for axes in figure.axes}
    own = next(axes for title, axes in titles.items() if title.startswith("Cosine with the closed form's Bayes dir"))
    assert levels_of(own) == [measures[COS].mean]
    assert all(levels_of(axes) or axes.texts for axes in shown.values())
    assert [text.get_text() for text in figure.legends[0].get_texts()].count("Bayes rule") == 1
    assert not any(line.get_label() == "bayes" for axes in figure.axes for line in axes.lines)


def test_a_kappa_of_the_bayes_rule_far_below_is_written_not_drawn(content):
    trials = content.summary.trials
    for name in ("kappa.margin", "log_kappa.margin"):
        assert bayes_level(trials, Key.parse(name))[1]
    assert bayes_level(trials, Key.parse("accuracy")) == (
        bayes_of(content.summary).measures["accuracy"].mean,
        False,
    )
    panel = next(axes for axes in curves_figure(content).axes if axes.get_title().startswith("Off/on"))
    assert [text.get_text() for text in panel.texts] == ["↓ Bayes rule 4.2·10⁻⁹"]
    assert panel.get_ylim()[0] > 1e-4
    measures = {"kappa.margin": MeasureEntry(mean=0.01, low=None, high=None)}
    near = [t if t.objective != "bayes" else dataclasses.replace(t, measures=measures) for t in trials]
    assert bayes_level(near, Key.parse("kappa.margin")) == (0.01, False)


def test_the_story_holds_the_levels_in_every_column_and_names_them_once(content):
    verdict_of = next(cell.verdict for cell in content.summary.cells if cell.objective == "bayes")
    closed, network = (verdict_of.aligned[name].alignment.mean for name in ("bayes_gradient", "network_bayes_gradient"))
    levels = [verdict_of.accuracy.mean, closed, network, verdict_of.manifold[""].worst.mean]
    for story in stories(content.summary):
        own = [level.value for row in story.rows for level in row.levels if level.name == "Bayes rule"]
        assert own == levels
    figure = story_figure(content)
    drawn = [line.get_ydata()[0] for axes in figure.axes for line in axes.lines if line.get_linewidth() == 0.7]
    columns = len(swept(content.summary.trials))
    assert drawn == [level for level in levels for _ in range(columns)]
    assert [text.get_text() for text in figure.legends[0].get_texts()].count("Bayes rule") == 1


def test_the_line_of_the_bayes_rule_is_solid_and_thinner_than_a_curve(content):
    line = next(n for n in curves_figure(content).axes[0].lines if n.get_label() == "Bayes rule")
    other = next(n for n in curves_figure(content).axes[0].lines if n.get_label() == "gradient norm")
    assert line.get_linestyle() == "-"
    assert line.get_linewidth() < other.get_linewidth()


def test_the_script_is_told_which_levels_to_write(world_page, page):
    assert set(embedded(world_page)["far"]) == {"kappa.margin", "log_kappa.margin"}
    assert embedded(page)["far"] == []
    assert "Thin solid horizontal lines: the Bayes rule" in section(world_page, "curves")
    assert "Bayes rule" not in section(page, "curves") + section(page, "story")


def test_no_bayes_rule_among_the_points_of_the_correlation(content):
    figure = correlations_figure(content)
    assert "Bayes rule" not in [text.get_text() for text in figure.legends[0].get_texts()]
    points = {tuple(p) for axes in figure.axes for c in axes.collections for p in np.asarray(c.get_offsets())}
    assert not any(x == pytest.approx(-33.9) for x, _ in points)


@pytest.mark.slow
def test_the_pictures_have_a_column_for_the_bayes_rule_whatever_its_seed(tmp_path):
    content = read_run(build_run(tmp_path / "run", seeds=(3, 1), world=True))
    shown = picture_columns(content.summary.trials, content.pictures)
    best = [column for column in shown if column.label == "Bayes rule"]
    assert [(column.name, column.group, column.regime) for column in best] == [
        ("gradient.bayes-s3", REFERENCE, "Bayes-aligned")
    ]
    assert {column.name[-3:] for column in shown if column.regime and column not in best} == {"-s1"}
    assert "Bayes rule" in [column.heading for column in gallery_columns(content, 2)]
    assert "bayes-s3" in embedded(page_of(content.folder))["explorer"]["pictures"]["gradients"]


def glance_of(text):
    table = re.search(r'<table[^>]*id="glance">.*?</table>', text, re.DOTALL)[0]
    heads = [html.unescape(head) for head in re.findall(r"<th[^>]*>([^<]*)</th>", table.partition("</thead>")[0])]
    rows = {re.search(r"<code>(.*?)</code>", row)[1]: row for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)[1:]}
    return heads, rows


def test_the_table_holds_the_error_above_the_bayes_rule_with_its_interval(content, world_page, page):
    heads, rows = glance_of(world_page)
    at = heads.index("Error above the Bayes rule") - 2
    cells = re.findall(r"<td class=\"num.*?</td>", rows["standard-0-s0"], re.DOTALL)
    risk = next(t for t in content.summary.trials if t.id == "standard-0-s0").excess_risk
    shown = visible(cells[at]).split()
    assert shown == [
        number(risk.mean, 3, True),
        number(risk.low, 3),
        "…",
        number(risk.high, 3),
    ]
    assert visible(re.findall(r"<td class=\"num.*?</td>", rows["bayes-s0"], re.DOTALL)[at]).split() == ["0.000"]
    assert "–" in visible(re.findall(r"<td class=\"num.*?</td>", rows["gradient_norm-300-s0"], re.DOTALL)[at])
    assert "Bayes-aligned" in visible(rows["bayes-s0"])
    assert "Error above the Bayes rule" not in glance_of(page)[0]


def test_world_and_optimum_are_named_at_the_head(world_page, page):
    head = section(world_page, "verdict")
    assert "drawn from the world distractor?rank=6, of dimension 392 and intrinsic dimension 8." in head
    assert "Its Bayes rule has accuracy 0.8981 [0.8960, 0.9002] , over 20,000 fresh draws." in head
    assert "the world's own: exact, not fitted." in head
    assert "12 trained networks, beside the Bayes rule and 1 untrained control" in head
    assert "world" not in section(page, "verdict")


def test_a_fitted_score_of_a_world_is_called_fitted(content):
    fitted = dataclasses.replace(content.summary, score={"kind": "mfa", "components": 4, "rank": 12})
    sentence = world_sentence(fitted)
    assert "are fitted: a mixture of factor analysers" in sentence
    assert "exact" not in sentence
    assert "4 components of rank 12." in score_lead(fitted)


def test_a_closed_form_that_is_poor_where_l_is_measured_is_doubted_in_the_head(content):
    def doubt(*errors: tuple[float, float, float], kind: str = "mfa") -> str:
        denoising = [{"sigma": s, "mse": own, "identity": s * s, "gaussian": one} for s, own, one in errors]
        return score_doubt(dataclasses.replace(content.summary, score={"kind": kind, "denoising": denoising}))

    good, poor = (0.5, 0.016, 0.019), (0.5, 0.02, 0.019)
    assert doubt(good, (0.1, 0.02, 0.01)) == ""  # L does not rest on the smaller σ
    assert "at σ = 0.5, where one Gaussian denoises better" in doubt((0.1, 0.01, 0.02), poor)
    assert doubt(poor, kind="exact") == ""
    assert doubt() == ""


def test_a_bayes_rule_that_knows_far_less_than_the_networks_is_doubted_in_the_head(content):
    first, *rest = trained(content.summary.trials)
    accuracy = MeasureEntry(mean=0.9, low=0.88, high=0.92, n=500, chance=0.1)
    best = dataclasses.replace(first, measures=first.measures | {"accuracy": accuracy})

    def doubt(mean: float, kind: str = "mfa") -> str:
        rule = [{"sigma": 0.0, "mean": mean, "low": mean - 0.02, "high": mean + 0.02, "n": 500}]
        score = {"kind": kind, "posterior_accuracy": rule}
        return score_doubt(dataclasses.replace(content.summary, score=score, trials=[best, *rest]))

    assert doubt(0.2).startswith(
        "The Bayes rule of the mixture is right for 0.200 of the images at its best, the network for 0.900:"
    )
    assert doubt(0.6) == ""
    assert doubt(0.2, kind="exact") == ""


def test_a_world_without_a_bayes_rule_says_what_is_undefined(content):
    undefined = {"posterior, Bayes direction": "at σ = 0 there is no limit: planes meet nowhere"}
    world = dataclasses.replace(content.summary.world, bayes_accuracy=None, undefined=undefined)
    sentence = world_sentence(dataclasses.replace(content.summary, world=world))
    assert "Undefined: posterior, Bayes direction, since at σ = 0 there is no limit" in sentence
    assert "accuracy" not in sentence


def test_an_exact_score_is_nowhere_called_a_mixture_or_a_model(world_page, page):
    text = visible(world_page)
    for word in ("mixture", "factor analysers", "model of the data", "score model", "only as good as"):
        assert word not in text
    assert "come from the law that the images are drawn from" in " ".join(text.split())
    assert "Targets and tangent spaces are exact" in section(world_page, "score")
    assert "a mixture of factor analysers, 4 components of rank 12, made in 1.2 s." in section(page, "score")


@pytest.mark.parametrize("nothing", [None, {}, "absent"])
def test_older_and_emptier_summaries_are_still_reported(tmp_path, nothing):
    run = build_run(tmp_path / "run", world=True)

    def forget(summary):
        for holder, name in (
            (summary, "world"),
            (summary, "noise_curves"),
            *((t, "excess_risk") for t in summary["trials"]),
        ):
            holder.pop(name, None)
            if nothing != "absent":
                holder[name] = nothing

    rewrite(run, forget)
    text = page_of(run)
    assert "drawn from the world" not in text
    assert "Error above the Bayes rule" not in glance_of(text)[0]


def test_measures_are_explained_as_the_registry_has_them(content):
    for key in json.loads((content.folder / "summary.json").read_text())["trials"][0]["measures"]:
        family = Key.parse(key).family
        assert describe(Key(family)).better == registry.describe(family).better
        assert describe(Key(family)).chance
        assert describe(Key(family)).unit


def test_sigma_zero_is_called_clean(world_page):
    assert parameter_label(Key.parse("alignment_cosine.margin.score.sigma=0")) == "σ = 0 (clean images)"
    assert short_label(Key.parse("alignment_cosine.margin.score.sigma=0")) == "cos score, σ = 0"
    assert "σ = 0 (clean images)" in visible(world_page)


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((4.2e-9, 3.3e-9, 5.2e-9), "4.2·10⁻⁹ [3.3·10⁻⁹, 5.2·10⁻⁹]"),
        ((1.0, 1 - 1e-8, 1 + 1e-8), "1.00"),
        ((0.0, 0.0, 0.0), "0"),
    ],
)
def test_numbers_of_the_optimum_are_not_printed_as_zeros(ends, text):
    assert estimate(IntervalEntry(**dict(zip(("mean", "low", "high"), ends, strict=True)))) == text
