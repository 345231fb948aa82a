"""A model, opened, and what was seen in its attention; one or two of them as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlkit.app.ablation import ablation
from dlkit.attention import flow
from dlkit.attention.capture import layers_of
from dlkit.attention.head_scores import Survey, places_of, survey
from dlkit.attention.induction import Repeats, repeats
from dlkit.attention.inspect import Look, look, matrices
from dlkit.attention.intervals import interval
from dlkit.attention.page import Page
from dlkit.attention.request import Request, selected, token_range
from dlkit.attention.texts import TokenizedText, tokenize
from dlkit.errors import RequestError
from dlkit.lm.language_model import LanguageModel, open_language_model
from dlkit.train import machine

_LOOSE = 1e-3  # a difference of the check that deserves a remark


@dataclass(frozen=True)
class Side:
    """One model, its texts, and what was seen. `remarks` are for the user."""

    reader: LanguageModel
    texts: list[TokenizedText]
    layers: list[int]
    heads: list[int]
    tokens: tuple[int, int]  # from and before; (0, 0) for all
    survey: Survey
    look: Look | None = None
    rises: dict[str, Any] | None = None
    remarks: list[str] = field(default_factory=list[str])

    def means(self) -> dict[str, np.ndarray]:
        """(L, H) by measure, over texts; the change without each head is one where it was asked for."""
        means = {name: interval(values).mean for name, values in self.survey.scores.items()}
        return means | ({"ablation": self.rises["rises"]} if self.rises else {})

    def shown(self, measure: str) -> np.ndarray:
        """The means of one measure, in the layers and heads that were asked for."""
        return self.means()[measure][self.layers][:, self.heads]


def open_side(
    request: Request, reference: str, texts: list[str], checkpoint: str | None, alone: bool, keep: bool = False
) -> Side:
    """Open a model and look at the texts.

    Args:
        alone: a single text, which needs no nulls.
        keep: look once more and keep what weights are taken from.
    """
    device = machine.pick_device(request.device)
    reader = open_language_model(reference, device, checkpoint)
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
    remarks: list[str] = []
    if reader.fresh:
        remarks.append(f"{reader.path} has no head that dlkit knows: only its encoder is looked at")
    kept = _kept(reader, request, tokenized[0], remarks) if keep else None
    if seen.difference > _LOOSE:
        remarks.append(
            f"{reader.path}: the weights computed again do not give the layers' outputs, which differ by up to "
            f"{seen.difference:.2g}; do not rely on them"
        )
    rises = ablation(reader, tokenized, request.seed) if request.ablate else None
    return Side(reader, tokenized, layers, heads, tokens, seen, kept, rises, remarks)


def _tokenized(
    reader: LanguageModel, request: Request, text: str, number: int, context: int, alone: bool
) -> TokenizedText:
    try:
        return tokenize(reader.tokenizer, text, context, causal=reader.causal, pair=request.pair, cut=request.cut)
    except RequestError as error:
        raise error if alone else RequestError(f"text {number + 1}: {error.message}", error.hint) from error


def _kept(reader: LanguageModel, request: Request, text: TokenizedText, remarks: list[str]) -> Look:
    """A look at a single text that keeps queries and keys, and follows a token down where that is asked for."""
    target = None
    if request.stack:
        target = request.target if request.target is not None else (len(text) - 1 if reader.causal else 0)
        if not 0 <= target < len(text):
            raise RequestError(f"--target {target}: the text has {len(text)} tokens", f"0 to {len(text) - 1}")
    pipes = len(layers_of(reader.model)) * len(text) ** 2
    flows = target is not None and pipes <= flow.MOST_PIPES
    if target is not None and not flows:
        remarks.append(f"flow is left out: {len(text)} tokens are too many for it, rollout is there")
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


def page_of(sides: Sequence[Side]) -> Page:
    """What the views of a text show, of one model or of two."""
    first = sides[0]
    start, stop = first.tokens
    text = first.texts[0]
    stop = stop or len(text)
    names = [str(side.reader.path) for side in sides]
    if len(set(names)) < len(names):
        names = [f"{name} at step {side.reader.step}" for name, side in zip(names, sides, strict=True)]
    scores = {name: np.stack([side.shown(name) for side in sides]) for name in first.means()}
    notes: dict[str, str] = {}
    for name, side in zip(names, sides, strict=True):
        step = "" if side.reader.step is None else f" step {side.reader.step},"
        notes[name] = f"{side.reader.task},{step} largest difference of the check {side.survey.difference:.2g}"
    notes["tokens"] = f"{len(text)}" if (start, stop) == (0, len(text)) else f"{start} to {stop - 1} of {len(text)}"
    if (start, stop) != (0, len(text)):
        notes["rows"] = "what a row lacks to 1 goes to tokens that are not shown"
    split = None if text.split is None or not start < text.split < stop else text.split - start
    words = [label for label, special in zip(text.labels, text.special, strict=True) if not special]
    title = "".join(words[:40])
    return Page(
        title, text.labels[start:stop], first.layers, first.heads, first.reader.causal, names, scores, notes, split
    )  # fmt: skip


def weights_of(request: Request, sides: Sequence[Side], start: int, stop: int) -> Iterator[np.ndarray]:
    """The weights that a page shows, one (stop - start, stop - start) at a time, in its order."""
    for side in sides:
        assert side.look is not None
        chosen = [side.look.layers[layer] for layer in side.layers]
        yield from matrices(chosen, side.heads, by_value=request.by_value, start=start, stop=stop)
