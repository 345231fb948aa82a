from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dlkit.errors import DlkitError, RequestError
from dlkit.nn.norm import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    batch_norm_reference,
    group_norm_reference,
    layer_norm_reference,
    norm_layer,
)

F64 = torch.float64


def randomized(module: nn.Module) -> nn.Module:
    """The module in float64, its weight and bias away from 1 and 0."""
    module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.5)
    return module


def gradients(y, inputs, cotangent):
    return torch.autograd.grad(y, inputs, cotangent, retain_graph=True)


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3, 2), (2, 5, 1, 1)])
@pytest.mark.parametrize("momentum", [0.1, 0.5])
def test_batch_norm_over_steps_equals_torch_and_the_equation(shape, momentum):
    torch.manual_seed(0)
    ours = randomized(BatchNorm(5, momentum=momentum))
    twin = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(5, momentum=momentum).double()
    twin.load_state_dict(ours.state_dict())
    mean, var = torch.zeros(5, dtype=F64), torch.ones(5, dtype=F64)
    for step in range(6):
        training = step not in (2, 5)  # evaluation between training steps must not move the statistics
        ours.train(training)
        twin.train(training)
        x = (3 * torch.randn(shape, dtype=F64) + 2).requires_grad_()
        cotangent = torch.randn(shape, dtype=F64)
        y = ours(x)
        expected = twin(x)
        reference, mean, var = batch_norm_reference(
            x, ours.weight, ours.bias, mean, var, training=training, momentum=momentum, eps=1e-5
        )
        for other in (expected, reference):
            torch.testing.assert_close(y, other, rtol=1e-11, atol=1e-11)
        for other, module in ((expected, twin), (reference, ours)):
            torch.testing.assert_close(
                gradients(y, (x, ours.weight, ours.bias), cotangent),
                gradients(other, (x, module.weight, module.bias), cotangent),
                rtol=1e-9,
                atol=1e-9,
            )
        torch.testing.assert_close(ours.running_mean, mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.running_var, var, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.state_dict(), twin.state_dict(), rtol=0, atol=0)
    assert list(ours.state_dict()) == list(twin.state_dict())
    assert ours.num_batches_tracked.item() == 4


def test_batch_norm_divides_by_the_root_of_variance_plus_eps():
    # With one constant channel, sqrt(Var + eps) and sqrt(Var) + eps differ by a factor of sqrt(eps).
    x = torch.tensor([[0.0], [2e-3]], dtype=F64)  # mean 1e-3, variance 1e-6
    y = BatchNorm(1, eps=1e-5).double()(x)
    assert y[1, 0].item() == pytest.approx(1e-3 / (1e-6 + 1e-5) ** 0.5, rel=1e-12)
    assert y[1, 0].item() != pytest.approx(1e-3 / (1e-3 + 1e-5), rel=0.5)


@pytest.mark.parametrize("shape", [(1, 5), (1, 5, 1, 1)])
def test_batch_norm_refuses_to_train_on_one_value(shape):
    layer = BatchNorm(5)
    with pytest.raises(DlkitError, match=r"one value a channel: its input is \(1, 5"):
        layer(torch.zeros(shape))
    assert layer.num_batches_tracked == 0
    assert layer.eval()(torch.zeros(shape)).shape == shape


@pytest.mark.parametrize("shape", [(6, 8), (3, 4, 8)])
def test_layer_norm_over_the_last_dimension(shape):
    torch.manual_seed(0)
    ours = randomized(LayerNorm(8, eps=1e-6))
    twin = nn.LayerNorm(8, eps=1e-6).double()
    twin.load_state_dict(ours.state_dict())
    x = (3 * torch.randn(shape, dtype=F64) + 2).requires_grad_()
    cotangent = torch.randn(shape, dtype=F64)
    y, expected = ours(x), twin(x)
    reference = layer_norm_reference(x, ours.weight, ours.bias, eps=1e-6, channels_first=False)
    for other, module in ((expected, twin), (reference, ours)):
        torch.testing.assert_close(y, other, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            gradients(y, (x, ours.weight, ours.bias), cotangent),
            gradients(other, (x, module.weight, module.bias), cotangent),
            rtol=1e-11,
            atol=1e-11,
        )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_layer_norm_over_the_channels_of_images(memory_format):
    torch.manual_seed(0)
    ours = randomized(LayerNorm(8, channels_first=True))
    x = torch.randn(2, 8, 3, 5, dtype=F64).to(memory_format=memory_format).requires_grad_()
    cotangent = torch.randn(2, 8, 3, 5, dtype=F64)
    y = ours(x)
    reference = layer_norm_reference(x, ours.weight, ours.bias, eps=1e-5, channels_first=True)
    # One pixel is one position: torch's LayerNorm on its channels alone.
    pixel = nn.functional.layer_norm(x[1, :, 2, 3], (8,), ours.weight, ours.bias)
    torch.testing.assert_close(y[1, :, 2, 3], pixel, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(y, reference, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        gradients(y, (x, ours.weight, ours.bias), cotangent),
        gradients(reference, (x, ours.weight, ours.bias), cotangent),
        rtol=1e-11,
        atol=1e-11,
    )


@pytest.mark.parametrize(
    ("groups", "shape"), [(1, (5, 8)), (4, (5, 8)), (1, (2, 8, 3, 5)), (2, (2, 8, 3, 5)), (8, (2, 8, 3, 5))]
)
def test_group_norm(groups, shape):
    torch.manual_seed(0)
    ours = randomized(GroupNorm(groups, 8))
    twin = nn.GroupNorm(groups, 8).double()
    twin.load_state_dict(ours.state_dict())
    x = torch.randn(shape, dtype=F64).requires_grad_()
    cotangent = torch.randn(shape, dtype=F64)
    y, expected = ours(x), twin(x)
    reference = group_norm_reference(x, groups, ours.weight, ours.bias, eps=1e-5)
    for other, module in ((expected, twin), (reference, ours)):
        torch.testing.assert_close(y, other, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            gradients(y, (x, ours.weight, ours.bias), cotangent),
            gradients(other, (x, module.weight, module.bias), cotangent),
            rtol=1e-10,
            atol=1e-10,
        )


@pytest.mark.parametrize(
    ("channels", "groups"), [(256, 32), (128, 32), (64, 16), (32, 8), (16, 4), (10, 2), (7, 1), (3, 1), (96, 24)]
)
def test_groups_keep_at_least_four_channels(channels, groups):
    layer = norm_layer("group", channels, 2)
    assert isinstance(layer, GroupNorm) and layer.groups == groups


def test_factory_picks_by_name_and_dimension():
    assert isinstance(norm_layer("batch", 4, 1), BatchNorm) and isinstance(norm_layer("none", 4, 2), nn.Identity)
    rows, images = norm_layer("layer", 4, 1), norm_layer("layer", 4, 2)
    assert isinstance(rows, LayerNorm) and not rows.channels_first
    assert isinstance(images, LayerNorm) and images.channels_first


def test_refusals_name_the_value():
    with pytest.raises(RequestError, match="'instance'"):
        norm_layer("instance", 4, 2)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RequestError, match="3 groups do not divide 8"):
        GroupNorm(3, 8)
    for name, dims in (("layer", 1), ("layer", 2), ("group", 1)):
        with pytest.raises(RequestError, match=f"{name} norm over 1 channel"):
            norm_layer(name, 1, dims)


def test_a_copy_keeps_its_own_statistics():
    layer = BatchNorm(3)
    other = copy.deepcopy(layer)
    layer(torch.randn(4, 3))
    assert other.num_batches_tracked == 0 and torch.equal(other.running_mean, torch.zeros(3))


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e150, 1e200, 1e300])
def test_equations_hold_for_huge_and_tiny_numbers(scale):
    x = torch.tensor([[1.0, 2.0, 3.0, 5.0], [1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)
    weight, bias = torch.ones(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    got = layer_norm_reference(scale * x, weight, bias, eps=1e-5, channels_first=False)
    # the mean of squares of x in proportion to eps is what counts: from 1e30 on, eps is nothing beside it
    expected = F.layer_norm(x * min(scale, 1e30), (4,), eps=1e-5)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)
