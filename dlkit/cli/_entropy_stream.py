"""`dlkit entropy FILE`: the entropy of a stream of symbols, order by order."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dlkit.cli import _entropy_view as view
from dlkit.cli._console import Output, live_console
from dlkit.cli._entropy_code import coded
from dlkit.errors import DlkitError, RequestError


def stream(
    file: Path | None, symbols: str, order: int, base: float, codecs: bool, code: str | None, plot: Path | None,
    output: Output,
) -> None:  # fmt: skip
    require_input(file)
    from dlkit.information import streams
    from dlkit.information.codecs import Codecs

    counter: Any = streams.counter(symbols, order)
    compressors = Codecs() if codecs else None
    size = 0

    def read() -> Iterator[bytes]:
        nonlocal size
        for block in blocks(file):
            size += len(block)
            if compressors is not None:
                compressors.update(block)
            yield block

    for block in streams.SPLIT[symbols](read()):
        counter.update(block)
    scale = math.log(base) / math.log(2)
    orders = [
        {"order": o.order, "entropy": o.entropy / scale, "corrected": o.corrected / scale, "contexts": o.contexts}
        for o in counter.orders()
    ]
    record: dict[str, Any] = {
        "symbols": symbols,
        "n": counter.n,
        "bytes": size,
        "distinct": counter.distinct(),
        "base": base,
        "order": order,
        "entropy": orders[-1]["entropy"],
        "corrected": orders[-1]["corrected"],
        "orders": orders,
    }
    if isinstance(counter, streams.ByteCounts):
        record |= {"mean": counter.mean(), **counter.chi_square(), "serial_correlation": counter.serial_correlation()}
    if compressors is not None:
        record["codecs"] = compressors.finish()
    if code is not None:
        names, numbers = counter.alphabet()
        record["code"] = coded(code, names, numbers, base)
    if plot is not None:
        view.plot_stream(plot, record, symbols, base)
    output.emit(record, record["entropy"], lambda: view.stream_table(record))


def require_input(file: Path | None) -> None:
    """Raise RequestError where a person would have to type the stream."""
    if file is None and sys.stdin.isatty():
        raise RequestError("nothing to read", "give a FILE, pipe something in, or give --p 0.4,0.6")


def blocks(file: Path | None) -> Iterator[bytes]:
    """The stream in blocks, with a progress bar on a terminal once it takes a while."""
    from dlkit.cli._progress import Progress
    from dlkit.information.streams import blocks

    try:
        with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as source:
            total = file.stat().st_size if file is not None and file.is_file() else None
            with Progress("reading", total, live_console()) as progress:
                for block in blocks(source):
                    progress.advance(len(block))
                    yield block
    except OSError as error:
        raise DlkitError(f"cannot read {file or 'standard input'}: {error.strerror}") from error
