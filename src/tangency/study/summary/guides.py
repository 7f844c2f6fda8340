"""What a summary says of the guides of objectives."""

from __future__ import annotations

from tangency.files import read_json
from tangency.study.layout import Layout
from tangency.study.planning import StudyPlan
from tangency.study.summary.entries import GuidesEntry, ShamEntry
from tangency.types import Dataset


def guides_entry(plan: StudyPlan, data: Dataset, layout: Layout) -> GuidesEntry:
    """The guides of a study, and how far their shams overlap them."""
    references: dict[str, list[str]] = {}
    for guide in plan.guides:
        references.setdefault(guide.kind, []).append(guide.reference)
    return GuidesEntry(
        fraction=plan.spec.guide_fraction,
        images=0 if data.guide is None else len(data.guide),
        references=references,
        shams=[ShamEntry(**read_json(layout.sham(sham))) for sham, _ in plan.shams],
    )
