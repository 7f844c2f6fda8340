"""Stand-ins for the small twins of the paper's ImageNet studies, in the formats that the published files have.

    python scripts/stand_ins.py stand-ins

writes images of CIFAR-10 enlarged to 64 and 224 pixels (where TANGENCY_DATA has CIFAR-10), a network as EDM pickles its
own, and checkpoints as the library `robustness` saves them, all of random weights. It wants a checkout with the
development dependencies, whose tests write the same formats.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import tangency
from tangency.types import Dataset

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from score.edm_fixture import adm_oracle, edm_bytes, ncsn_oracle, persistent, precond

SIDES = {64: (1000, 200), 224: (300, 100)}  # pixels to training and test images
EPSILONS = ("0", "3")
SEED = 0


def write_images(data: Dataset, folder: Path, side: int) -> Path:
    """Images of CIFAR-10, enlarged by bilinear interpolation, as .npz."""
    arrays: dict[str, np.ndarray] = {"classes": np.array(data.train.classes)}
    for name, split, count in zip(("train", "test"), (data.train, data.test), SIDES[side], strict=True):
        large = F.interpolate(split.images(slice(0, count)), size=(side, side), mode="bilinear", align_corners=False)
        arrays[f"{name}_images"] = (large * 255).round().byte().permute(0, 2, 3, 1).numpy()
        arrays[f"{name}_labels"] = split.labels[:count].numpy()
    path = folder / f"cifar10-{side}.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def write_score(path: Path, side: int, classes: int, width: int = 32) -> Path:
    """A network of EDM: ADM with classes, as that for ImageNet-64, or DDPM++ without, as that for CIFAR-10."""
    options = {
        "img_resolution": side,
        "in_channels": 3,
        "out_channels": 3,
        "label_dim": classes,
        "augment_dim": 0 if classes else 9,
        "model_channels": width,
        "channel_mult": [1, 1],
        "num_blocks": 1,
        "attn_resolutions": [],
    }
    oracle = adm_oracle(seed=SEED, **options) if classes else ncsn_oracle("ddpm", seed=SEED, **options)
    network = precond(persistent(oracle, options), img_resolution=side, label_dim=classes)
    path.write_bytes(edm_bytes(network))
    return path


def write_robust(path: Path, seed: int = SEED) -> Path:
    """A ResNet-18 of 1,000 classes as `robustness.train` saves it: DataParallel around the network and its attacker."""
    from torchvision.models import resnet18

    torch.manual_seed(seed)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    model = {}
    for scope in ("module.normalizer", "module.attacker.normalize"):
        model |= {f"{scope}.new_mean": mean.view(3, 1, 1), f"{scope}.new_std": std.view(3, 1, 1)}
    state = resnet18(num_classes=1000).state_dict()
    for scope in ("module.model.", "module.attacker.model."):
        model |= {f"{scope}{name}": value for name, value in state.items()}
    content = {"model": model, "optimizer": {"state": {}}, "epoch": 90, "prec1": torch.tensor(0.0)}
    torch.save(content, path)  # noqa: TID251 - the published format is a pickle
    return path


def main(folder: Path) -> None:
    """Everything that `small/imagenet64` and `small/imagenet` name."""
    folder.mkdir(parents=True, exist_ok=True)
    train, test = SIDES[64]
    data = tangency.load_data(f"cifar10?train={train}&test={test}")
    written = [write_images(data, folder, side) for side in SIDES]
    written.append(write_score(folder / "stand-in-64x64-cond-adm.pkl", 64, 10))
    written += [write_robust(folder / f"resnet18_l2_eps{eps}.ckpt", seed) for seed, eps in enumerate(EPSILONS)]
    for path in written:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "stand-ins"))
