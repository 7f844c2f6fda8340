"""What the page explores image by image: numbers of all measured images, pictures of a few, as blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tangency.measures.keys import Key
from tangency.report.draw.pixels import shrunk
from tangency.report.page.blocks import photograph_block, picture_block, tangent_block
from tangency.report.page.numbers import ImageTable, embedded_numbers, headline_keys
from tangency.report.read.pictures import KeptPictures
from tangency.report.read.run import RunFiles
from tangency.report.read.sweep import directions, estimator_names, trained_cells
from tangency.report.read.trials import swept
from tangency.report.text.glossary import TARGETS, objective_name
from tangency.report.text.numbers import capital, rounded
from tangency.report.text.score import direction_label
from tangency.study.summary.entries import StudySummary

PICTURED = 48  # images at most, of which a page holds pictures
BLOCKS_BUDGET = 36_000_000  # bytes of all blocks of a page, which has about 2 MB besides
AGAINST_BUDGET = 6_000_000  # the same of a second run on the page
PICTURES_BUDGET = 11_000_000  # bytes of pictures before they are compressed; base64 takes about as much after it
_NO_SPACES = "This run kept no tangent spaces of its pictures: {}."


@dataclass(frozen=True)
class Explorer:
    """What the script explores: its description, as "explorer" of the page's data, and blocks by name."""

    content: dict[str, Any]
    blocks: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the blocks."""
        return sum(map(len, self.blocks.values()))


def explore(
    run: RunFiles,
    budget: int = BLOCKS_BUDGET,
    prefix: str = "",
    keys: Sequence[str] | None = None,
    pictures: bool = True,
) -> Explorer:
    """The explorer of a run.

    Args:
        run: its files.
        budget: bytes of all blocks.
        prefix: before the names of blocks.
        keys: those that are embedded, of all by default.
        pictures: whether it comes with pictures.
    """
    summary, kept = run.summary, run.kept
    table = ImageTable.of(summary.trials, run.rows)
    shown = pictured(summary, kept) if pictures and kept.pictures else Explorer({})
    chosen = [key for key in table.keys if keys is None or key in keys]
    numbers = embedded_numbers(table, chosen, budget - shown.size, prefix)
    content = {
        "images": _images(table, kept, summary, bool(shown.blocks)),
        "keys": numbers.keys,
        "left_out": numbers.left_out,
        "headline": headline_keys(summary.trials),
        "directions": aligned_keys(summary, [entry["key"] for entry in numbers.keys]),
        "estimators": [{"id": own, "name": name} for own, name in estimator_names(summary).items()],
        "objectives": [{"id": own, "name": objective_name(own)} for own in swept(summary.trials)],
        "seeds": sorted({trial.seed for trial in summary.trials}),
        "pictures": shown.content or None,
    }
    return Explorer(content, numbers.blocks | shown.blocks)


def aligned_keys(summary: StudySummary, held: Sequence[str]) -> list[dict[str, str]]:
    """The keys whose difference is L of an image, by Bayes direction, the headline's first; those held on the page.

    `agreement` is the key of the cosine between the two directions at the same σ, "" where there is none.
    """
    out = []
    for target in sorted(
        directions(summary), key=lambda each: not summary.headline or each != summary.headline.direction
    ):
        verdicts = [cell.verdict for cell in trained_cells(summary) if cell.verdict and target in cell.verdict.aligned]
        own = Key.parse(verdicts[0].aligned[target].column)
        control = str(own.under("shuffled"))
        agreement = str(Key("direction_agreement").at(sigma=own.value or 0.0))
        if str(own) in held and control in held:
            title = f"L, {direction_label(target)}"
            agreed = agreement if agreement in held else ""
            out.append({"target": target, "title": title, "own": str(own), "control": control, "agreement": agreed})
    return out


def _images(table: ImageTable, kept: KeptPictures, summary: StudySummary, shown: bool) -> dict[str, Any]:
    """Indices, labels (−1 where not known) and which of the images are pictured, by their place among the indices."""
    places = {image: place for place, image in enumerate(table.ids.tolist())}
    pictured_ids = [] if kept.ids is None or not shown else kept.ids[:PICTURED].tolist()
    return {
        "count": len(table.ids),
        "ids": table.ids.tolist(),
        "labels": [kept.labels.get(image, -1) for image in places],
        "classes": list(summary.data.classes),
        "pictured": [places.get(image, -1) for image in pictured_ids],
        "shape": list(summary.data.shape),
    }


def pictured(summary: StudySummary, kept: KeptPictures) -> Explorer:
    """The pictures of the first images, a block for each target and trial, drawn smaller where they are too large."""
    whole = {name: values[:PICTURED] for name, values in kept.pictures.items()}
    trials = [trial.id for trial in summary.trials if f"gradient.{trial.id}" in whole]
    targets = [name for name in TARGETS if name in whole]
    pixels = whole["image"].size * (1 + len(targets) + len(trials))
    factor = int(np.ceil(np.sqrt(pixels / PICTURES_BUDGET)))
    small = {name: shrunk(values, factor) for name, values in whole.items() if name != "labels"}
    blocks = {"p-image": photograph_block(small["image"])}
    blocks |= {f"p-t{place}": picture_block(small[name]) for place, name in enumerate(targets)}
    blocks |= {f"p-g{place}": picture_block(small[f"gradient.{own}"]) for place, own in enumerate(trials)}
    spaces, why = _spaces(summary, kept, factor)
    blocks |= {f"p-b{place}": text for place, (_, _, text) in enumerate(spaces)}
    content = {
        "image": "p-image",
        "shape": list(small["image"].shape[1:]),
        "labels": whole["labels"].tolist(),
        "targets": [
            {"name": name, "title": capital(TARGETS[name][0]), "block": f"p-t{place}"}
            for place, name in enumerate(targets)
        ],
        "gradients": {own: f"p-g{place}" for place, own in enumerate(trials)},
        "probabilities": {
            own: [rounded(float(p)) for p in kept.probabilities[own][:PICTURED]]
            for own in trials
            if own in kept.probabilities
        },
        "answers": {own: kept.answers[own][:PICTURED].tolist() for own in trials if own in kept.answers},
        "tangents": [
            {"estimator": name, "rank": rank, "block": f"p-b{place}"} for place, (name, rank, _) in enumerate(spaces)
        ],
        "why_no_tangents": why,
    }
    return Explorer(content, blocks)


def _spaces(summary: StudySummary, kept: KeptPictures, factor: int) -> tuple[list[tuple[str, int, str]], str]:
    """Name, rank and block of each estimator's tangent spaces, and why there are none."""
    if not kept.tangents:
        return [], _NO_SPACES.format("a version that did not keep them made it, or they are too large")
    if factor > 1:
        return [], "Its pictures are drawn smaller than they are, and tangent spaces are those of whole images."
    names, left, spaces = estimator_names(summary), PICTURES_BUDGET, []
    for own, (rows, scales) in kept.tangents.items():
        block = tangent_block(rows[:PICTURED], scales[:PICTURED])
        if len(block) <= left:
            left -= len(block)
            spaces.append((names.get(own, own), rows.shape[1], block))
    return spaces, "" if spaces else _NO_SPACES.format("they are too large for a page")
