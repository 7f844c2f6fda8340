"""Contexts that leave a caller's module as they found it, also after an exception."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def undisturbed(module: nn.Module, train: bool = False) -> Iterator[None]:
    """Run `module` in eval (or train) mode with parameters frozen; restore every mode and flag afterwards.

    Frozen parameters make an input gradient cheaper and leave every parameter's `.grad` untouched.
    """
    modes = [(part, part.training) for part in module.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.train(train)
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextlib.contextmanager
def double_backward() -> Iterator[None]:
    """Attention in its MATH form, the only one with forward-mode and double-backward kernels everywhere."""
    with sdpa_kernel(SDPBackend.MATH):
        yield
