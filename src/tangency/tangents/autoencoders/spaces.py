"""Tangent spaces as the column space of a decoder's Jacobian, as in the paper, in batched forward mode."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor, nn

from tangency.autodiff import jacobians, undisturbed
from tangency.devices import chunk_bytes
from tangency.errors import NumericsError, quoted
from tangency.numerics import check_rank, flat
from tangency.tangents.autoencoders.network import Autoencoder
from tangency.tangents.space import TangentSpace, chunks
from tangency.tangents.spectrum import Rank, choose_rank, orthonormal
from tangency.tensors import digest


@final
class AutoencoderTangents:
    """span J, J = ∂decode/∂z at z = encode(x): the tangent space at the reconstruction decode(z), not at x.

    All columns of J come from one pass of forward-mode differentiation, and the basis from an eigendecomposition of
    JᵀJ in float64. `TangentSpace.residual` is ‖x − decode(encode(x))‖, `spectrum` the singular values of J.

    Args:
        module: with `encode` and `decode`; runs in eval mode and is left as it was found.
        shape: (C, H, W).
        rank: a number, or a rule of `choose_rank` over the singular values.
        tolerance: of the rule "relative": directions with more than this share of the largest singular value. A
            collapsed direction of the code has a column of nearly 0, and does not count.
        name: kind, as shown in reports.
        card: options and provenance, part of the identity of stored tangent spaces.

    Raises:
        NumericsError: a decoder whose output has another shape, a code of d or more numbers, NaN in a Jacobian.

    Deviation: the paper orthonormalises by scipy.linalg.orth, which keeps every direction that is not zero to rounding;
    rank="relative", tolerance=0 is that.
    """

    kind, where = "autoencoder", "at the reconstruction"

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, int, int],
        rank: Rank = "relative",
        tolerance: float = 0.05,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        if not (isinstance(module, nn.Module) and isinstance(module, Autoencoder)):
            raise NumericsError(f"autoencoder: got {type(module).__name__}, expected a module with encode and decode.")
        self.module, self.shape, self.rank, self.tolerance = module, shape, rank, tolerance
        about = card or {"weights": digest(module.state_dict())}
        self.card = {"kind": self.kind, "rank": rank, "tolerance": tolerance, **about}
        self._latent = self._probed()
        self.max_rank = rank if isinstance(rank, int) else self._latent
        check_rank(self._latent, math.prod(shape))
        if self.max_rank > self._latent:
            raise NumericsError(f"rank: got {self.max_rank}, expected at most the {self._latent} numbers of a code.")

    def _probed(self) -> int:
        """Numbers of a code, after a check of the module's output."""
        parameter = next(self.module.parameters(), torch.zeros(1))
        blank = torch.full((2, *self.shape), 0.5, device=parameter.device, dtype=parameter.dtype)
        with undisturbed(self.module), torch.no_grad():
            try:
                code = self.module.encode(blank)
                decoded = self.module.decode(code)
                if not (isinstance(code, Tensor) and isinstance(decoded, Tensor)):
                    raise TypeError("encode and decode must give tensors")
            except (RuntimeError, TypeError, ValueError, AttributeError) as error:
                raise NumericsError(f"autoencoder: cannot take images of {self.shape} ({quoted(error)}).") from error
        if decoded.shape != blank.shape or len(code) != len(blank):
            raise NumericsError(
                f"autoencoder: its decoder gives {tuple(decoded.shape)} for images of {tuple(blank.shape)} and codes "
                f"of {tuple(code.shape)}; expected the shape of the images."
            )
        self._dtype, self._device = parameter.dtype, parameter.device
        return code[0].numel()

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at the reconstructions of x (N, C, H, W), basis in the dtype of x."""
        with undisturbed(self.module):
            size = chunk_bytes(self._device) // self._bytes
            return TangentSpace.concatenate([self._at(x[part], part.start) for part in chunks(x, size)])

    def retract(self, x: Tensor) -> Tensor:
        """decode(encode(x)) of images (N, C, H, W)."""
        with undisturbed(self.module), torch.no_grad():
            return self.module.decode(self.module.encode(x.to(self._device, self._dtype))).to(x)

    def _at(self, x: Tensor, start: int) -> TangentSpace:
        inputs = x.to(self._device, self._dtype)
        with torch.no_grad():
            code = self.module.encode(inputs)
        base, jacobian = jacobians(self.module.decode, code)
        refuse_bad(jacobian, start, "the Jacobian of its decoder")
        basis, lengths = orthonormal(jacobian)
        rank = choose_rank(lengths, self.rank, self.max_rank, self.tolerance)
        residual = (flat(inputs) - flat(base)).double().square().sum(1).sqrt()
        space = TangentSpace(basis[:, :, : self.max_rank].to(x), rank.to(x.device)).cut(rank.to(x.device))
        return dataclasses.replace(
            space, spectrum=lengths.to(x.device), base=base.to(x), residual=residual.to(x.device)
        )

    @cached_property
    def _bytes(self) -> int:
        """Memory of one image: its Jacobian in double precision thrice, and the largest activations of its tangents."""
        largest = [0]

        def count(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            numbers = sum(t[0].numel() for t in (*inputs, output) if isinstance(t, Tensor) and len(t))
            largest[0] = max(largest[0], numbers)

        hooks = [part.register_forward_hook(count) for part in self.module.modules() if not list(part.children())]
        try:
            self._probed()
        finally:
            for hook in hooks:
                hook.remove()
        activations = self._latent * largest[0] * self._dtype.itemsize
        return max(1, activations + 3 * 8 * self._latent * math.prod(self.shape))


def refuse_bad(values: Tensor, start: int, what: str) -> None:
    """Raise, with the places of the images, where values (N, …) are not finite."""
    bad = (~torch.isfinite(values)).flatten(1).any(1).nonzero().flatten()[:5]
    if len(bad):
        raise NumericsError(
            f"tangents: {what} is NaN or infinite for images {(bad + start).tolist()}. Its weights are damaged, its "
            "training diverged, or the images are far from those of training."
        )
