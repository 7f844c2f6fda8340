"""One batch of a generation task: by the classifier, and by what it is compared with."""

from __future__ import annotations

from torch import Tensor

from tangency.seeding import Draw
from tangency.study.generation_changed import changed
from tangency.study.generation_made import feature, generate
from tangency.study.generation_restored import denoised, restored
from tangency.study.generation_shop import Outcome, Workshop


def perform(shop: Workshop, ids: Tensor) -> Outcome:
    """The task for the images `ids`: numbers of test images, or of pictures that are made from nothing."""
    draw = Draw(shop.config.seed, ids.to(shop.device), "generation")
    task = shop.config.task
    if task == "generate":
        return generate(shop, draw)
    if task == "feature":
        return feature(shop, draw)
    x = shop.data.test.images(ids).to(shop.device)
    y = shop.data.test.labels[ids].to(shop.device)
    if task == "denoise":
        return denoised(shop, x, y, draw)
    return restored(shop, x, y, draw) if task in ("inpaint", "superres") else changed(shop, x, y, draw)
