"""Contexts that restore a caller's module, also after an exception."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def undisturbed(module: nn.Module, train: bool = False) -> Iterator[None]:
    """Run `module` in eval (or train) mode with parameters frozen; restore every mode and flag afterwards.

    Frozen parameters make an input gradient cheaper and leave every parameter's `.grad` untouched. Parts under
    `torch.compile` run as they were before it: compiled graphs refuse a second backward pass.
    """
    modes = [(part, part.training) for part in module.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.train(train)
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        with _uncompiled(module):
            yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def _uncompiled(module: nn.Module) -> contextlib.AbstractContextManager[None]:
    compiled = any(hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in module.modules())
    return torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()


@contextlib.contextmanager
def double_backward() -> Iterator[None]:
    """Attention in its MATH form, the only one with forward-mode and double-backward kernels everywhere."""
    with sdpa_kernel(SDPBackend.MATH):
        yield
