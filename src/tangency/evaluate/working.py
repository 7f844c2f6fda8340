"""The working size of measurements: score and tangent spaces of large images live at a smaller one."""

from __future__ import annotations

import dataclasses

from tangency.errors import SpecError
from tangency.measures import MeasureConfig
from tangency.types import Dataset
from tangency.worlds import world_of


def measures_at(config: MeasureConfig, data: Dataset, reference: str) -> MeasureConfig:
    """What is measured, with the working size that these data have.

    Raises:
        SpecError: it is larger than the images, or the data are drawn from a world, whose exact score and tangent
            spaces are of its own size.
    """
    if world_of(reference) is None:
        return config.at_size(data.test.shape)
    if config.working_size not in (None, "own"):
        raise SpecError(
            f"working_size: got {config.working_size} for '{reference}', expected own: the exact score and tangent "
            "spaces of a world are of its own size."
        )
    return dataclasses.replace(config, working_size="own")
