"""The section on regimes: a row for each recipe with all that its label rests on, and what is folded under it."""

import re

import pytest

from report.helpers import page_of, section, typed, visible, without_scripts
from report.synthetic_run import build_run, summary_of
from tangency.cli.show.study import print_study
from tangency.cli.tables import plus_minus
from tangency.report.page.regimes import kappa_rows, regimes_section
from tangency.report.read.run import read_run
from tangency.report.text.trials import label_of, regime_label, regime_legend, regime_sentences
from tangency.statistics.regimes import ORDER

LABELS = {
    "standard": "weak",
    "gradient norm 0.03": "weak",
    "gradient norm 0.3": "Bayes-aligned",
    "gradient norm 3": "undetermined",
    "gradient norm 30": "excessive",
    "PGD ℓ₂ 0.3": "Bayes-aligned",
    "PGD ℓ₂ 1": "Bayes-aligned",
    "PGD ℓ₂ 3": "excessive",
    "PGD ℓ₂ 10": "collapsed",
    "noise augmentation 0.1": "weak",
    "noise augmentation 0.3": "weak",
}


@pytest.fixture(scope="module")
def withheld_run(tmp_path_factory):
    """Three networks a recipe, and a gate that one recipe fails."""
    return build_run(tmp_path_factory.mktemp("withheld") / "run", seeds=(0, 1, 2), longer=1.3)


@pytest.fixture(scope="module")
def kappa_run(tmp_path_factory):
    """A study by the former rule."""
    return build_run(tmp_path_factory.mktemp("kappa") / "run", rule="kappa")


def rows_of(html, label):
    """Cells of each row of a table, by its first, as a reader sees them."""
    table = re.search(rf'aria-label="{label}[^"]*">.*?</table>', html, re.DOTALL)[0]
    rows = re.findall(r'<tr[^>]*><th scope="row".*?</tr>', table, re.DOTALL)
    cells = [
        [" ".join(visible(cell).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows
    ]
    return {row[0]: row[1:] for row in cells}


def test_each_recipe_has_its_label_as_made():
    found = regimes_section(typed(summary_of()))
    assert {row.name: row.label for row in found.recipes} == LABELS
    assert {row.name: row.label for row in found.references} == {
        "untrained": "collapsed",
        "standard, filtered, for both directions": "undetermined",
    }
    assert found.networks == []


def test_one_filter_for_both_directions_is_one_row_that_names_both(page, capsys):
    glance = re.search(r'<table[^>]*id="glance">.*?</table>', page, re.DOTALL)[0]
    heads = [re.sub("<[^>]+>", "", head) for head in re.findall(r'<th scope="row".*?</th>', glance)]
    assert [head for head in heads if "filtered" in head] == ["filtered-s0, filtered_network-s0"]
    summary = summary_of(seeds=(0, 1, 2))
    print_study(summary)
    rows = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("filtered")]
    assert list(dict.fromkeys(rows)) == [f"filtered-s{seed} (both)" for seed in range(3)]  # in each part of the table
    for trial in summary["trials"]:
        if trial["id"] == "filtered_network-s1":  # of one seed, another one
            trial["filter"]["name"] = "blur-1"
    print_study(summary)
    rows = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("filtered")]
    assert list(dict.fromkeys(rows)) == [
        "filtered-s0 (both)",
        "filtered-s1",
        "filtered_network-s1",
        "filtered-s2 (both)",
    ]
    references = [row.name for row in regimes_section(typed(summary)).references]
    assert references == ["untrained", "standard, filtered", "standard, filtered (score)"]


def test_the_order_of_tests_and_all_thresholds_are_printed(page):
    text = section(page, "regimes")
    places = [text.index(test) for test in ORDER]
    assert places == sorted(places)
    for words in ("δ = 0.05", "10 % of the filter's own rise", "floored at 0.01·k/d", "≥ 0.95", "level 0.95"):
        assert words in text
    assert "the best constant answer has accuracy 0.1" in text


def test_a_row_holds_all_that_the_label_rests_on(page):
    summary = summary_of()
    cell = next(cell for cell in summary["cells"] if cell["id"] == "gradient_norm-0.3")
    row = rows_of(without_scripts(page), "Regimes by recipe")["gradient norm 0.3"]
    verdict = cell["verdict"]
    assert row[0] == "Bayes-aligned"
    assert row[1].endswith("accuracy 0.855")
    for places, target in (((2, 6, 7), "bayes_gradient"), ((3, 8, 9), "network_bayes_gradient")):
        own = verdict["aligned"][target]
        for place, name in zip(places, ("over_filter", "alignment", "over_standard"), strict=True):
            assert row[place].startswith(f"+{own[name]['mean']:.3f} ")
    assert row[10].startswith(f"+{verdict['manifold']['']['worst']['mean']:.3f} ")
    assert row[10].endswith("one global PCA subspace")
    assert row[4] == "shown"
    assert row[11] == f"{verdict['radius']['mean']:.3f}"
    assert "".join(row[5].split()) == "".join(verdict["reason"].replace("-0.", "−0.").split())
    assert "pca-50" in section(page, "regimes")


def test_a_label_that_depends_on_delta_is_bold():
    found = regimes_section(typed(summary_of()))
    assert found.margins == ["0.02", "0.1"]
    undetermined = next(row for row in found.recipes if row.name == "gradient norm 3")
    assert undetermined.sensitivity == ["excessive", "bayes_aligned"]
    cell = r'<td class="small differs">Bayes-aligned</td>'
    assert re.search(cell, page_text())


def page_text(**options):
    """The page of a summary, without the files beside it."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        return page_of(build_run(Path(folder) / "run", **options))


def test_the_standard_recipe_is_not_compared_with_itself():
    standard = next(row for row in regimes_section(typed(summary_of())).recipes if row.name == "standard")
    assert standard.accuracy_difference is None
    assert all(cell.over_standard is None and cell.over_filter is not None for cell in standard.aligned)


def test_every_control_stands_in_a_folded_table_with_what_is_left_out(page):
    html = without_scripts(page)
    folded = re.search(r"<details><summary>Every control of F².*?</details>", html, re.DOTALL)[0]
    row = rows_of(folded, "Every control of F²")["gradient norm 0.3"]
    assert row[:2] == ["mfa", "shown"]
    assert [bool(re.match(r"\+0\.\d", cell) or re.match(r"\+[1-9]", cell)) for cell in row[2:8]] == [True] * 6
    summary = summary_of()
    under = next(c for c in summary["cells"] if c["id"] == "gradient_norm-0.3")["verdict"]["manifold"][""]
    del under["controls"]["pca"]
    under["left_out"] = {"pca": 0.97, "shuffled": None}
    controls = next(r for r in regimes_section(typed(summary)).recipes if r.id == "gradient_norm-0.3").controls[0]
    assert controls.left_out == "pca (overlap 0.970), shuffled (no image has another)"
    assert [value is None for value in controls.values] == [False, False, False, False, True, False]


def test_fewer_than_five_networks_are_listed_each(withheld_run):
    found = regimes_section(read_run(withheld_run).summary)
    assert found.few
    assert len(found.networks) == 3 * len(found.recipes)
    assert {row.networks for row in found.networks} == {1}
    text = page_of(withheld_run)
    assert re.search(r"<details open><summary>Every network", text)
    assert "gradient norm 0.3, seed 2" in section(text, "regimes")


def test_a_withheld_label_has_its_reason_in_place_of_it(withheld_run):
    summary = read_run(withheld_run).summary
    rows = {row.name: row for row in regimes_section(summary).recipes}
    row = rows["gradient norm 0.03"]
    assert row.label == "withheld"
    assert row.reason.startswith("Not converged, so nothing is claimed: gradient_norm-0.3, trained 2 times as long")
    assert row.sensitivity == [None, None]
    assert rows["PGD ℓ₂ 1"].label == "Bayes-aligned"
    assert regime_sentences(summary)[0] == "Gradient norm: withheld at 0.03, 0.3, 3, 30; diverged at 300."
    assert regime_legend(summary)[-1][0] == "withheld"


def test_a_missing_direction_leaves_a_dash_and_is_no_alignment():
    summary = summary_of()
    for cell in summary["cells"]:
        cell["verdict"]["aligned"].pop("network_bayes_gradient", None)
    found = regimes_section(typed(summary))
    assert [label for label, _, _ in found.directions] == ["closed form"]
    only = next(cell for cell in summary["cells"] if cell["id"] == "pgd_l2-1")
    only["verdict"]["aligned"] = {}
    row = next(row for row in regimes_section(typed(summary)).recipes if row.id == "pgd_l2-1")
    assert [(c.level, c.over_standard, c.over_filter) for c in row.aligned] == [(None, None, None)]


def test_labels_of_the_former_rule_are_named_so_everywhere(kappa_run):
    content = read_run(kappa_run)
    summary = content.summary
    assert regimes_section(summary) is None
    assert {regime_label(trial) for trial in summary.trials if trial.regime} == {
        f"{label} (rule kappa)" for label in ("weak", "Bayes-aligned", "excessive", "undetermined")
    }
    assert all(label_of(cell).endswith("(rule kappa)") for cell in summary.cells if cell.regime)
    assert len(kappa_rows(summary)) == 11
    text = page_of(kappa_run)
    words = section(text, "regimes")
    assert words.startswith("Regimes, rule kappa")
    for threshold in ("κ/κ₀ is not shown to be ≤ 0.5", "worse by 0.05", "κ < 1.0"):
        assert threshold in words
    assert "Labels are those of the former rule" in section(text, "verdict")
    assert section(text, "thesis") == ""
    for chip in re.findall(
        r'<span class="chip [^"]*">(weak|Bayes-aligned|excessive)[^<]*</span>', without_scripts(text)
    ):
        assert f">{chip}</span>" not in without_scripts(text)


def test_no_former_rule_in_a_study_of_today(page):
    assert kappa_rows(typed(summary_of())) == []
    assert "rule kappa" not in visible(page)


def test_the_terminal_shows_what_the_label_rests_on(capsys):
    summary = summary_of()
    print_study(summary)
    out = capsys.readouterr().out
    row = " ".join(line for line in out.splitlines() if line.startswith("gradient_norm-0.3-s0"))  # of all parts
    verdict = next(t for t in summary["trials"] if t["id"] == "gradient_norm-0.3-s0")["verdict"]
    closed = verdict["aligned"]["bayes_gradient"]
    worst = verdict["manifold"][""]["worst"]
    assert row.split()[1] == "bayes-aligned"
    assert plus_minus(closed["alignment"]) in row
    assert plus_minus(closed["over_filter"], signed=True) in row
    assert f"{plus_minus(worst, signed=True)} pca" in row
    for words in ("L (closed form)", "L over filter:", "log F²/best control:", "the mixture's Bayes direction"):
        assert words in " ".join(out.split())
    assert "Recipes" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_terminal_shows_the_worst_estimator_recipes_and_what_is_withheld(capsys):
    print_study(summary_of(seeds=(0, 1, 2), longer=1.3))
    out = " ".join(capsys.readouterr().out.split())
    assert "Recipes, with networks as the unit: standard-0 weak, gradient_norm-0.03 withheld," in out
    assert "pgd_l2-1 bayes-aligned" in out
    print_study(summary_of(second=1.6))
    out = capsys.readouterr().out
    row = " ".join(line for line in out.splitlines() if line.startswith("gradient_norm-0.3-s0"))
    assert re.search(r"−0\.2\d+ ± 0\.\d+ pca", row)


def test_the_terminal_of_the_former_rule_names_it(capsys):
    print_study(summary_of(rule="kappa"))
    out = capsys.readouterr().out
    assert "rule kappa" in out
    assert "F² − best control" in " ".join(out.split())
    assert "log F²/best control" not in out


def test_table_of_labels_starts_with_what_they_rest_on(page):
    table = page.partition('aria-label="Regimes by recipe, with')[2].partition("</table>")[0]
    head = table.partition("</thead>")[0]
    heads = [re.sub("<.*", "", each) for each in re.findall(r"<th [^>]*>(.*?)</th>", head)]
    assert heads[:3] == ["Recipe", "Label", "Accuracy − standard"]
    rest = [each for each in heads[3:] if not each.startswith("L over filter, ")]
    assert len(rest) < len(heads) - 3
    assert rest[:2] == ["On-manifold", "Reason"]
    row = re.search(r'<tr data-case="standard-0">.*?</tr>', table, re.DOTALL)[0]
    assert len(re.findall(r"<t[dh][ >]", row)) == len(heads)
    assert 'class="scroll" tabindex="0" role="region" aria-label="Regimes by recipe' in page  # of any height


def test_headline_names_its_numbers(page):
    assert re.search(r'<h2 class="group-title" id="headline-name">Headline: \S+.*?</h2>\s*<dl class="tiles"', page)
