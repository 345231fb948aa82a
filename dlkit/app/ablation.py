"""Head ablation by task: which loss of a model is measured while its heads are ablated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dlkit.attention.ablation import CopiesLoss, ablate_heads, class_logit_loss, masked_token_loss, next_token_loss
from dlkit.attention.capture import attention_layers
from dlkit.attention.tokenized_text import TokenizedText
from dlkit.errors import RequestError
from dlkit.lm.language_model import LanguageModel

_LOGITS = 1 << 24  # at most so many logits in a batch


def ablation_scores(language_model: LanguageModel, texts: Sequence[TokenizedText], seed: int) -> dict[str, Any]:
    """`of`: the loss that is measured; `rises`: (L, H), how much it rises without each head, the mean over texts.

    Raises:
        RequestError: the model has no head that was trained, or the text is too short.
    """
    if language_model.fresh:
        raise RequestError(
            f"{language_model.path} lacks {language_model.lacking}: there is no loss to change", "leave `ablate` out"
        )
    layers = attention_layers(language_model.model)
    sums = np.zeros((len(layers), layers[0].heads))
    of = ""
    for index, text in enumerate(texts):
        of, loss = _loss(language_model, text, seed + index)
        vocabulary: int = language_model.model.vocabulary  # pyright: ignore[reportAssignmentType]
        copies = max(1, _LOGITS // (len(text) * vocabulary))
        sums += ablate_heads(language_model.model, loss, copies)[1]
    return {"of": of, "rises": sums / len(texts)}


def _loss(language_model: LanguageModel, text: TokenizedText, seed: int) -> tuple[str, CopiesLoss]:
    model = language_model.model
    device = next(model.parameters()).device
    token_ids, segments = torch.tensor(text.token_ids, device=device), torch.tensor(text.segments, device=device)
    if language_model.causal:
        if len(text) < 2:
            raise RequestError("a single token predicts nothing: there is no loss to change", "give a longer text")
        return "loss in nats a token", next_token_loss(model, token_ids)
    if not language_model.classifies:
        plain = np.flatnonzero(~np.array(text.special))
        wanted = max(1, round(0.15 * len(plain)))
        positions = np.sort(np.random.default_rng(seed).choice(plain, size=wanted, replace=False))
        mask_id = language_model.tokenizer.require("[MASK]")
        return "loss in nats a masked token", masked_token_loss(
            model, token_ids, segments, torch.tensor(positions.tolist(), device=device), mask_id
        )
    predicted, loss = class_logit_loss(model, token_ids, segments)
    name = language_model.classes[predicted] if predicted < len(language_model.classes) else str(predicted)
    return f"logit of {name}, its fall", loss
