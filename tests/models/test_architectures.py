"""Architectures: any channels and sizes, every pixel counts, weights from the seed alone."""

import pytest
import torch
from torch.nn import functional as F

from tangency.errors import ModelError
from tangency.models import ARCHITECTURES, build
from tangency.models.architectures.convnet import fold
from tangency.models.architectures.layers import ACTIVATIONS, NORMS

SMALL = {"convnet": {"channels": (3, 5, 7)}, "resnet18": {"width": 2}}


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 11, 13), (2, 28, 28), (1, 56, 28), (3, 47, 29)])
def test_every_pixel_reaches_the_logits(architecture, shape):
    net = build(architecture, shape, 5, seed=1, norm="none", **SMALL[architecture]).double()
    for parameter in net.parameters():  # resnet18 without norm starts its branches at zero
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)).double() * 0.3
    net.eval()
    x = torch.rand(2, *shape, dtype=torch.float64, requires_grad=True)
    logits = net(x)
    assert logits.shape == (2, 5)
    (gradient,) = torch.autograd.grad((logits * torch.rand(5, dtype=torch.float64)).sum(), x)
    assert bool((gradient != 0).float().mean() > 0.95)
    assert bool((gradient != 0).any(3).all()), "a row of pixels has no influence"
    assert bool((gradient != 0).any(2).all()), "a column of pixels has no influence"


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("norm", sorted(NORMS))
def test_every_variant_has_a_second_derivative_and_eval_logits_of_each_image_alone(architecture, activation, norm):
    net = build(architecture, (2, 11, 13), 3, seed=4, activation=activation, norm=norm, **SMALL[architecture])
    net.eval()
    x = torch.rand(5, 2, 11, 13, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(net(x).logsumexp(1).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    weights = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    assert any(bool((weight != 0).any()) for weight in weights)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[3:4], net(x[3:4]), rtol=1e-4, atol=1e-5)


def test_only_batch_norm_couples_images_while_training():
    x = torch.rand(5, 1, 11, 13)
    for norm, coupled in (("batch", True), ("group", False), ("none", False)):
        net = build("convnet", (1, 11, 13), 3, norm=norm, channels=(3, 5, 7)).train()
        with torch.no_grad():
            alone = net(x[:2])[0]
            assert torch.allclose(net(x)[0], alone, atol=1e-5) is not coupled


def test_folded_pixels_are_a_six_by_six_convolution_of_stride_two():
    net = build("convnet", (2, 16, 16), 3, seed=5).module
    first = net.features[0]
    blocks = first.weight.reshape(16, 2, 2, 2, 3, 3)  # out, channel, row in block, column in block, block row, column
    kernel = blocks.permute(0, 1, 4, 2, 5, 3).reshape(16, 2, 6, 6)
    x = torch.rand(3, 2, 16, 16)
    torch.testing.assert_close(
        F.conv2d(x, kernel, first.bias, stride=2, padding=2), first(fold(x)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_no_images_give_no_logits(architecture):
    net = build(architecture, (2, 11, 13), 3, **SMALL[architecture]).eval()
    assert net(torch.rand(0, 2, 11, 13)).shape == (0, 3)


def test_resnet18_has_the_published_number_of_parameters():
    net = build("resnet18", (3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in net.parameters()) == 11_173_962


def test_weights_depend_on_the_seed_only_and_the_random_state_is_left_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one = build("convnet", (1, 9, 9), 3, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    same, other = (build("convnet", (1, 9, 9), 3, seed=seed).state_dict() for seed in (7, 8))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["module.head.weight"], other["module.head.weight"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build("convnt", (1, 9, 9), 3), "Did you mean 'convnet'"),
        (lambda: build("convnet", (1, 9, 9), 3, chanels=(1, 2, 3)), "Did you mean 'channels'"),
        (lambda: build("convnet", (1, 9, 9), 3, activation="rellu"), "Did you mean 'relu'"),
        (lambda: build("resnet18", (1, 9, 9), 3, norm="batches"), "Did you mean 'batch'"),
        (lambda: build("convnet", (1, 7, 9), 3), "7x9"),
        (lambda: build("resnet18", (1, 9, 7), 3), "sides >= 8"),
        (lambda: build("convnet", (1, 9, 9), 3, channels=(1, 2)), "three positive widths"),
        (lambda: build("resnet18", (1, 9, 9), 3, width="wide"), "cannot be built"),
        (lambda: build("convnet", (1, 9, 9), 1), "at least 2"),
    ],
)
def test_wrong_choices_are_named(call, message):
    with pytest.raises(ModelError, match=message):
        call()


def test_with_the_stem_of_imagenet_it_is_torchvisions_resnet18():
    from torchvision.models import resnet18

    theirs, ours = resnet18(num_classes=7), build("resnet18", (3, 64, 64), 7, stem="imagenet").module
    values = list(theirs.state_dict().values())
    generator = torch.Generator().manual_seed(0)
    random = [torch.rand(value.shape, generator=generator) if value.is_floating_point() else value for value in values]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), random, strict=True)))
    state = dict(zip(ours.state_dict(), random, strict=True))  # in the order of the layers, which is the same
    ours.load_state_dict(state)
    x = torch.rand(2, 3, 64, 64, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match=r"unknown stem 'imagnet'\. Did you mean 'imagenet'"):
        build("resnet18", (3, 64, 64), 7, stem="imagnet")
