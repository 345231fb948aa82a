"""One model of `dlkit inspect-attention`, opened, and what was seen in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.attention import flow
from dlkit.attention.induction import Repeats, repeats
from dlkit.attention.look import Look, look
from dlkit.attention.record import layers_of
from dlkit.attention.statistics import interval
from dlkit.attention.survey import Survey, places_of, survey
from dlkit.attention.texts import TokenizedText, tokenize
from dlkit.build.language import Reader, open_reader
from dlkit.cli._attention_ablation import ablation
from dlkit.cli._attention_request import Request, selected, token_range
from dlkit.cli._console import note
from dlkit.errors import RequestError
from dlkit.train import machine

_LOOSE = 1e-3  # a difference of the check that deserves a remark


@dataclass(frozen=True)
class Side:
    """One model, its texts, and what was seen. `scores` holds (n, L, H) by measure, nulls likewise."""

    reader: Reader
    texts: list[TokenizedText]
    layers: list[int]
    heads: list[int]
    tokens: tuple[int, int]  # from and before; (0, 0) for all
    survey: Survey
    look: Look | None = None
    rises: dict[str, Any] | None = None

    def means(self) -> dict[str, np.ndarray]:
        """(L, H) by measure, over texts; the change without each head is one where it was asked for."""
        means = {name: interval(values).mean for name, values in self.survey.scores.items()}
        return means | ({"ablation": self.rises["rises"]} if self.rises else {})


def open_side(
    request: Request, reference: str, texts: list[str], checkpoint: str | None, alone: bool, keep: bool = False
) -> Side:
    """Open a model and look at the texts.

    Args:
        alone: a single text, which needs no nulls.
        keep: look once more and keep what weights are taken from.
    """
    device = machine.pick_device(request.device)
    reader = open_reader(reference, device, checkpoint)
    attention = layers_of(reader.model)
    layers = selected("--layers", request.layers, len(attention))
    heads = selected("--heads", request.heads, attention[0].heads)
    context: int = reader.model.context  # pyright: ignore[reportAssignmentType]
    tokenized = [_tokenized(reader, request, text, number, context, alone) for number, text in enumerate(texts)]
    shortest = min((len(text) for text in tokenized), default=0)
    tokens = token_range(request.tokens, shortest or None) if request.tokens is not None else (0, 0)
    causal = reader.causal
    copies: list[Repeats] = []
    if request.repeats:
        copies = repeats(
            reader.tokenizer, context, request.repeats, request.seed, causal=causal, alphabet=request.random_from
        )
    if not tokenized:  # repeated random tokens alone
        tokenized = [
            TokenizedText(each.numbers, [""] * len(each.numbers), each.special, [None] * len(each.numbers))
            for each in copies
        ]
    wants_null = request.null if request.null is not None else not alone
    seen = survey(
        reader.model, tokenized, copies, causal=causal, start=tokens[0], stop=tokens[1] or None,
        by_value=request.by_value, untrained=reader.untrained(request.seed) if wants_null else None, seed=request.seed,
    )  # fmt: skip
    kept = rises = None
    if keep:
        kept = _kept(reader, request, tokenized[0])
    if seen.difference > _LOOSE:
        note(
            f"{reader.path}: the weights computed again do not give the layers' outputs, which differ by up to "
            f"{seen.difference:.2g}; do not rely on them"
        )
    if request.ablate:
        rises = ablation(reader, tokenized, request.seed)
    return Side(reader, tokenized, layers, heads, tokens, seen, kept, rises)


def _tokenized(reader: Reader, request: Request, text: str, number: int, context: int, alone: bool) -> TokenizedText:
    try:
        return tokenize(reader.tokenizer, text, context, causal=reader.causal, pair=request.pair, cut=request.cut)
    except RequestError as error:
        raise error if alone else RequestError(f"text {number + 1}: {error.message}", error.hint) from error


def _kept(reader: Reader, request: Request, text: TokenizedText) -> Look:
    """A look at a single text that keeps queries and keys, and follows a token down where that is asked for."""
    target = None
    if request.stack:
        target = request.target if request.target is not None else (len(text) - 1 if reader.causal else 0)
        if not 0 <= target < len(text):
            raise RequestError(f"--target {target}: the text has {len(text)} tokens", f"0 to {len(text) - 1}")
    pipes = len(layers_of(reader.model)) * len(text) ** 2
    flows = target is not None and pipes <= flow.MOST_PIPES
    if target is not None and not flows:
        note(f"flow is left out: {len(text)} tokens are too many for it, rollout is there")
    places = places_of(text.numbers, text.special, reader.causal)
    return look(
        reader.model, text.numbers, places, segments=text.segments, keep=True, target=target, shares=flows
    )  # fmt: skip


def comparable(one: Side, two: Side) -> None:
    if [text.numbers for text in one.texts] != [text.numbers for text in two.texts]:
        raise RequestError(
            f"{one.reader.path} and {two.reader.path} read the text as different tokens",
            "--compare takes two models with one tokenizer, such as two checkpoints of a run",
        )
    if one.layers != two.layers or one.heads != two.heads:
        raise RequestError(
            f"{one.reader.path} has other layers or heads than {two.reader.path}", "choose --layers and --heads"
        )
