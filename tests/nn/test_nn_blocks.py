from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dlkit.errors import RequestError
from dlkit.nn.dropout import Dropout
from dlkit.nn.mlp import MLP
from dlkit.nn.norm import BatchNorm, LayerNorm
from dlkit.nn.residual import ZeroPadShortcut, basic_block


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1)])
def test_zero_pad_shortcut_keeps_every_second_pixel_and_adds_empty_channels(size):
    x = torch.randn(2, 3, *size)
    y = ZeroPadShortcut(3, 5, 2)(x)
    assert y.shape == (2, 5, (size[0] + 1) // 2, (size[1] + 1) // 2)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2]) and not y[:, 3:].any()


@pytest.mark.parametrize(("channels", "stride"), [((6, 6), 1), ((4, 6), 2), ((4, 6), 1), ((6, 6), 2)])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_block_is_its_plain_twin_plus_the_shortcut(channels, stride, shortcut):
    torch.manual_seed(0)
    block = basic_block(*channels, stride=stride, shortcut=shortcut).double()
    plain = basic_block(*channels, stride=stride, residual=False).double()
    plain.load_state_dict(block.state_dict(), strict=False)
    assert not any("downsample" in name for name in plain.state_dict())
    x = torch.randn(3, channels[0], 7, 7, dtype=torch.float64)
    # Both end in relu: compare what goes into it.
    before: list[torch.Tensor] = []
    for module in (block, plain):
        module.bn2.register_forward_hook(lambda _m, _i, out: before.append(out.clone()))
    y, y_plain = block(x), plain(x)
    torch.testing.assert_close(before[0], before[1], rtol=0, atol=0)
    same = channels[0] == channels[1] and stride == 1
    assert (block.downsample is None) == same
    added = x if block.downsample is None else block.downsample(x)
    torch.testing.assert_close(y, F.relu(before[0] + added), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(y_plain, F.relu(before[1]), rtol=0, atol=0)
    assert not torch.allclose(y, y_plain)


def test_block_refuses_what_it_cannot_build():
    with pytest.raises(RequestError, match="from 8 channels to 4"):
        basic_block(8, 4, shortcut="A")
    with pytest.raises(RequestError, match="'C'"):
        basic_block(8, 8, shortcut="C")  # pyright: ignore[reportArgumentType]
    assert basic_block(8, 4, shortcut="B")(torch.randn(2, 8, 4, 4)).shape == (2, 4, 4, 4)
    assert basic_block(8, 4, residual=False)(torch.randn(2, 8, 4, 4)).shape == (2, 4, 4, 4)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 8, 4)])
def test_mlp_has_the_layers_in_order_and_a_bias_where_no_norm_follows(norm, hidden):
    mlp = MLP(5, 3, hidden=hidden, norm=norm, activation="tanh", dropout=0.25)
    kinds = [type(layer).__name__ for layer in mlp]
    normed = {"none": [], "batch": ["BatchNorm"], "layer": ["LayerNorm"], "group": ["GroupNorm"]}[norm]
    assert kinds == [kind for _ in hidden for kind in ("Linear", *normed, "Tanh", "Dropout")] + ["Linear"]
    widths = (5, *hidden, 3)
    linears = [p for name, p in mlp.named_parameters() if p.dim() == 2]
    assert [tuple(p.shape) for p in linears] == list(zip(widths[1:], widths[:-1], strict=True))
    per_width = 1 if norm == "none" else 2
    expected = sum(i * o for i, o in pairwise(widths)) + per_width * sum(hidden) + 3
    assert sum(p.numel() for p in mlp.parameters()) == expected
    assert all(layer.p == 0.25 for layer in mlp if isinstance(layer, Dropout))
    assert mlp(torch.randn(4, 5)).shape == (4, 3)


def test_mlp_leaves_dropout_out_at_zero_and_its_input_as_it_was():
    mlp = MLP(5, 3, norm="layer")
    assert not any(isinstance(layer, (Dropout, BatchNorm)) for layer in mlp)
    norm = mlp[1]
    assert isinstance(norm, LayerNorm) and not norm.channels_first
    x = torch.randn(4, 5)
    before = x.clone()
    mlp(x).sum().backward()
    assert torch.equal(x, before)


def test_mlp_refuses_an_empty_layer():
    with pytest.raises(RequestError, match=r"\(4, 0\)"):
        MLP(5, 3, hidden=(4, 0))


def test_block_leaves_its_input_as_it_was():
    for norm in ("none", "batch", "layer", "group"):
        block, x = basic_block(4, 4, norm=norm), torch.randn(2, 4, 5, 5, requires_grad=True)
        before = x.detach().clone()
        block(x).sum().backward()
        assert torch.equal(x.detach(), before) and isinstance(block.conv1, nn.Module)
