"""Make the shipped LPIPS-Alex weights: convolutions and linear layers in half precision, in one file.

    python scripts/convert_lpips.py FEATURES.safetensors LINEAR.pth DESTINATION.safetensors

FEATURES holds torchvision's AlexNet convolutions (features.{0,3,6,8,10}.{weight,bias}). LINEAR is the file
weights/v0.1/alex.pth of the package `lpips`. In the repository DESTINATION is
src/tangency/measures/weights/lpips_alex.safetensors, with a NOTICE beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from tangency.errors import DataError
from tangency.files import atomic

CHANNELS = {"features.0": 64, "features.3": 192, "features.6": 384, "features.8": 256, "features.10": 256}


def features(path: Path) -> dict[str, Tensor]:
    """The convolutions in half precision."""
    found = load_file(path)
    expected = {f"{layer}.{part}" for layer in CHANNELS for part in ("weight", "bias")}
    if set(found) != expected:
        raise DataError(f"{path}: keys {sorted(found)}, expected {sorted(expected)}.")
    return {key: tensor.to(torch.float16) for key, tensor in found.items()}


def linear(path: Path) -> dict[str, Tensor]:
    """The linear layers as vectors (C,) in half precision."""
    # The published file is a legacy checkpoint; weights_only builds tensors and runs nothing else of it.
    found = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    layers = {}
    for index, channels in enumerate(CHANNELS.values()):
        weight = found[f"lin{index}.model.1.weight"]
        if weight.shape != (1, channels, 1, 1):
            raise DataError(f"{path}: layer {index} of shape {tuple(weight.shape)}, expected (1, {channels}, 1, 1).")
        layers[f"linear.{index}"] = weight.reshape(channels).to(torch.float16)
    return layers


def card(*sources: Path) -> str:
    """Header of the file: what it is, whence, under which licences."""
    return json.dumps(
        {
            "what": "LPIPS with AlexNet",
            "version": "0.1",
            "precision": "float16",
            "features": {"source": "torchvision AlexNet, ImageNet weights", "licence": "BSD-3-Clause"},
            "linear": {
                "source": "lpips 0.1.4, weights/v0.1/alex.pth (Zhang et al. 2018)",
                "licence": "BSD-2-Clause",
            },
            "sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources],
        },
        sort_keys=True,
    )


def main() -> None:
    """Convert and print size and checksum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("linear", type=Path)
    parser.add_argument("destination", type=Path)
    arguments = parser.parse_args()
    tensors = features(arguments.features) | linear(arguments.linear)
    content = save(tensors, {"card": card(arguments.features, arguments.linear)})
    with atomic(arguments.destination) as temporary:
        temporary.write_bytes(content)
    print(f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
