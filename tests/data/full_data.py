"""The full data sets, for the tests that need them; absent, those tests are skipped and say what they want."""

import os
from pathlib import Path

import pytest

VARIABLE = "TANGENCY_DATA"
ROOT = Path(os.environ.get(VARIABLE) or f"{VARIABLE}-is-not-set").expanduser()

# What a test may ask for, and what that is.
WANTED = {
    "fashion-mnist": "a folder with the four .gz files of Fashion-MNIST",
    "mnist": "a folder with the four .gz files of MNIST",
    "cifar10-train.parquet": "the training images of CIFAR-10 as the Hugging Face Hub has them",
    "cifar10-test.parquet": "the test images of CIFAR-10 as the Hugging Face Hub has them",
    "onnx": "a folder with cifar10_small.onnx and mnist-net_256x2.onnx of the VNN-COMP 2021 benchmarks",
    "foreign-cifar10-measures.json": "the measures of eleven third-party networks of CIFAR-10",
    "lpips": "a folder with ex_ref.png, ex_p0.png and ex_p1.png of the LPIPS authors, and with torchvision's AlexNet "
    "convolutions as alexnet_features.safetensors",
}


def needs(*names):
    """Mark a test that needs these files or folders in the folder that $TANGENCY_DATA names."""
    return pytest.mark.full_data(*names)


def lacking(names):
    """Why a test that needs these cannot run here: what is wanted, and how to give it; None where all is there."""
    missing = [name for name in names if not (ROOT / name).exists()]
    if ROOT.is_dir() and not missing:
        return None
    wanted = "; ".join(f"{name} ({WANTED[name]})" if name in WANTED else name for name in missing or names)
    found = f"'{ROOT}' lacks it" if ROOT.is_dir() else "it names none"
    return f"wants {wanted or 'data'} in the folder that {VARIABLE} names; {found}: make test-data {VARIABLE}=DIR"
