"""The cross-entropy of a text under a GPT, in bits per byte and bits per token: `dlkit entropy FILE --model RUN`."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit.app.compressed_sizes import CompressedSizes
from dlkit.app.events import Remark, Work
from dlkit.app.text_scores import TextScores
from dlkit.app.text_stream import stream_blocks
from dlkit.errors import RequestError
from dlkit.storage.atomic_file import require_target

ALTERNATIVES = 5  # of each token of a page
MOST_ON_PAGE = 50_000  # tokens


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token with its surprisal, in bits, its rank, and the likeliest tokens in its place."""

    record: dict[str, Any]


def score_text(
    file: str | os.PathLike[str] | None,
    model: str | os.PathLike[str],
    *,
    context: int | None = None,
    stride: int | None = None,
    alternatives: int = 0,
    surprisal: str | os.PathLike[str] | None = None,
    codecs: bool = False,
    prequential: bool = False,
    exact: bool = False,
    device: str = "auto",
) -> Work[Remark | ScoredToken, dict[str, Any]]:
    """Predict each token of a text from those before it; the result is the record that `dlkit entropy` prints.

    Args:
        file: the text; None for standard input.
        model: a run, a checkpoint, or a Hugging Face directory.
        context: tokens of a window; None for all that the model can look back on.
        stride: tokens between two windows; None for the context.
        alternatives: yield each token, with so many of the likeliest in its place; 0 for none.
        surprisal: write a page that shows the surprisal of each token into this file; what is yielded comes after that.
        codecs: compress it with gzip, bzip2, xz and zstd too.
        prequential: measure its prequential code too.
        exact: fail where the tokenizer changes the text, which then has no bits per byte.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        RequestError: there is no such run, or it is no GPT; context or stride do not fit.
        DlkitError: the text is empty or cannot be read.
    """
    page = None if surprisal is None else Path(surprisal)
    if page is not None:
        require_target("`surprisal`", page, (".html",))

    from dlkit.lm.language_model import open_language_model
    from dlkit.training.device import pick_device

    language_model = open_language_model(os.fspath(model), pick_device(device))
    if not language_model.causal:
        raise RequestError(
            f"{language_model.path} is a model for {language_model.task}, which gives a text no probability",
            "`model` takes a GPT",
        )
    path = None if file is None else Path(file)
    sizes = CompressedSizes(path, codecs, prequential)
    shown = alternatives or (ALTERNATIVES if page else 0)
    scores = TextScores(language_model, path, context, stride, sizes, shown, exact)
    return Work(_score(scores) if page is None else _score_on_page(scores, page, alternatives > 0))


def _score(scores: TextScores) -> Generator[Remark | ScoredToken, None, dict[str, Any]]:
    for predictions in scores.read(stream_blocks(scores.file, reports=False)):
        if scores.alternatives:
            yield from map(ScoredToken, scores.records(predictions))
    record = scores.record()
    if scores.inexact is not None:
        yield Remark(f"{', '.join(record['left_out'])} are left out: {scores.inexact}")
    return record | scores.sizes.record()


def _score_on_page(
    scores: TextScores, page: Path, wants_tokens: bool
) -> Generator[Remark | ScoredToken, None, dict[str, Any]]:
    """The same, with a page, which is written before tokens are yielded, since the caller may stop iterating."""
    from dlkit.information.surprisal_page import write_surprisal_page

    on_page: list[dict[str, Any]] = []
    scoring = Work(_score(scores))
    with tempfile.TemporaryFile("w+", encoding="ascii") as held:
        for event in scoring:
            if isinstance(event, Remark):
                yield event
                continue
            if len(on_page) < MOST_ON_PAGE:
                on_page.append(event.record)
            if wants_tokens:
                held.write(json.dumps(event.record) + "\n")
        record = scoring.result()
        write_surprisal_page(page, record, on_page)
        record["page"] = str(page)
        if len(on_page) < record["n"]:
            yield Remark(f"{page} shows the first {len(on_page):,} of {record['n']:,} tokens")
        held.seek(0)
        yield from (ScoredToken(json.loads(line)) for line in held)
    return record
