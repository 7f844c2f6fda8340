"""The ranks of a leaderboard as numbers, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tangency.errors import RunError
from tangency.evaluate.entries import EstimateEntry, ExcessEntry, MeasureEntry
from tangency.report.read.models import (
    LabelledModel,
    collect_models,
    is_aligned,
    is_tangent,
    label_models,
    rank_ranges,
    ranked_by,
    sort_models,
)


@dataclass(frozen=True)
class Standing:
    """A measured model's place on a leaderboard.

    Args:
        label: unique name: that of its folder or trial.
        rank: "2", or "2–4" as far as intervals leave it open; "–" for none.
        ordered_by: log F²/control, the smallest over estimators and controls; None without a rank.
        control: the one that has the smallest; "" without a rank.
        tangent: whether F² is shown to be above every control under every estimator.
        aligned: whether alignment is shown to be above that with other images' targets in every direction, by Holm's
            p over the models.
        measures, excess: its numbers, as `estimates` has them.
    """

    label: str
    rank: str
    ordered_by: EstimateEntry | None
    control: str
    tangent: bool
    aligned: bool
    measures: dict[str, MeasureEntry]
    excess: dict[str, ExcessEntry]


def rank_models(references: Sequence[str | Path]) -> list[Standing]:
    """Measured models of one data set in the order of their leaderboard, as `write_leaderboard` shows them.

    G = min over estimators and controls of log (mean F² / mean F² of the control) orders them; G = 0 is no more than
    the best control.

    Args:
        references: folders of `measure_models`, folders that hold several of them, or run:RUN/trials/ID.

    Returns:
        A `Standing` for each model, the first one first, those without a rank last.

    Raises:
        RunError: a folder cannot be read, or the models were measured on different images' data.

    Example:
        >>> import tempfile, tangency
        >>> from tangency.models import save_classifier
        >>> data = "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10"
        >>> net = tangency.build("convnet", (1, 8, 8), tangency.load_data(data).test.classes)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_classifier(net, f"{folder}/a.safetensors")
        ...     request = tangency.MeasureRequest(f"{folder}/a.safetensors", data, limit=6, out=f"{folder}/measured")
        ...     _ = tangency.measure_models(request)
        ...     [(one.label, one.rank) for one in tangency.rank_models([request.place])]
        [('measured', '–')]
    """
    models, unread = collect_models([str(reference) for reference in references])
    if unread:
        raise RunError(unread[0])
    if len({model.about["digest"] for model in models}) > 1:
        names = ", ".join(dict.fromkeys(str(model.about["data"]) for model in models))
        raise RunError(
            f"rank_models: got models measured on different data ({names}), expected one data set; rank those of each "
            "by themselves, or write_leaderboard makes a table for each."
        )
    ordered = sort_models(label_models(models))
    ranks = rank_ranges([ranked_by(model.numbers) for model in ordered])
    return [_standing(model, rank) for model, rank in zip(ordered, ranks, strict=True)]


def _standing(model: LabelledModel, rank: str) -> Standing:
    numbers = model.numbers
    ordered_by = ranked_by(numbers)
    known = numbers.ranking if ordered_by else None
    return Standing(
        label=model.label,
        rank=rank,
        ordered_by=ordered_by,
        control=known.worst.part.control if known else "",
        tangent=is_tangent(numbers),
        aligned=is_aligned(numbers),
        measures=numbers.measures,
        excess=numbers.excess,
    )
