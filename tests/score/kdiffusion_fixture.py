"""Tensors and images by formula, so that the answers of k-diffusion to them can be stored without weights.

Run where k-diffusion is installed, this file asks it: `python tests/score/kdiffusion_fixture.py` writes the answers of
its image_v1 and image_transformer_v1 into `kdiffusion_answers.json`. Those of image_transformer_v2, which no release
holds, come from the layers of hdit 0.0.1b6, a copy of k-diffusion's, joined as k-diffusion's last commit joins them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

ANSWERS = Path(__file__).with_name("kdiffusion_answers.json")
SIGMAS = (0.04, 0.6, 10.0)  # of images in [-1, 1]
_SIZES = {"sigma_data": 0.6, "sigma_min": 0.01, "sigma_max": 80}
CONFIGS: dict[str, dict[str, Any]] = {
    "unet": {
        "model": {
            "type": "image_v1",
            "input_channels": 3,
            "input_size": [8, 4],
            "mapping_out": 8,
            "depths": [1, 2],
            "channels": [8, 128],
            "self_attn_depths": [False, True],
            "has_variance": True,
            **_SIZES,
        },
    },
    "unet that still grows": {
        "model": {
            "type": "image_v1",
            "input_channels": 1,
            "input_size": [8, 8],
            "patch_size": 2,
            "mapping_out": 8,
            "depths": [1, 1, 2],
            "channels": [4, 8, 16],
            "self_attn_depths": [False, False, True],
            "skip_stages": 1,
            "augment_wrapper": False,
            **_SIZES,
        },
    },
    "transformer": {
        "model": {
            "type": "image_transformer_v1",
            "input_channels": 3,
            "input_size": [4, 16],
            "patch_size": [2, 4],
            "width": 128,
            "depth": 2,
            **_SIZES,
        },
        "dataset": {"type": "imagefolder", "num_classes": 3},
    },
}


def tensors_by_formula(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """A tensor of each shape, told by its name alone."""
    found = {}
    for name, shape in shapes.items():
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        scale = 0.5 / np.sqrt(max(1, np.prod(shape[1:])))
        drawn = scale * np.random.default_rng(seed).standard_normal(shape)
        around = 1.0 if name.endswith((".scale", "freqs", "freqs_h", "freqs_w")) else 0.0
        found[name] = torch.from_numpy((np.abs(drawn) + around if around else drawn).astype(np.float32))
    return found


def images_by_formula(shape: list[int]) -> Tensor:
    """Two noisy images around [-1, 1]."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32))


def write_inference(path: Path, case: dict[str, Any], dtype: torch.dtype = torch.float32, header: bool = True) -> Path:
    """What k-diffusion's convert_for_inference.py writes."""
    tensors = {name: value.to(dtype) for name, value in tensors_by_formula(case["tensors"]).items()}
    save_file(tensors, path, metadata={"config": json.dumps(case["config"], indent=4)} if header else None)
    return path


def answers_of(network: Any, denoiser: Any, config: dict[str, Any], labels: list[int] | None) -> dict[str, Any]:
    """A case of the answers: what D is at each σ, with the weights by formula."""
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(tensors_by_formula(shapes))
    u = images_by_formula([config["model"]["input_channels"], *config["model"]["input_size"]])
    given = {} if labels is None else {"class_cond": torch.tensor(labels)}
    with torch.no_grad():
        found = [denoiser(u, torch.full((2,), sigma), **given).flatten().tolist() for sigma in SIGMAS]
    rounded = [[float(f"{number:.8g}") for number in row] for row in found]
    return {"config": config, "tensors": shapes, "labels": labels, "answers": rounded}


def main() -> None:
    """Ask k-diffusion."""
    import k_diffusion

    cases = json.loads(ANSWERS.read_text()) if ANSWERS.is_file() else {}
    for name, asked in CONFIGS.items():
        config = k_diffusion.config.load_config(json.loads(json.dumps(asked)))
        network = k_diffusion.config.make_model(config).eval()
        labels = [2, 3] if config["dataset"]["num_classes"] else None  # the last stands for "no class"
        denoiser = k_diffusion.config.make_denoiser_wrapper(config)(network)
        cases[name] = answers_of(network, denoiser, config, labels)
    ANSWERS.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
