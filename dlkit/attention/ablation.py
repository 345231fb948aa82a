"""Zero ablation: how much the loss rises when one head's output is replaced by 0.

Attention weights alone are no explanation (Jain & Wallace, arXiv:1902.10186): a head may attend to a token and pass
nothing on. So each head is ablated in turn, as in Michel et al., arXiv:1905.10650, and the loss is measured again.

Shapes: L layers, H heads of width D, T tokens, V token types, M masked tokens, C copies of the text in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.attention.capture import attention_layers
from dlkit.errors import NotFiniteError
from dlkit.nn.attention import MultiHeadAttention

# From a number of copies C of the text to the loss of each copy, (C,).
CopiesLoss = Callable[[int], Tensor]


@contextmanager
def ablated_heads(layer: MultiHeadAttention, heads: list[int]) -> Iterator[None]:
    """A context in which head `heads[c]` of the layer outputs 0 in row c of the batch."""
    head_mask = torch.ones(len(heads), layer.heads)
    head_mask[torch.arange(len(heads)), torch.tensor(heads)] = 0

    def mask_heads(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor]:
        y = arguments[0].unflatten(-1, (layer.heads, -1))  # (C, T, H, D)
        return ((y * head_mask.to(y)[:, None, :, None]).flatten(2),)

    handle = layer.out.register_forward_pre_hook(mask_heads)
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def ablate_heads(model: nn.Module, loss: CopiesLoss, copies: int) -> tuple[float, np.ndarray]:
    """The loss of the intact model, and how much it rises without each head, (L, H).

    Args:
        model: in evaluation mode.
        loss: of the model, on copies of the text.
        copies: the largest batch, in copies; each copy goes without another head.

    Raises:
        NotFiniteError: a loss is NaN or infinite.
    """
    intact = float(loss(1)[0])
    layers = attention_layers(model)
    rises = np.zeros((len(layers), layers[0].heads))
    for index, layer in enumerate(layers):
        for start in range(0, layer.heads, copies):
            heads = list(range(start, min(start + copies, layer.heads)))
            with ablated_heads(layer, heads):
                rises[index, heads] = loss(len(heads)).double().cpu().numpy() - intact
    if not np.isfinite(rises).all():
        raise NotFiniteError("the loss without a head is NaN or infinite")
    return intact, rises


def next_token_loss(model: nn.Module, token_ids: Tensor) -> CopiesLoss:
    """Cross-entropy of each token but the first, in nats per token, of token_ids (T,)."""

    def loss(copies: int) -> Tensor:
        logits = model(token_ids[None, :-1].expand(copies, -1)).float()  # (C, T - 1, V)
        targets = token_ids[1:].expand(copies, -1)  # (C, T - 1)
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(1)

    return loss


def masked_token_loss(
    model: nn.Module, token_ids: Tensor, segments: Tensor, positions: Tensor, mask_id: int
) -> CopiesLoss:
    """Cross-entropy of the tokens at `positions` (M,), in nats per token, when [MASK] stands there.

    Args:
        model: a BERT.
        token_ids: the text, (T,).
        segments: its segment ids, (T,).
        positions: of the tokens to mask, (M,).
        mask_id: the token id of [MASK].
    """
    masked = token_ids.index_fill(0, positions, mask_id)

    def loss(copies: int) -> Tensor:
        shape = (copies, -1)
        at = (torch.arange(copies, device=token_ids.device)[:, None] * len(token_ids) + positions).flatten()  # (C M,)
        logits = model(masked.expand(*shape), segments.expand(*shape), at=at).float()  # (C M, V)
        targets = token_ids[positions].repeat(copies)
        return F.cross_entropy(logits, targets, reduction="none").view(*shape).mean(1)

    return loss


def class_logit_loss(model: nn.Module, token_ids: Tensor, segments: Tensor) -> tuple[int, CopiesLoss]:
    """The predicted class, and its negative logit as a loss, which rises as the prediction weakens."""
    with torch.inference_mode():
        predicted = int(model(token_ids[None], segments[None]).argmax())

    def loss(copies: int) -> Tensor:
        return -model(token_ids.expand(copies, -1), segments.expand(copies, -1))[:, predicted].float()

    return predicted, loss
