"""What the tests of the page read from its text."""

import html
import json
import re
from pathlib import Path

from tangency.report.page.study import render_study
from tangency.report.read.run import read_run
from tangency.report.read.summary import from_json
from tangency.study.summary.entries import StudySummary, TrialEntry


def page_of(run):
    return render_study(read_run(run))


def typed(summary):
    """A summary from what its file holds."""
    return from_json(StudySummary, json.dumps(summary), Path("summary.json"))


def trial_of(**changes):
    """A trial without numbers."""
    return TrialEntry(**{"id": "any", "objective": "pgd_l2", "strength": 0.0, "seed": 0, "outcome": "ok"} | changes)


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


def section(text, name):
    """What a reader sees of one section of the page, spaces made single."""
    found = re.search(rf'<(section|header) id="{name}">.*?</\1>', text, re.DOTALL)
    return " ".join(visible(found[0]).split()) if found else ""
