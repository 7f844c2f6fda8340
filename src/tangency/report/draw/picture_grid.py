"""The figure of images, targets and gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tangency.report.draw.canvas import WIDTH, new_figure
from tangency.report.draw.pictures import picture_columns
from tangency.report.draw.pixels import photograph, scale_of
from tangency.report.read.run import RunFiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures_figure(run: RunFiles) -> Figure | None:
    """Images, targets and the gradients of each trial; each picture on its own symmetric scale."""
    shown = picture_columns(run.summary["trials"], run.pictures)
    m = len(run.pictures["image"])
    headings = 1.3  # inches above the pictures
    height = WIDTH / len(shown) * m + headings
    figure, axes = new_figure(
        m, len(shown), height, layout=None
    )  # a constrained layout would part columns of tall headings
    figure.subplots_adjust(0.005, 0.005, 0.995, 1 - headings / height, wspace=0.06, hspace=0.06)
    for column, entry in enumerate(shown):
        axes[0, column].set_title(entry.heading, rotation=90, fontsize=6)
        for row in range(m):
            picture, at = run.pictures[entry.name][row], axes[row, column]
            at.set_axis_off()
            if entry.name == "image":
                at.imshow(photograph(picture))
            elif np.isfinite(picture).all() and picture.any():
                values = picture.mean(0)
                scale = scale_of(values) or 1.0
                at.imshow(values / scale, cmap="RdBu_r", vmin=-1, vmax=1)
    return figure
