"""How good a judge is itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tangency.generation.judges import judged
from tangency.seeding import permutation
from tangency.statistics import Estimate, PairedBootstrap
from tangency.types import Dataset

_EXAMINED = 2000  # test images at most, a fixed random subset
_AT_ONCE = 500
_REPLICATES = 2000


def judge_quality(judge: nn.Module, data: Dataset, device: str) -> dict[str, Any]:
    """Accuracy of a judge on test images, 2,000 at most, with a 95 % interval over images; chance is 1/classes.

    A judge that is not above chance says nothing of pictures: "warning" tells of that, "" for none.
    """
    from tangency.evaluate.numbers import as_json

    ids = permutation(len(data.test), 0, "examination of the judge")[:_EXAMINED].sort().values
    parts = [
        judged(judge, data.test.images(part).to(device), data.test.labels[part].to(device))["accuracy"]
        for part in torch.split(ids, _AT_ONCE)
    ]
    right, chance = torch.cat(parts).cpu().numpy(), 1 / len(data.test.classes)
    accuracy = Estimate.of(PairedBootstrap(len(right), _REPLICATES).mean(right), len(right))
    warning = (
        "" if accuracy.low > chance else "The judge is not above chance, so that what it says of pictures is noise."
    )
    return {"accuracy": as_json(accuracy, chance=chance), "warning": warning}
