"""The scores of each head over many texts, beside two null distributions.

    shuffled    the model reads the tokens in random order while the metrics assume the original one: a head that
                attends by content loses its score, one that attends by position alone keeps it
    untrained   the same architecture with random weights reads the text as it is

Shapes: n texts, L layers, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from dlkit.attention.induction import RepeatedTokens, shuffle_tokens
from dlkit.attention.inspect import TextInspection, inspect_text
from dlkit.attention.metrics import TokenPositions
from dlkit.attention.tokenized_text import TokenizedText

ScoresByMetric = dict[str, np.ndarray]  # (n, L, H) each


@dataclass(frozen=True)
class HeadScores:
    """The scores of each head on each text.

    Args:
        scores: by metric.
        reconstruction_error: the largest one over all texts and nulls (see `inspect_text`).
        nulls: scores by null distribution, then by metric.
    """

    scores: ScoresByMetric
    reconstruction_error: float
    nulls: dict[str, ScoresByMetric] = field(default_factory=dict[str, ScoresByMetric])


def score_heads(
    model: nn.Module,
    texts: Sequence[TokenizedText],
    repeats: Sequence[RepeatedTokens],
    *,
    causal: bool,
    start: int = 0,
    stop: int | None = None,
    by_value: bool = False,
    untrained: nn.Module | None = None,
    seed: int = 0,
) -> HeadScores:
    """Score every head on texts, and its `induction` on repeated random tokens.

    Args:
        model: in evaluation mode.
        texts: to score heads on, one at least.
        repeats: sequences for the induction score, which is NaN without any.
        causal: for a GPT.
        start: the first query of each text that counts.
        stop: one past the last query that counts; None for all.
        by_value: weight attention by the norms of the value vectors.
        untrained: the same architecture with random weights, for the nulls; None for no nulls.
        seed: of the shuffled null.
    """
    error = 0.0

    def scored(model: nn.Module, shuffle: bool) -> ScoresByMetric:
        nonlocal error
        rng = np.random.default_rng(seed)
        inspections: list[TextInspection] = []
        for text in texts:
            token_ids = shuffle_tokens(text.token_ids, text.special, rng) if shuffle else text.token_ids
            positions = token_positions(text.token_ids, text.special, causal, start, stop)
            inspections.append(inspect_text(model, token_ids, positions, segments=text.segments, by_value=by_value))
        on_repeats: list[TextInspection] = []
        for each in repeats:
            token_ids = shuffle_tokens(each.token_ids, each.special, rng) if shuffle else each.token_ids
            positions = token_positions(each.token_ids, each.special, causal, each.start, each.stop)
            on_repeats.append(inspect_text(model, token_ids, positions, by_value=by_value))
        error = max([error, *(inspection.reconstruction_error for inspection in (*inspections, *on_repeats))])
        scores = {name: np.stack([each.scores[name] for each in inspections]) for name in inspections[0].scores}
        if on_repeats:
            scores["induction"] = np.stack([each.scores["prefix"] for each in on_repeats])
        else:
            scores["induction"] = np.full((1, *scores["prefix"].shape[1:]), np.nan)
        return scores

    scores = scored(model, False)
    nulls: dict[str, ScoresByMetric] = {}
    if untrained is not None:
        nulls = {"shuffled": scored(model, True), "untrained": scored(untrained, False)}
    return HeadScores(scores, error, nulls)


def token_positions(
    token_ids: Sequence[int], special: Sequence[bool], causal: bool, start: int = 0, stop: int | None = None
) -> TokenPositions:
    """The positions of a text's tokens, where the queries from `start` to `stop` count."""
    ids, is_special = torch.tensor(list(token_ids)), torch.tensor(list(special), dtype=torch.bool)
    return TokenPositions(ids, is_special, causal, start, stop)
