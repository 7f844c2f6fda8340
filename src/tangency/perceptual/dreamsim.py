"""DreamSim (Fu et al., NeurIPS 2023) through its authors' package, as one embedding for each picture."""

from __future__ import annotations

import os
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.errors import ModelError, quoted
from tangency.perceptual.lpips import check_channels
from tangency.perceptual.weights_files import VARIABLE

SIDE = 224


def dreamsim_package() -> Any:
    """The package; raises where it is missing, so that this can be told before anything is computed."""
    try:
        import dreamsim
    except ImportError as error:
        raise ModelError(
            f"metric 'dreamsim': the package dreamsim is not installed ({quoted(error)}): "
            "pip install 'tangency[dreamsim]'. It needs 3 GB of weights, which it fetches itself."
        ) from None
    return dreamsim


@final
class DreamSim:
    """Cosine similarity of the ensemble's embeddings; 1 − it is DreamSim.

    The package (extra "dreamsim") fetches its weights once into $TANGENCY_WEIGHTS/dreamsim, or ./models. It was trained
    on photographs, so that pictures of gradients are out of its domain: read it against its controls.

    Raises:
        ModelError: where the package is not installed.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        opened = dreamsim_package().dreamsim
        root = os.environ.get(VARIABLE)
        cache = os.path.join(os.path.expanduser(root), "dreamsim") if root else "./models"
        self._model: Any = opened(pretrained=True, cache_dir=cache, device=str(device))[0].eval()

    @torch.no_grad()
    def embed(self, pictures: Tensor, batch: int = 32) -> Tensor:
        """Unit embeddings, (N, C, H, W) in [−1, 1] to (N, F), after bilinear resizing to 224 × 224; NaN gives NaN."""
        check_channels("DreamSim", pictures)
        parts = []
        for part in torch.split(pictures.float(), batch):
            wide = F.interpolate((part + 1) / 2, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
            embedded: Tensor = self._model.embed(wide.nan_to_num().clamp(0, 1).expand(-1, 3, -1, -1))
            known = part.flatten(1).isfinite().all(1, keepdim=True)
            parts.append(F.normalize(embedded.reshape(len(part), -1), dim=1).where(known, torch.nan))
        return torch.cat(parts)
