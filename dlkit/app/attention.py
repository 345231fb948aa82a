"""Inspecting the attention of a model on texts, and the page that shows one or two models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlkit.app.ablation import ablation_scores
from dlkit.attention.capture import attention_layers
from dlkit.attention.flow import MAX_EDGES
from dlkit.attention.head_scores import HeadScores, score_heads, token_positions
from dlkit.attention.induction import RepeatedTokens, repeated_random_tokens
from dlkit.attention.inspect import TextInspection, attention_matrices, inspect_text
from dlkit.attention.intervals import mean_interval
from dlkit.attention.page import AttentionPage
from dlkit.attention.request import InspectionRequest, parse_indices, parse_token_range
from dlkit.attention.tokenized_text import TokenizedText, tokenize_text
from dlkit.errors import RequestError
from dlkit.lm.language_model import LanguageModel, open_language_model
from dlkit.training.device import pick_device

_LOOSE = 1e-3  # a larger reconstruction error is reported


@dataclass(frozen=True)
class InspectedModel:
    """One model, its texts, and what its attention does on them. `remarks` are for the user."""

    language_model: LanguageModel
    texts: list[TokenizedText]
    layers: list[int]
    heads: list[int]
    tokens: tuple[int, int]  # from and before; (0, 0) for all
    head_scores: HeadScores
    inspection: TextInspection | None = None
    rises: dict[str, Any] | None = None
    remarks: list[str] = field(default_factory=list[str])

    def means(self) -> dict[str, np.ndarray]:
        """The mean of each metric over texts, (L, H); with `ablation` if it was measured."""
        means = {name: mean_interval(values).mean for name, values in self.head_scores.scores.items()}
        return means | ({"ablation": self.rises["rises"]} if self.rises else {})

    def shown(self, measure: str) -> np.ndarray:
        """The means of one metric, in the layers and heads requested."""
        return self.means()[measure][self.layers][:, self.heads]


def inspect_model(
    request: InspectionRequest,
    reference: str,
    texts: list[str],
    checkpoint: str | None,
    alone: bool,
    keep_layers: bool = False,
) -> InspectedModel:
    """Open a model and inspect its attention on the texts.

    Args:
        request: the command's options.
        reference: of a run, a checkpoint or a Hugging Face directory.
        texts: to read; none for repeated random tokens alone.
        checkpoint: its name; None for the default one.
        alone: a single text, for which nulls are off by default.
        keep_layers: run the first text once more, to keep its layers for the attention matrices.
    """
    device = pick_device(request.device)
    language_model = open_language_model(reference, device, checkpoint)
    attention = attention_layers(language_model.model)
    layers = parse_indices("layers", request.layers, len(attention))
    heads = parse_indices("heads", request.heads, attention[0].heads)
    context: int = language_model.model.context  # pyright: ignore[reportAssignmentType]
    tokenized = [_tokenized(language_model, request, text, index, context, alone) for index, text in enumerate(texts)]
    shortest = min((len(text) for text in tokenized), default=0)
    tokens = parse_token_range(request.tokens, shortest or None) if request.tokens is not None else (0, 0)
    causal = language_model.causal
    copies: list[RepeatedTokens] = []
    if request.repeats:
        copies = repeated_random_tokens(
            language_model.tokenizer,
            context,
            request.repeats,
            request.seed,
            causal=causal,
            alphabet=request.random_from,
        )
    if not tokenized:  # repeated random tokens alone
        tokenized = [
            TokenizedText(each.token_ids, [""] * len(each.token_ids), each.special, [None] * len(each.token_ids))
            for each in copies
        ]
    wants_null = request.null if request.null is not None else not alone
    seen = score_heads(
        language_model.model, tokenized, copies, causal=causal, start=tokens[0], stop=tokens[1] or None,
        by_value=request.by_value, untrained=language_model.untrained(request.seed) if wants_null else None,
        seed=request.seed,
    )  # fmt: skip
    remarks: list[str] = []
    if language_model.fresh:
        remarks.append(f"{language_model.path} lacks {language_model.lacking}: only its encoder is inspected")
    kept = _kept(language_model, request, tokenized[0], remarks) if keep_layers else None
    if seen.reconstruction_error > _LOOSE:
        remarks.append(
            f"{language_model.path}: the recomputed weights do not reproduce the layers' outputs, which differ "
            f"by up to {seen.reconstruction_error:.2g}; do not rely on them"
        )
    rises = ablation_scores(language_model, tokenized, request.seed) if request.ablate else None
    return InspectedModel(language_model, tokenized, layers, heads, tokens, seen, kept, rises, remarks)


def _tokenized(
    language_model: LanguageModel, request: InspectionRequest, text: str, index: int, context: int, alone: bool
) -> TokenizedText:
    try:
        return tokenize_text(
            language_model.tokenizer, text, context, causal=language_model.causal, pair=request.pair, cut=request.cut
        )
    except RequestError as error:
        raise error if alone else RequestError(f"text {index + 1}: {error.message}", error.hint) from error


def _kept(
    language_model: LanguageModel, request: InspectionRequest, text: TokenizedText, remarks: list[str]
) -> TextInspection:
    """The inspection of a single text with its layers kept, and with its target token traced for --stack."""
    target = None
    if request.stack:
        target = request.target if request.target is not None else (len(text) - 1 if language_model.causal else 0)
        if not 0 <= target < len(text):
            raise RequestError(f"`target` {target}: the text has {len(text)} tokens", f"0 to {len(text) - 1}")
    edges = len(attention_layers(language_model.model)) * len(text) ** 2
    with_flow = target is not None and edges <= MAX_EDGES
    if target is not None and not with_flow:
        remarks.append(f"flow is left out: {len(text)} tokens are too many for it, rollout is there")
    positions = token_positions(text.token_ids, text.special, language_model.causal)
    return inspect_text(
        language_model.model, text.token_ids, positions, segments=text.segments, keep_layers=True, target=target,
        flow=with_flow,
    )  # fmt: skip


def require_comparable(one: InspectedModel, two: InspectedModel) -> None:
    """Raise RequestError unless both models read the same tokens and show the same layers and heads."""
    if [text.token_ids for text in one.texts] != [text.token_ids for text in two.texts]:
        raise RequestError(
            f"{one.language_model.path} and {two.language_model.path} read the text as different tokens",
            "`compare` takes two models with one tokenizer, such as two checkpoints of a run",
        )
    if one.layers != two.layers or one.heads != two.heads:
        raise RequestError(
            f"{one.language_model.path} has other layers or heads than {two.language_model.path}",
            "choose `layers` and `heads`",
        )


def attention_page(sides: Sequence[InspectedModel]) -> AttentionPage:
    """The contents of the views of a text, of one model or of two."""
    first = sides[0]
    start, stop = first.tokens
    text = first.texts[0]
    stop = stop or len(text)
    names = [str(side.language_model.path) for side in sides]
    if len(set(names)) < len(names):
        names = [f"{name} at step {side.language_model.step}" for name, side in zip(names, sides, strict=True)]
    scores = {name: np.stack([side.shown(name) for side in sides]) for name in first.means()}
    notes: dict[str, str] = {}
    for name, side in zip(names, sides, strict=True):
        step = "" if side.language_model.step is None else f" step {side.language_model.step},"
        error = side.head_scores.reconstruction_error
        notes[name] = f"{side.language_model.task},{step} largest difference of the check {error:.2g}"
    notes["tokens"] = f"{len(text)}" if (start, stop) == (0, len(text)) else f"{start} to {stop - 1} of {len(text)}"
    if (start, stop) != (0, len(text)):
        notes["rows"] = "what a row lacks to 1 goes to tokens that are not shown"
    split = None if text.split is None or not start < text.split < stop else text.split - start
    words = [label for label, special in zip(text.labels, text.special, strict=True) if not special]
    title = "".join(words[:40]) + ("…" if len(words) > 40 else "")
    return AttentionPage(
        title, text.labels[start:stop], first.layers, first.heads, first.language_model.causal, names, scores, notes,
        split,
    )  # fmt: skip


def page_matrices(
    request: InspectionRequest, sides: Sequence[InspectedModel], start: int, stop: int
) -> Iterator[np.ndarray]:
    """The attention matrices of a page, (stop - start, stop - start) each, one at a time, in the page's order."""
    for side in sides:
        assert side.inspection is not None
        chosen = [side.inspection.layers[layer] for layer in side.layers]
        yield from attention_matrices(chosen, side.heads, by_value=request.by_value, start=start, stop=stop)
