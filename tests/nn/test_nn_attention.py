"""Attention, positions and transformer blocks against torch's own and against their equations."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.errors import RequestError
from dlkit.nn import attention as module
from dlkit.nn.attention import MultiHeadAttention
from dlkit.nn.cache import Cache
from dlkit.nn.embedding import Embedding, Sinusoids, sinusoids
from dlkit.nn.transformer import TransformerBlock
from tests.nn.encoder_layer import block_state

SHAPES = [(1, 1, 1, 4), (2, 7, 3, 5), (3, 16, 4, 8)]


@pytest.fixture(autouse=True)
def double() -> None:
    torch.manual_seed(0)


def random_qkv(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    batch, tokens, heads, size = shape
    q, k, v = torch.randn(3, batch, heads, tokens, size, dtype=torch.float64)
    return q, k, v


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["full", "causal", "padded"])
def test_the_equation_is_torchs_kernel(shape: tuple[int, int, int, int], kind: str) -> None:
    q, k, v = random_qkv(shape)
    tokens = shape[1]
    mask = {
        "full": None,
        "causal": module.causal_mask(tokens, tokens),
        "padded": (torch.arange(tokens) < max(1, tokens - 2))[None, None, None],
    }[kind]
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(module.attention_reference(q, k, v, mask), expected)
    weights = module.attention_weights_reference(q, k, mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1], dtype=torch.float64))
    if mask is not None:
        assert (weights.masked_select(~mask.expand_as(weights)) == 0).all()


def test_a_causal_mask_of_new_tokens_behind_old_ones() -> None:
    assert module.causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]


def twin(causal: bool, heads: int = 4, width: int = 16) -> tuple[MultiHeadAttention, nn.MultiheadAttention]:
    ours = MultiHeadAttention(width, heads, causal=causal).double()
    theirs = nn.MultiheadAttention(width, heads, batch_first=True).double()
    for mine, other in (
        (ours.qkv.weight, theirs.in_proj_weight),
        (ours.qkv.bias, theirs.in_proj_bias),
        (ours.out.weight, theirs.out_proj.weight),
        (ours.out.bias, theirs.out_proj.bias),
    ):
        mine.data.copy_(other)
    return ours, theirs


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tokens", [1, 5, 12])
def test_multi_head_attention_is_torchs(causal: bool, tokens: int) -> None:
    ours, theirs = twin(causal)
    x = torch.randn(3, tokens, 16, dtype=torch.float64, requires_grad=True)
    hidden = ~module.causal_mask(tokens, tokens) if causal else None
    expected, _ = theirs(x, x, x, attn_mask=hidden, need_weights=False)
    got = ours(x)
    torch.testing.assert_close(got, expected)
    grads = torch.autograd.grad(got.square().sum(), (x, ours.qkv.weight))
    wanted = torch.autograd.grad(expected.square().sum(), (x, theirs.in_proj_weight))
    torch.testing.assert_close(grads, wanted)


def test_padding_is_not_seen() -> None:
    ours, theirs = twin(False)
    x = torch.randn(2, 6, 16, dtype=torch.float64)
    real = torch.arange(6) < torch.tensor([[6], [4]])
    expected, _ = theirs(x, x, x, key_padding_mask=~real, need_weights=False)
    torch.testing.assert_close(ours(x, real[:, None, None]), expected)


@pytest.mark.parametrize("cuts", [[1] * 9, [4, 5], [6, 1, 2]])
def test_a_cache_changes_nothing(cuts: list[int]) -> None:
    ours, _ = twin(True)
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    with torch.no_grad():
        cache = Cache(1, (2, 4, 9, 4), x)
        parts = [ours(part, None, cache.layers[0]) for part in x.split(cuts, 1)]
        torch.testing.assert_close(torch.cat(parts, 1), ours(x))
        assert cache.length == 9
        with pytest.raises(ValueError, match="10 tokens do not fit into a cache of 9"):
            ours(x[:, :1], None, cache.layers[0])
        cache.clear()
        torch.testing.assert_close(ours(x, None, cache.layers[0]), ours(x))


def test_dropout_acts_in_training_only() -> None:
    ours = MultiHeadAttention(16, 2, causal=False, dropout=0.5)
    x = torch.randn(1, 8, 16)
    assert not torch.equal(ours(x), ours(x))
    ours.eval()
    assert torch.equal(ours(x), ours(x))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(RequestError, match="3 heads do not divide a width of 16"):
        MultiHeadAttention(16, 3, causal=True)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_block_is_torchs_encoder_layer(norm_first: bool, causal: bool) -> None:
    ours = TransformerBlock(16, 4, 24, causal=causal, norm_first=norm_first, activation="gelu").double()
    theirs = nn.TransformerEncoderLayer(
        16, 4, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first
    ).double()
    for parameter in theirs.parameters():
        parameter.data.normal_(std=0.3)
    ours.load_state_dict(block_state(theirs))
    x = torch.randn(2, 7, 16, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(7).double() if causal else None
    torch.testing.assert_close(ours(x), theirs(x, src_mask=mask))


def test_embedding_is_torchs() -> None:
    ours = Embedding(10, 4)
    numbers = torch.tensor([[1, 9], [0, 1]])
    assert torch.equal(ours(numbers), nn.Embedding.from_pretrained(ours.weight)(numbers))
    assert 0.01 < ours.weight.std() < 0.03


def test_sinusoids_are_the_papers() -> None:
    table = sinusoids(50, 6)
    for t in (0, 1, 7, 49):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            assert table[t, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[t, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)
    assert sinusoids(3, 5).shape == (3, 5)
    assert torch.equal(Sinusoids(50, 6)(torch.arange(50)), table)
