"""The table on the terminal: the Bayes rule's row, and whose Bayes direction the cosine is with."""

import json

import pytest

from report.helpers import rewrite
from report.synthetic_run import build_run
from tangency.cli.show.study import print_study


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("exact", "the world's exact Bayes direction"),
        ("mfa", "the mixture's Bayes direction"),
        ("edm", "the score's Bayes direction"),
    ],
)
def test_the_bayes_row_is_labelled_and_the_footnote_names_the_score(tmp_path, capsys, kind, said):
    run = build_run(tmp_path / "run", world=True)
    rewrite(run, lambda summary: summary["score"].update(kind=kind))
    print_study(json.loads((run / "summary.json").read_text()))
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in reversed(out.splitlines()) if line.strip()}
    assert rows["bayes-s0"][1] == "bayes-aligned"  # by the same tests as networks
    assert rows["untrained-s0"][1] == "collapsed"
    assert rows["gradient_norm-300-s0"][1] == "diverged"
    assert rows["gradient_norm-0.3-s0"][1] == "bayes-aligned"
    out = " ".join(out.split())
    assert said in out
    assert ("mixture" in out) is (kind == "mfa")
