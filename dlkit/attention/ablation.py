"""What a head is good for: the change of the model's answer when it is silent.

Attention alone does not explain (Jain & Wallace, arXiv:1902.10186): a head may look at a token and pass nothing on. So
each head's output is replaced by 0, as in Michel et al., arXiv:1905.10650, and the loss is measured again.

Shapes: L layers, H heads of D numbers, T tokens, C copies of the text in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.attention.capture import layers_of
from dlkit.errors import NotFiniteError
from dlkit.nn.attention import MultiHeadAttention

# The model's answer to C copies of the text: (C,) numbers, of which more is worse.
Loss = Callable[[int], Tensor]


@contextmanager
def silenced(layer: MultiHeadAttention, heads: list[int]) -> Iterator[None]:
    """While this is open, row c of a batch goes without head `heads[c]` of the layer."""
    sounds = torch.ones(len(heads), layer.heads)
    sounds[torch.arange(len(heads)), torch.tensor(heads)] = 0

    def hush(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor]:
        y = arguments[0].unflatten(-1, (layer.heads, -1))  # (C, T, H, D)
        return ((y * sounds.to(y)[:, None, :, None]).flatten(2),)

    handle = layer.out.register_forward_pre_hook(hush)
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def ablate(model: nn.Module, loss: Loss, copies: int) -> tuple[float, np.ndarray]:
    """The loss, and how much it rises without each head, (L, H).

    Args:
        loss: the model's, of so many copies of the text at once.
        copies: at most so many at once.

    Raises NotFiniteError if a loss is NaN or infinite.
    """
    whole = float(loss(1)[0])
    layers = layers_of(model)
    rises = np.zeros((len(layers), layers[0].heads))
    for number, layer in enumerate(layers):
        for start in range(0, layer.heads, copies):
            heads = list(range(start, min(start + copies, layer.heads)))
            with silenced(layer, heads):
                rises[number, heads] = loss(len(heads)).double().cpu().numpy() - whole
    if not np.isfinite(rises).all():
        raise NotFiniteError("the loss without a head is NaN or infinite")
    return whole, rises


def next_token_loss(model: nn.Module, tokens: Tensor) -> Loss:
    """Cross-entropy of each token after the first, in nats a token, of tokens (T,)."""

    def loss(copies: int) -> Tensor:
        logits = model(tokens[None, :-1].expand(copies, -1)).float()  # (C, T - 1, V)
        targets = tokens[1:].expand(copies, -1)  # (C, T - 1)
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(1)

    return loss


def masked_loss(model: nn.Module, tokens: Tensor, segments: Tensor, places: Tensor, mask: int) -> Loss:
    """Cross-entropy of the tokens at `places` (M,), in nats a token, when these are replaced by [MASK]."""
    shown = tokens.index_fill(0, places, mask)

    def loss(copies: int) -> Tensor:
        shape = (copies, -1)
        at = (torch.arange(copies, device=tokens.device)[:, None] * len(tokens) + places).flatten()  # (C M,)
        logits = model(shown.expand(*shape), segments.expand(*shape), at=at).float()  # (C M, V)
        targets = tokens[places].repeat(copies)
        return F.cross_entropy(logits, targets, reduction="none").view(*shape).mean(1)

    return loss


def class_logit(model: nn.Module, tokens: Tensor, segments: Tensor) -> tuple[int, Loss]:
    """The class that the model decides for, and the negative of its logit, which rises as the decision weakens."""
    with torch.inference_mode():
        chosen = int(model(tokens[None], segments[None]).argmax())

    def loss(copies: int) -> Tensor:
        return -model(tokens.expand(copies, -1), segments.expand(copies, -1))[:, chosen].float()

    return chosen, loss
