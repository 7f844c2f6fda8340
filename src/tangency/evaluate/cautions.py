"""What a reader of a measurement's numbers should know, from the numbers themselves."""

from __future__ import annotations

from tangency.evaluate.steps import step_warnings
from tangency.measures import (
    MapFile,
    MeasureConfig,
    Rows,
    budget_warnings,
    control_warnings,
    masking_warnings,
    unidentified,
)
from tangency.statistics import SumCosine
from tangency.types import LabelledImages

_FEW = 30  # images


def cautions(config: MeasureConfig, pool: LabelledImages, rows: Rows, maps: MapFile | None) -> list[str]:
    """What a reader of numbers should know, in sentences.

    Args:
        config: what was measured.
        pool: test images.
        rows: of one classifier.
        maps: of that classifier, if any were given.
    """
    sentences = budget_warnings(config.robustness, config.epsilons, pool.shape)
    sentences += unidentified(config.quantities) + masking_warnings(rows.columns)
    sentences += control_warnings(rows.columns)
    sentences += step_warnings({key: values.cpu().numpy() for key, values in rows.columns.items()}, rows.dimension)
    if len(rows.ids) < _FEW:
        sentences.append(
            f"{len(rows.ids)} images are few: intervals, p-values and ranks of so small a sample say little."
        )
    if "cka" in config.metrics:
        sentences += _about_cka(len(rows.ids), len(pool), config.candidates + 1)
    for name, values in (maps.maps if maps else {}).items():
        zero = int((values[rows.ids].flatten(1) == 0).all(1).sum())
        if zero:
            sentences.append(f"map '{name}': is zero for {zero} of {len(rows.ids)} images, which have no direction.")
    return sentences


def _about_cka(images: int, pool: int, gallery: int) -> list[str]:
    sentences = []
    if images < SumCosine.fewest:
        sentences.append(
            f"alignment_cka: has no interval, since with fewer than {SumCosine.fewest} images (here {images}) none "
            "covers the truth as often as it claims."
        )
    elif pool < 2 * gallery:
        sentences.append(
            f"alignment_cka: its interval is too narrow (where the truth is known it covers it 70 to 90 % of the time, "
            f"not 95 %), since most of the {pool} test images are in the gallery that they are compared with."
        )
    return sentences
