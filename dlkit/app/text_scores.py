"""A text under a GPT as it is read: the surprisal of each token, and what they come to."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dlkit.app.compressed_sizes import CompressedSizes
from dlkit.app.text_stream import stream_size
from dlkit.errors import DlkitError, RequestError
from dlkit.progress import stage

if TYPE_CHECKING:
    from dlkit.data.text.tokenizer import Tokenizer
    from dlkit.lm.language_model import LanguageModel
    from dlkit.lm.scoring import Predictions


class TextScores:
    """A text under a model, as it comes.

    Args:
        language_model: a GPT and its tokenizer.
        file: where the text comes from, None for standard input.
        context: tokens a window; None for the model's own.
        stride: tokens between two windows; None for context.
        sizes: measures the text on its way.
        alternatives: of each token; 0 for none, and then no ranks either.
        exact: fail where there are no bits per byte.

    Raises:
        RequestError: context or stride do not fit.
    """

    def __init__(
        self, language_model: LanguageModel, file: Path | None, context: int | None, stride: int | None,
        sizes: CompressedSizes,
        alternatives: int, exact: bool = False,
    ) -> None:  # fmt: skip
        from dlkit.information.bootstrap import BinnedSeries

        longest: int = language_model.model.context  # pyright: ignore[reportAssignmentType]
        self.context = context or longest
        self.stride = stride or self.context
        if self.context > longest:
            raise RequestError(
                f"`context` {self.context}: the model looks back on {longest} tokens at most", "lower `context`"
            )
        if self.stride > self.context:
            raise RequestError(f"`stride` {self.stride} is more than the context of {self.context}", "lower `stride`")
        self.language_model, self.file, self.sizes = language_model, file, sizes
        self.alternatives, self.exact = alternatives, exact
        self.cells = BinnedSeries(3)  # bits, bytes, tokens
        self.inexact: str | None = None  # why there are no bits per byte
        self.seconds = 0.0
        self._position = (0, 0)  # tokens and bytes before the next record

    def read(self, source: Iterator[bytes]) -> Iterator[Predictions]:
        """Measure the text; its predictions, batch by batch."""
        import numpy as np

        from dlkit.data.text.corpus import split_into_pieces
        from dlkit.lm import scoring

        tokenizer = self.language_model.tokenizer
        lengths = np.array([len(tokenizer.bytes_of(token_id)) for token_id in range(tokenizer.size)], dtype=np.float64)
        pieces = split_into_pieces(self.sizes.pass_on(source))
        if tokenizer.byte_level:
            why = "the tokenizer changes the text: its tokens do not give it back"
            chunks = tokenizer.encode_bytes(pieces, lambda: self._leave_out(why))
        else:
            self._leave_out("the tokens do not stand for bytes")
            chunks = tokenizer.encode_pieces(_decoded(pieces, self._name))
        began = time.perf_counter()
        gpt: Any = self.language_model.model
        with stage("predicting", stream_size(self.file)) as advance:
            for predictions in scoring.predict_tokens(
                gpt, chunks, tokenizer.separator, self.context, self.stride, self.alternatives
            ):
                sizes = lengths[predictions.tokens]
                self.cells.add(np.stack((predictions.bits, sizes, np.ones_like(sizes)), axis=1))
                advance(int(sizes.sum()))
                yield predictions
        self.seconds = time.perf_counter() - began
        if not self.sizes.bytes:
            raise DlkitError(f"{self._name} is empty: there is nothing to predict", "give a text")
        if not self.cells.total()[2]:
            raise DlkitError(
                f"{self._name} has no token for {self.language_model.path}, which drops all of it", "give a text"
            )

    @property
    def _name(self) -> str:
        return str(self.file or "standard input")

    def _leave_out(self, why: str) -> None:
        """Bits per byte are undefined: tokens that do not decode to the text do not describe it."""
        if self.exact:
            raise DlkitError(
                f"{self._name} has no bits per byte under {self.language_model.path}: {why}",
                "without -q the record has bits per token, which hold for this tokenizer alone",
            )
        self.inexact = why

    def records(self, predictions: Predictions) -> Iterator[dict[str, Any]]:
        """One record per token."""
        p, tokenizer = predictions, self.language_model.tokenizer
        columns: Any = (p.tokens, p.bits, p.ranks, p.entropy, p.alternatives, p.probabilities)
        for token_id, bits, rank, uncertainty, others, odds in zip(*(c.tolist() for c in columns), strict=True):
            position, offset = self._position
            self._position = position + 1, offset + len(tokenizer.bytes_of(token_id))
            yield {
                "kind": "token",
                "place": position,
                "byte": offset if self.inexact is None else None,
                "token": token_id,
                "text": token_text(tokenizer, token_id),
                "hex": tokenizer.bytes_of(token_id).hex() if tokenizer.byte_level else None,
                "bits": bits,
                "rank": rank or None,
                "expected_bits": uncertainty,
                "alternatives": [
                    {"token": other, "text": token_text(tokenizer, other), "p": odd}
                    for other, odd in zip(others, odds, strict=True)
                    if other < tokenizer.size
                ],
            }

    def record(self) -> dict[str, Any]:
        """What was measured, in bits and bytes."""
        from dlkit.information import bootstrap

        bits, size, n = self.cells.total().tolist()
        interval = bootstrap.rate_intervals(self.cells.sums)
        separator, tokenizer = self.language_model.tokenizer.separator, self.language_model.tokenizer
        payload, model = math.ceil(bits / 8), model_bytes(self.language_model)
        record: dict[str, Any] = {
            "kind": "summary",
            "run": str(self.language_model.path),
            "symbols": "tokens",
            "n": round(n),
            "bytes": self.sizes.bytes,
            "base": 2.0,
            "entropy": bits / n,
            "bits_per_byte": bits / max(size, 1),
            "bits_per_token": bits / n,
            "bits_per_byte_interval": None if interval is None else [interval.low[0], interval.high[0]],
            "bits_per_token_interval": None if interval is None else [interval.low[1], interval.high[1]],
            "perplexity": 2 ** min(bits / n, 1000.0),
            "convention": {
                "context": self.context,
                "stride": self.stride,
                "first_token": (
                    "log2 of the vocabulary"
                    if separator is None
                    else f"predicted from {tokenizer.engine.id_to_token(separator)}"
                ),
                "bytes": "of the input as it is"
                + ("; each byte that is not UTF-8 is a token" if tokenizer.byte_level else ""),
                "precision": "float32",
            },
            "interval": None
            if interval is None
            else {
                "level": bootstrap.LEVEL,
                "method": "circular block bootstrap",
                "block_tokens": interval.block * self.cells.width,
                "replicates": bootstrap.REPLICATES,
            },
            "payload_bytes": payload,
            "model_bytes": model,
            "total_bytes": payload + model,
            "seconds": round(self.seconds, 3),
            "tokens_per_second": round(n / max(self.seconds, 1e-9), 1),
        }
        if self.inexact is not None:
            for name in ("bits_per_byte", "bits_per_byte_interval", "payload_bytes", "total_bytes"):
                del record[name]
            record["left_out"] = dict.fromkeys(("bits_per_byte", "payload_bytes", "total_bytes"), self.inexact)
        return record


def token_text(tokenizer: Tokenizer, token_id: int) -> str:
    """The text of a token, with bytes that are no whole character spelled out.

    Where tokens do not stand for bytes it is as the vocabulary has it.
    """
    if not tokenizer.byte_level:
        return tokenizer.engine.id_to_token(token_id) or ""
    return tokenizer.bytes_of(token_id).decode("utf-8", "backslashreplace")


def _decoded(pieces: Iterator[bytes], name: str) -> Iterator[str]:
    offset = 0
    for piece in pieces:
        try:
            yield piece.decode()
        except UnicodeDecodeError as error:
            what = f"byte 0x{piece[error.start]:02x} at offset {offset + error.start}"
            raise DlkitError(f"{name} is not UTF-8 text: {what}", "convert it, for example with iconv") from error
        offset += len(piece)


def model_bytes(language_model: LanguageModel) -> int:
    """What a receiver needs besides the payload: the weights as they are, each once, and the tokenizer."""
    from dlkit.compression.gpt_distributions import weight_bytes

    return weight_bytes(cast(Any, language_model.model)) + len(language_model.tokenizer.to_json().encode())
