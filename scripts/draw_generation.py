"""Draw the figures of docs/generate.md: docs/images/generation-*.png.

python scripts/draw_generation.py runs/generation, the run of `tangency study run generation`, of which
`tangency report runs/generation --figures` wrote the figures.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from tangency.report.draw.canvas import STYLE
from tangency.tensors import read_tensors

OUT = Path(__file__).parent.parent / "docs" / "images"
ENTRIES = {"generate": "generated from noise", "denoise-2": "denoised, σ = 0.5", "inpaint": "inpainted"}
COLUMNS = 5
ROWS = {
    "real": "reference.truth",
    "input": "reference.input",
    "score model": "reference.score",
    "mixture": "reference.mixture",
    "Bayes rule of the mixture": "reference.bayes",
    "standard": "trial.standard-0-s0",
    "gradient norm 1": "trial.gradient_norm-1-s0",
    "gradient norm 10": "trial.gradient_norm-10-s0",
    "PGD ℓ₂ 1": "trial.pgd_l2-1-s0",
    "PGD ℓ₂ 2.5": "trial.pgd_l2-2.5-s0",
}
FIGURES = ("generate", "generate-alignment", "denoise-2", "inpaint", "inpaint-alignment")


def draw_pictures(held: dict[str, Tensor], path: Path) -> None:
    """A row for each network and reference, the same images in every row of a task."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.2, 0.62 * len(ROWS)), layout="constrained")
        parts: Any = figure.subfigures(1, len(ENTRIES), width_ratios=[1.42, 1, 1])
        for part, (entry, title) in zip(parts, ENTRIES.items(), strict=True):
            part.suptitle(title, fontsize=10)
            grid = part.subplots(len(ROWS), COLUMNS, squeeze=False)
            for axes, (name, key) in zip(grid, ROWS.items(), strict=True):
                real = f"{entry}.reference.real" if name == "real" and entry == "generate" else f"{entry}.{key}"
                for column, axis in enumerate(axes):
                    axis.axis("off")
                    picture = held[real][2 * column, 0]
                    axis.imshow(picture.float().numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                if entry == "generate":
                    axes[0].text(-0.15, 0.5, name, transform=axes[0].transAxes, ha="right", va="center", fontsize=9)
        figure.savefig(path, dpi=110)


def main() -> None:
    """Draw the pictures, and copy the report's figures."""
    run = Path(sys.argv[1])
    held, _ = read_tensors(run / "artefacts" / "generation.safetensors")
    draw_pictures(held, OUT / "generation-pictures.png")
    for name in FIGURES:
        shutil.copy(run / "report" / "figures" / f"generation-{name}.png", OUT / f"generation-{name}.png")


if __name__ == "__main__":
    main()
