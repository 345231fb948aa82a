"""GPT and BERT: who sees whom (Radford et al. 2018; Devlin et al. 2019, arXiv:1810.04805)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.review.deviation import Deviation, largest, largest_difference, shortfall

VOCABULARY, TOKENS = 11, 9
ToLogits = Callable[[GPT, Tensor], Tensor]


def small_gpt() -> nn.Module:
    """Two layers of 16 numbers."""
    return GPT(VOCABULARY, TOKENS, layers=2, heads=2, width=16).eval()


def small_bert() -> nn.Module:
    """Two layers of 16 numbers."""
    return BERT(VOCABULARY, TOKENS, None, layers=2, heads=2, width=16).eval()


@torch.no_grad()
def _influence(model: nn.Module, changed: int, watched: int) -> float:
    """How much the logits at one token change when another token is replaced."""
    tokens = torch.randint(VOCABULARY, (1, TOKENS))
    other = tokens.clone()
    other[:, changed] = (other[:, changed] + 1) % VOCABULARY
    return largest_difference(model(tokens)[:, watched], model(other)[:, watched])


def gpt_cannot_see_future(model: Callable[[], nn.Module] = small_gpt) -> Deviation:
    """Another last token changes no logits before it; another first token changes the last ones."""
    module = model()
    future, past = _influence(module, TOKENS - 1, TOKENS - 2), _influence(module, 0, TOKENS - 1)
    return Deviation(largest(future, shortfall(past, 1e-6)), {"of the past": past, "of the future": future})


def bert_sees_both_directions(model: Callable[[], nn.Module] = small_bert) -> Deviation:
    """Another last token changes the logits of the first, and the other way round."""
    module = model()
    future, past = _influence(module, TOKENS - 1, 0), _influence(module, 0, TOKENS - 1)
    return Deviation(
        largest(shortfall(future, 1e-6), shortfall(past, 1e-6)), {"of the past": past, "of the future": future}
    )


def logits_with_cache(model: GPT, tokens: Tensor) -> Tensor:
    """Logits (B, T, V), one token at a time."""
    cache = model.make_cache(len(tokens), tokens.shape[1])
    return torch.cat([model(tokens[:, [t]], cache=cache) for t in range(tokens.shape[1])], 1)


@torch.no_grad()
def cache_gives_same_logits(cached: ToLogits = logits_with_cache) -> Deviation:
    """Keys and values of the past never change, so token by token with them gives the logits of the whole text."""
    model = small_gpt()
    assert isinstance(model, GPT)
    tokens = torch.randint(VOCABULARY, (2, TOKENS))
    return Deviation(largest_difference(cached(model, tokens), model(tokens)))


@torch.no_grad()
def cache_saves_linear_factor(cached: ToLogits = logits_with_cache) -> Deviation:
    """T tokens cost T passes of one token with the cache, 1 + 2 + ... + T = T (T + 1) / 2 without: (T + 1) / 2 more."""
    model = small_gpt()
    assert isinstance(model, GPT)
    tokens, passed = torch.randint(VOCABULARY, (1, TOKENS)), [0]

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        passed[0] += inputs[0].numel()

    model.tokens.register_forward_pre_hook(count)
    cached(model, tokens)
    with_cache, passed[0] = passed[0], 0
    for t in range(TOKENS):
        model(tokens[:, : t + 1])
    ratio = passed[0] / with_cache
    return Deviation(abs(ratio - (TOKENS + 1) / 2), {"tokens": TOKENS, "with": with_cache, "without": passed[0]})
