"""Which loss of a model is measured while its heads are silent, by its task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dlkit.attention.ablation import Loss, ablate, class_logit, masked_loss, next_token_loss
from dlkit.attention.capture import layers_of
from dlkit.attention.texts import TokenizedText
from dlkit.errors import RequestError
from dlkit.lm.language_model import LanguageModel

_LOGITS = 1 << 24  # numbers of logits at once


def ablation(reader: LanguageModel, texts: Sequence[TokenizedText], seed: int) -> dict[str, Any]:
    """`of`: what is measured; `rises`: (L, H), how much it gets worse without each head, as a mean over texts.

    Raises:
        RequestError: the model has no head that was trained, or the text is too short.
    """
    if reader.fresh:
        raise RequestError(
            f"{reader.path} has no head for {reader.task}: there is no loss to change", "leave --ablate out"
        )
    layers = layers_of(reader.model)
    sums = np.zeros((len(layers), layers[0].heads))
    of = ""
    for number, text in enumerate(texts):
        of, loss = _loss(reader, text, seed + number)
        vocabulary: int = reader.model.vocabulary  # pyright: ignore[reportAssignmentType]
        copies = max(1, _LOGITS // (len(text) * vocabulary))
        sums += ablate(reader.model, loss, copies)[1]
    return {"of": of, "rises": sums / len(texts)}


def _loss(reader: LanguageModel, text: TokenizedText, seed: int) -> tuple[str, Loss]:
    model = reader.model
    device = next(model.parameters()).device
    tokens, segments = torch.tensor(text.numbers, device=device), torch.tensor(text.segments, device=device)
    if reader.causal:
        if len(text) < 2:
            raise RequestError("a single token predicts nothing: there is no loss to change", "give a longer text")
        return "loss in nats a token", next_token_loss(model, tokens)
    if not reader.classifies:
        plain = np.flatnonzero(~np.array(text.special))
        wanted = max(1, round(0.15 * len(plain)))
        places = np.sort(np.random.default_rng(seed).choice(plain, size=wanted, replace=False))
        mask = reader.tokenizer.require("[MASK]")
        return "loss in nats a masked token", masked_loss(
            model, tokens, segments, torch.tensor(places.tolist(), device=device), mask
        )
    chosen, loss = class_logit(model, tokens, segments)
    name = reader.classes[chosen] if chosen < len(reader.classes) else str(chosen)
    return f"logit of {name}, its fall", loss
