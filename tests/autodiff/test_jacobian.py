"""Products with the Jacobian against reverse mode, through attention, too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.autodiff import double_backward, jacobians, pushforward
from tangency.errors import NumericsError


class Attending(nn.Module):
    """(N, 6) to (N, 4) through scaled dot-product attention and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.out, self.norm = nn.Linear(2, 12), nn.Linear(12, 4), nn.BatchNorm1d(12)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.into(x.reshape(len(x), 3, 2)).chunk(3, 2)
        found = F.scaled_dot_product_attention(q, k, v).flatten(1)
        return self.out(self.norm(torch.tanh(found)))


def test_products_and_jacobians_are_those_of_reverse_mode() -> None:
    net = Attending().double().eval().requires_grad_(False)
    x = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v = torch.randn(5, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with double_backward():
        expected = torch.stack([torch.func.jacrev(lambda u: net(u[None])[0])(row) for row in x])
    value, found = jacobians(net, x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(value, net(x))
    value, products = pushforward(net, x, v)
    torch.testing.assert_close(products, torch.einsum("noi,nqi->nqo", expected, v))
    assert not products.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(pushforward(net, x, v)[1].clone(), products)


def test_images_and_their_vectors_keep_their_shapes() -> None:
    x, v = torch.rand(2, 1, 3, 4), torch.rand(2, 7, 1, 3, 4)
    value, found = pushforward(lambda u: u.square(), x, v)
    torch.testing.assert_close(found, 2 * x[:, None] * v)
    assert value.shape == x.shape
    with pytest.raises(NumericsError, match=r"expected \(N, q, …\)"):
        pushforward(lambda u: u, x, v[:, 0])


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda x: torch.from_numpy(x.numpy()) * 2, id="NumPy"),
        pytest.param(lambda x: x + torch.rand_like(x), id="noise"),
    ],
)
def test_what_forward_mode_cannot_do_is_said(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(NumericsError, match="Expected torch operations only"):
        jacobians(function, torch.rand(2, 3))
