"""Metrics of a language model from its loss, the mean over tokens of -ln P(token)."""

from __future__ import annotations

import math

_LARGEST = 700.0  # e^709 is the largest power in float64


def token_perplexity(loss: float) -> float:
    """e^loss: the number of equally likely tokens that would be as hard to predict."""
    return math.exp(min(loss, _LARGEST))


def bits_per_byte(nats: float, bytes_: int) -> float:
    """The code length of the text under the model per byte: sum of -log2 P(token) / bytes of text."""
    return nats / math.log(2) / bytes_
