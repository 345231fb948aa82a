"""Batch norm in a transformer's encoder, against torch's own encoder layer with torch's own batch norm in it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlkit.errors import DlkitError
from dlkit.models.bert import BERT
from dlkit.nn.transformer import TransformerBlock
from tests.nn.encoder_layer import block_state

LENGTHS = torch.tensor([7, 4, 6])  # of three sequences


class NormOfRealTokens(nn.BatchNorm1d):
    """torch's batch norm over the rows that are no padding, which `real` says of the next batch."""

    real = torch.ones(3, 7, dtype=torch.bool)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input.movedim(-1, 1)).movedim(1, -1)
        rows = iter(super().forward(input[self.real]))
        return torch.stack([torch.stack([next(rows) if r else 0 * x for x, r in zip(xs, rs, strict=True)])
                            for xs, rs in zip(input, self.real, strict=True)])  # fmt: skip


def layer_and_twin(norm_first: bool) -> tuple[TransformerBlock, nn.TransformerEncoderLayer]:
    options: dict[str, Any] = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": norm_first}
    theirs = nn.TransformerEncoderLayer(16, 4, 24, **options).double()
    theirs.norm1, theirs.norm2 = NormOfRealTokens(16).double(), NormOfRealTokens(16).double()  # pyright: ignore
    for parameter in theirs.parameters():
        parameter.data.normal_(std=0.3)
    ours = TransformerBlock(16, 4, 24, causal=False, norm_first=norm_first, norm="batch").double()
    ours.load_state_dict(block_state(theirs))
    return ours, theirs


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_block_is_torchs_encoder_layer(norm_first: bool, padded: bool) -> None:
    """In training, gradients and running statistics among it, and then in evaluation."""
    ours, theirs = layer_and_twin(norm_first)
    real = torch.arange(7) < LENGTHS[:, None] if padded else torch.ones(3, 7, dtype=torch.bool)
    mask = real[:, None, None, :] if padded else None
    for norm in (theirs.norm1, theirs.norm2):
        norm.real = real
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        x = torch.randn(3, 7, 16, dtype=torch.float64, requires_grad=True)
        twin = x.detach().clone().requires_grad_()
        found, expected = ours(x, mask)[real], theirs(twin, src_key_padding_mask=~real)[real]
        torch.testing.assert_close(found, expected)
        found.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(x.grad, twin.grad)
    for norm, other in ((ours.attention_norm, theirs.norm1), (ours.mlp_norm, theirs.norm2)):
        assert norm.num_batches_tracked == 2
        torch.testing.assert_close(norm.running_mean, other.running_mean)
        torch.testing.assert_close(norm.running_var, other.running_var)


@pytest.mark.parametrize("norm_first", [False, True])
def test_more_padding_changes_nothing(norm_first: bool) -> None:
    """Neither what a classifier answers in training, nor what its norms keep of the batch."""
    torch.manual_seed(0)
    model = BERT(
        20, 12, 3, layers=2, heads=2, width=8, norm_first=norm_first, norm="batch", pooling="mean", dropout=0,
        attention_dropout=0,
    ).double()  # fmt: skip
    other = copy.deepcopy(model)
    tokens = torch.randint(20, (3, 7))
    real = torch.arange(7) < LENGTHS[:, None]
    more = nn.functional.pad(tokens, (0, 5), value=1), nn.functional.pad(real, (0, 5))
    torch.testing.assert_close(model(tokens, real=real), other(more[0], real=more[1]))
    for (name, value), theirs in zip(model.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(value, theirs, msg=name)
    model.eval()
    torch.testing.assert_close(model(tokens, real=real)[1:2], model(tokens[1:2, :4]))


def test_norm_moves_no_other_weight() -> None:
    """Models of both norms start alike, so that they can be compared."""
    weights = []
    for norm in ("layer", "batch"):
        torch.manual_seed(0)
        weights.append(dict(BERT(20, 12, None, layers=1, heads=2, width=8, norm=norm).named_parameters()))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_single_token_cannot_be_normalized() -> None:
    model = BERT(20, 12, None, layers=1, heads=2, width=8, norm="batch")
    with pytest.raises(DlkitError, match="batch norm cannot train on one value a channel"):
        model(torch.ones(1, 1, dtype=torch.int64))
