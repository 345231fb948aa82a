"""GPT and BERT: what they can and cannot see."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dlkit.errors import DlkitError, RequestError
from dlkit.models import bert, gpt
from dlkit.models.gpt import GPT
from tests.models.small_language_models import make_bert, make_gpt, tokens


@pytest.mark.parametrize("keys", [{}, {"norm_first": False}, {"positions": "sinusoidal"}, {"tied": False}])
def test_a_later_token_never_changes_an_earlier_logit(keys: dict[str, Any]) -> None:
    model, x = make_gpt(**keys), tokens(2, 12)
    before = model(x)
    for place in (1, 5, 11):
        changed = x.clone()
        changed[:, place] = (changed[:, place] + 1) % 40
        after = model(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.equal(after[:, place:], before[:, place:])


def test_bert_sees_both_ways() -> None:
    model, x = make_bert(), tokens(1, 12)
    before = model(x)
    for place in (0, 6, 11):
        changed = x.clone()
        changed[:, place] = (changed[:, place] + 1) % 40
        assert (model(changed) != before).any(-1).all()


@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_padding_never_changes_a_sequence(outputs: int | None, pooling: str) -> None:
    model, x = make_bert(outputs, pooling=pooling), tokens(3, 9)
    segments = (torch.arange(9) > 4).long().expand(3, 9)
    real = torch.arange(9) < torch.tensor([[9], [5], [1]])
    got = model(x, segments, real)
    for row, length in enumerate((9, 5, 1)):
        alone = model(x[row : row + 1, :length], segments[row : row + 1, :length])[0]
        mine = got[row] if outputs else got[row, :length]
        torch.testing.assert_close(mine, alone, atol=1e-5, rtol=1e-5)
    noise = torch.where(real, x, tokens(3, 9).flip(0))
    torch.testing.assert_close(model(noise, segments, real)[real if outputs is None else slice(None)],
                               got[real if outputs is None else slice(None)])  # fmt: skip


@pytest.mark.parametrize("cuts", [[24], [1] * 24, [10, 1, 1, 12]])
@pytest.mark.parametrize("norm_first", [True, False])
@torch.no_grad()
def test_a_cache_gives_the_same_logits(cuts: list[int], norm_first: bool) -> None:
    model, x = make_gpt(norm_first=norm_first), tokens(3, 24)
    cache = model.make_cache(3, 24)
    parts = [model(part, cache=cache) for part in x.split(cuts, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(x, last=True), model(x)[:, -1:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_left_padding_and_a_cache_agree_with_single_sequences() -> None:
    model, lengths = make_gpt(), (12, 7, 3)
    rows = [tokens(1, n) for n in lengths]
    padding = torch.tensor([12 - n for n in lengths])
    batch = torch.cat([F.pad(row, (12 - row.shape[1], 0)) for row in rows])
    cache = model.make_cache(3, 20)
    got, more = model(batch, cache=cache, padding=padding), tokens(3, 4)
    then = model(more, cache=cache, padding=padding)
    for i, row in enumerate(rows):
        torch.testing.assert_close(got[i, padding[i] :], model(row)[0], atol=1e-5, rtol=1e-5)
        whole = model(torch.cat((row, more[i : i + 1]), 1))[0]
        torch.testing.assert_close(then[i], whole[-4:], atol=1e-5, rtol=1e-5)


def test_tokens_beyond_the_context_are_refused() -> None:
    with pytest.raises(DlkitError, match="25 tokens are more than the 24"):
        make_gpt()(tokens(1, 25))
    with pytest.raises(DlkitError, match="25 tokens is longer than the 24"):
        make_bert()(tokens(1, 25))
    with pytest.raises(RequestError, match=r"model\.context is 8"):
        GPT(40, 24, context=8)


def test_a_masked_head_predicts_the_chosen_places() -> None:
    model, x = make_bert(), tokens(2, 9)
    places = torch.tensor([1, 8, 12])
    torch.testing.assert_close(model(x, at=places), model(x).flatten(0, 1)[places])


@pytest.mark.parametrize(
    ("preset", "vocabulary", "millions"),
    [
        (gpt.gpt2, 50257, 124.44),
        (gpt.gpt2_medium, 50257, 354.82),
        (gpt.gpt2_large, 50257, 774.03),
        (gpt.gpt2_xl, 50257, 1557.61),
        (gpt.gpt1, 40478, 116.53),
        (bert.bert_tiny, 30522, 4.37),
        (bert.bert_mini, 30522, 11.10),
        (bert.bert_small, 30522, 28.50),
        (bert.bert_base, 30522, 108.89),
        (bert.bert_large, 30522, 334.10),
    ],
)
def test_published_sizes(preset: Any, vocabulary: int, millions: float) -> None:
    heads = () if preset.func is GPT else (1,)
    with torch.device("meta"):
        model = preset(vocabulary, 64, *heads)
    # without the head: the papers count the encoder, and tied weights once
    count = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("head."))
    assert count / 1e6 == pytest.approx(millions, rel=0.006)


def test_initial_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    model = GPT(1000, 64, layers=8, heads=4, width=128)
    assert model.tokens.weight.std().item() == pytest.approx(0.02, rel=0.02)
    first: Any = model.blocks[0]
    assert first.attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert first.attention.out.weight.std().item() == pytest.approx(0.02 / 16**0.5, rel=0.03)
    assert (first.mlp[2].bias == 0).all()
    assert partial(GPT, layers=1)(40, 24).head.weight.shape == (40, 128)
