"""`dlkit entropy FILE --model RUN`: the cross-entropy of a text under a GPT, in bits a byte and bits a token."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dlkit.cli.console import Output, live_console, note
from dlkit.cli.entropy import surprisal_view as view
from dlkit.cli.entropy.totals import Totals
from dlkit.errors import DlkitError, RequestError

if TYPE_CHECKING:
    from dlkit.lm.language_model import LanguageModel
    from dlkit.lm.scoring import Predictions

ALTERNATIVES = 5
MOST_ON_PAGE = 50_000  # tokens


def text(
    file: Path | None, model: str, context: int | None, stride: int | None, tokens: bool, page: Path | None,
    codecs: bool, prequential: bool, device: str, output: Output,
) -> None:  # fmt: skip
    from dlkit.cli.entropy.input import blocks, require_input

    require_input(file)
    if file is None and model == "-":
        raise RequestError("the text and RUN cannot both come from standard input", "name one of them")

    from dlkit.lm.language_model import open_language_model
    from dlkit.train.device import pick_device

    reader = open_language_model(model, pick_device(device))
    if not reader.causal:
        raise RequestError(
            f"{reader.path} is a model for {reader.task}, which gives a text no probability", "--model takes a GPT"
        )
    totals = Totals(file, codecs and not output.quiet, prequential and not output.quiet)
    measured = Measured(reader, file, context, stride, totals, ALTERNATIVES if tokens or page else 0, output.quiet)
    kept: list[dict[str, Any]] = []
    told = tokens and not output.quiet
    shown = view.TokenView(output) if told and page is None else None
    with tempfile.TemporaryFile("w+", encoding="ascii") as held:  # what is to be told once the page is there
        for predictions in measured.read(blocks(file, silent=True)):
            if not measured.alternatives:
                continue
            for token in measured.records(predictions):
                if shown is not None:
                    shown.add(token)
                elif told:
                    held.write(json.dumps(token) + "\n")
                if page is not None and len(kept) < MOST_ON_PAGE:
                    kept.append(token)
        record = measured.record()
        if page is not None:
            from dlkit.information import surprisal_page

            surprisal_page.write(page, record, kept)
            record["page"] = str(page)
            if len(kept) < record["n"]:
                note(f"{page} shows the first {len(kept):,} of {record['n']:,} tokens")
        if told and shown is None:
            held.seek(0)
            shown = view.TokenView(output)
            for line in held:
                shown.add(json.loads(line))
    if shown is not None:
        shown.finish()
    output.emit(record, record.get("bits_per_byte"), lambda: view.summary_table(record))


class Measured:
    """A text under a model, as it comes.

    Args:
        reader: a GPT and its tokenizer.
        file: where the text comes from, None for standard input.
        context: tokens a window; None for the model's own.
        stride: tokens between two windows; None for context.
        totals: what else to measure of the text on its way.
        alternatives: of each token, to tell; 0 for none, and then no ranks either.
        silent: show no progress, and fail where there are no bits a byte to tell.

    Raises:
        RequestError: context or stride do not fit.
    """

    def __init__(
        self, reader: LanguageModel, file: Path | None, context: int | None, stride: int | None, totals: Totals,
        alternatives: int, silent: bool = False,
    ) -> None:  # fmt: skip
        from dlkit.information.bootstrap import Cells

        longest: int = reader.model.context  # pyright: ignore[reportAssignmentType]
        self.context = context or longest
        self.stride = stride or self.context
        if self.context > longest:
            raise RequestError(
                f"--context {self.context}: the model looks back on {longest} tokens at most", "lower --context"
            )
        if self.stride > self.context:
            raise RequestError(f"--stride {self.stride} is more than the context of {self.context}", "lower --stride")
        self.reader, self.file, self.totals = reader, file, totals
        self.alternatives, self.silent = alternatives, silent
        self.cells = Cells(3)  # bits, bytes, tokens
        self.seconds = 0.0

    def read(self, source: Iterator[bytes]) -> Iterator[Predictions]:
        """Measure the text; its predictions, batch by batch."""
        import numpy as np

        from dlkit.cli.progress import Progress
        from dlkit.data.text.corpus import cut
        from dlkit.lm import scoring

        tokenizer = self.reader.tokenizer
        lengths = np.array([len(tokenizer.bytes_of(number)) for number in range(tokenizer.size)], dtype=np.float64)
        total = self.file.stat().st_size if self.file is not None and self.file.is_file() else None
        pieces = cut(self.totals.pass_on(source))
        if tokenizer.byte_level:
            why = "the tokenizer changes the text: its tokens do not give it back"
            chunks = tokenizer.encode_bytes(pieces, lambda: self._leave_out(why))
        else:
            self._leave_out("the tokens do not stand for bytes")
            chunks = tokenizer.encode_pieces(_decoded(pieces, self._name))
        began = time.perf_counter()
        gpt: Any = self.reader.model
        console = None if self.silent else live_console()
        with Progress("predicting", total, console, plain=not self.silent) as progress:
            for predictions in scoring.predict(
                gpt, chunks, tokenizer.separator, self.context, self.stride, self.alternatives
            ):
                sizes = lengths[predictions.tokens]
                self.cells.add(np.stack((predictions.bits, sizes, np.ones_like(sizes)), axis=1))
                progress.advance(int(sizes.sum()))
                yield predictions
        self.seconds = time.perf_counter() - began
        if not self.totals.bytes:
            raise DlkitError(f"{self._name} is empty: there is nothing to predict", "give a text")
        if not self.cells.total()[2]:
            raise DlkitError(f"{self._name} has no token for {self.reader.path}, which drops all of it", "give a text")

    @property
    def _name(self) -> str:
        return str(self.file or "standard input")

    def _leave_out(self, why: str) -> None:
        """Bits a byte make no sense: tokens that do not give the text back are no description of it."""
        if self.silent:
            raise DlkitError(
                f"{self._name} has no bits a byte under {self.reader.path}: {why}",
                "without -q the record has bits a token, which hold for this tokenizer alone",
            )
        self.inexact = why

    def records(self, predictions: Predictions) -> Iterator[dict[str, Any]]:
        """One a token."""
        p, tokenizer = predictions, self.reader.tokenizer
        columns: Any = (p.tokens, p.bits, p.ranks, p.uncertainty, p.alternatives, p.odds)
        for number, bits, rank, uncertainty, others, odds in zip(*(c.tolist() for c in columns), strict=True):
            place, offset = self._place
            self._place = place + 1, offset + len(tokenizer.bytes_of(number))
            yield {
                "kind": "token",
                "place": place,
                "byte": offset if self.inexact is None else None,
                "token": number,
                "text": view.text_of(tokenizer, number),
                "hex": tokenizer.bytes_of(number).hex() if tokenizer.byte_level else None,
                "bits": bits,
                "rank": rank or None,
                "expected_bits": uncertainty,
                "alternatives": [
                    {"token": other, "text": view.text_of(tokenizer, other), "p": odd}
                    for other, odd in zip(others, odds, strict=True)
                    if other < tokenizer.size
                ],
            }

    _place = (0, 0)  # tokens and bytes before the next record
    inexact: str | None = None  # why there are no bits a byte

    def record(self) -> dict[str, Any]:
        """What was measured, in bits and bytes."""
        from dlkit.information import bootstrap

        bits, size, n = self.cells.total().tolist()
        interval = bootstrap.rate_intervals(self.cells.sums)
        separator, tokenizer = self.reader.tokenizer.separator, self.reader.tokenizer
        payload, model = math.ceil(bits / 8), model_bytes(self.reader)
        record: dict[str, Any] = {
            "kind": "summary",
            "run": str(self.reader.path),
            "symbols": "tokens",
            "n": round(n),
            "bytes": self.totals.bytes,
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
                + ("; what is not UTF-8 is a token a byte" if tokenizer.byte_level else ""),
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
            note(f"{', '.join(record['left_out'])} are left out: {self.inexact}")
        return record | self.totals.record()


def _decoded(pieces: Iterator[bytes], name: str) -> Iterator[str]:
    place = 0
    for piece in pieces:
        try:
            yield piece.decode()
        except UnicodeDecodeError as error:
            what = f"byte 0x{piece[error.start]:02x} at offset {place + error.start}"
            raise DlkitError(f"{name} is not UTF-8 text: {what}", "convert it, for example with iconv") from error
        place += len(piece)


def model_bytes(reader: LanguageModel) -> int:
    """What a receiver needs besides the payload: the weights as they are, each once, and the tokenizer."""
    from dlkit.compression.model import size

    return size(cast(Any, reader.model)) + len(reader.tokenizer.to_json().encode())
