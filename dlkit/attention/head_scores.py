"""Heads of a model over many texts, beside what chance would give.

Two nulls, for scores that are to mean something:

    shuffled    the model reads the tokens in a random order, while the measures look where they were: a head that
                goes by the tokens loses its score, one that goes by places alone keeps it
    untrained   the same architecture with random weights reads the text as it is

Shapes: n texts, L layers, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from dlkit.attention.induction import Repeats, shuffled
from dlkit.attention.inspect import Look, look
from dlkit.attention.metrics import Places
from dlkit.attention.tokenized_text import TokenizedText

Values = dict[str, np.ndarray]  # by measure, (n, L, H)


@dataclass(frozen=True)
class Survey:
    """Scores of each text, those of the nulls by name, and the largest difference of all checks."""

    scores: Values
    difference: float
    nulls: dict[str, Values] = field(default_factory=dict[str, Values])


def survey(
    model: nn.Module,
    texts: Sequence[TokenizedText],
    repeats: Sequence[Repeats],
    *,
    causal: bool,
    start: int = 0,
    stop: int | None = None,
    by_value: bool = False,
    untrained: nn.Module | None = None,
    seed: int = 0,
) -> Survey:
    """Measure texts, and `induction` on repeated random tokens.

    Args:
        causal: for a GPT.
        start: the first query of each text that counts.
        stop: behind the last one.
        by_value: measure attention weighted by the norms of the values.
        untrained: a twin with random weights, for the nulls; None for no nulls.
        seed: of the shuffling.
    """
    difference = 0.0

    def measured(reader: nn.Module, mixed: bool) -> Values:
        nonlocal difference
        random = np.random.default_rng(seed)
        looks: list[Look] = []
        for text in texts:
            numbers = shuffled(text.numbers, text.special, random) if mixed else text.numbers
            places = places_of(text.numbers, text.special, causal, start, stop)
            looks.append(look(reader, numbers, places, segments=text.segments, by_value=by_value))
        copies: list[Look] = []
        for each in repeats:
            numbers = shuffled(each.numbers, each.special, random) if mixed else each.numbers
            places = places_of(each.numbers, each.special, causal, each.start, each.stop)
            copies.append(look(reader, numbers, places, by_value=by_value))
        difference = max([difference, *(seen.difference for seen in (*looks, *copies))])
        values: Values = {name: np.stack([seen.scores[name] for seen in looks]) for name in looks[0].scores}
        if copies:
            values["induction"] = np.stack([seen.scores["prefix"] for seen in copies])
        else:
            values["induction"] = np.full((1, *values["prefix"].shape[1:]), np.nan)
        return values

    scores = measured(model, False)
    nulls: dict[str, Values] = {}
    if untrained is not None:
        nulls = {"shuffled": measured(model, True), "untrained": measured(untrained, False)}
    return Survey(scores, difference, nulls)


def places_of(
    numbers: Sequence[int], special: Sequence[bool], causal: bool, start: int = 0, stop: int | None = None
) -> Places:
    """The places of a text, for the queries from `start` to `stop`."""
    return Places(torch.tensor(list(numbers)), torch.tensor(list(special), dtype=torch.bool), causal, start, stop)
