"""Make the weights of a perceptual metric: convolutions and the metric's own layers, in one file.

    python scripts/convert_lpips.py [--network alex] FEATURES LINEAR DESTINATION.safetensors

The shipped file is that of `--network alex`, in half precision: FEATURES.safetensors holds torchvision's AlexNet
convolutions (features.{0,3,6,8,10}.{weight,bias}), LINEAR is weights/v0.1/alex.pth of the package `lpips`, and
DESTINATION src/tangency/perceptual/weights/lpips_alex.safetensors, with a NOTICE beside it.

For `--network vgg`, `squeeze` and `dists` FEATURES is torchvision's own file (vgg16-397923af.pth,
squeezenet1_1-b8a52dc0.pth), LINEAR is weights/v0.1/vgg.pth or squeeze.pth of `lpips`, or weights.pt of `DISTS_pytorch`,
and all numbers keep single precision.
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
from tangency.formats.torch_file import read_torch
from tangency.perceptual.backbones import BACKBONES

BACKBONE_OF = {"vgg": "vgg", "squeeze": "squeeze", "dists": "vgg"}
CHANNELS = {"features.0": 64, "features.3": 192, "features.6": 384, "features.8": 256, "features.10": 256}


def features(path: Path) -> dict[str, Tensor]:
    """The convolutions in half precision."""
    tensors = load_file(path)
    expected = {f"{layer}.{part}" for layer in CHANNELS for part in ("weight", "bias")}
    if set(tensors) != expected:
        raise DataError(f"{path}: keys {sorted(tensors)}, expected {sorted(expected)}.")
    return {key: tensor.to(torch.float16) for key, tensor in tensors.items()}


def linear(path: Path) -> dict[str, Tensor]:
    """The linear layers as vectors (C,) in half precision."""
    tensors, layers = read_torch(path), {}
    for index, channels in enumerate(CHANNELS.values()):
        weight = tensors[f"lin{index}.model.1.weight"]
        if weight.shape != (1, channels, 1, 1):
            raise DataError(f"{path}: layer {index} of shape {tuple(weight.shape)}, expected (1, {channels}, 1, 1).")
        layers[f"linear.{index}"] = weight.reshape(channels).to(torch.float16)
    return layers


def card(*sources: Path) -> str:
    """Header of the file: content, sources and licences."""
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


def published(network: str, features_path: Path, head_path: Path) -> dict[str, Tensor]:
    """The tensors of LPIPS-VGG, LPIPS-Squeeze or DISTS from the files of torchvision and of the metric's authors."""
    needed = BACKBONES[BACKBONE_OF[network]].parameter_names()
    backbone = _tensors(features_path)
    if absent := sorted(needed - backbone.keys()):
        raise DataError(f"{features_path}: no tensor {absent[0]}, expected torchvision's weights.")
    head = _tensors(head_path)
    names = {f"lin{i}.model.1.weight": f"linear.{i}" for i in range(len(head))}
    if network == "dists":
        names = {"alpha": "alpha", "beta": "beta"}
    if set(head) != set(names):
        raise DataError(f"{head_path}: keys {sorted(head)}, expected {sorted(names)}.")
    own = {name: head[key].detach().flatten().clone() for key, name in names.items()}
    return {key: backbone[key].detach().clone() for key in sorted(needed)} | own


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    tensors = read_torch(path)
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise DataError(f"{path}: holds a {type(tensors).__name__}, expected tensors by name.")
    return dict(tensors)


def hashes(*sources: Path) -> str:
    """Header of a file that is not shipped: what it was made of."""
    return json.dumps({"sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}})


def main() -> None:
    """Convert and print size and checksum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("linear", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--network", choices=("alex", *BACKBONE_OF), default="alex")
    arguments = parser.parse_args()
    if arguments.network == "alex":
        tensors = features(arguments.features) | linear(arguments.linear)
        header = card(arguments.features, arguments.linear)
    else:
        tensors = published(arguments.network, arguments.features, arguments.linear)
        header = hashes(arguments.features, arguments.linear)
    content = save(tensors, {"card": header})
    with atomic(arguments.destination) as temporary:
        temporary.write_bytes(content)
    print(f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
