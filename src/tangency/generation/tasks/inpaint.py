"""Pixels of test images are hidden, then restored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.generation.masks import make_mask
from tangency.generation.operators import Operator
from tangency.generation.options import TaskOptions
from tangency.generation.tasks.inputs import TaskInputs
from tangency.generation.tasks.restoration import MeasuredRestoration
from tangency.seeding import Draw


class InpaintTask(MeasuredRestoration):
    """Pixels behind a mask are restored."""

    name = "inpaint"
    title = "Inpainting"
    options = ("mask", "share", "label")

    def moot(self, options: TaskOptions) -> dict[str, str]:
        """As of every restoration; a mask of half of the pixels has no share."""
        moot = super().moot(options)
        if options.mask == "half":
            moot["share"] = "mask 'half' hides half of the pixels"
        return moot

    def operator(self, inputs: TaskInputs, draw: Draw) -> Operator:
        """The mask of each image."""
        return make_mask(inputs.options.mask, inputs.data.test.shape, inputs.options.share, draw)

    def guess_words(self, options: TaskOptions) -> str:
        """What the first guess is, in words."""
        return f"the mean of what is known in a {options.mask} mask"

    def described(self, settings: Mapping[str, Any]) -> str:
        """What a mask hides, half of the pixels where the settings hold no share, and the label in words."""
        share = settings.get("share", 0.5)
        return f"{settings['mask']} mask on {share:.0%} of the pixels, raising the {settings['label']}"
