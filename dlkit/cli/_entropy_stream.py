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
from dlkit.cli._entropy_totals import Totals
from dlkit.errors import DlkitError, RequestError


def stream(
    file: Path | None, symbols: str, order: int, base: float, codecs: bool, prequential: bool, code: str | None,
    plot: Path | None, output: Output,
) -> None:  # fmt: skip
    require_input(file)
    from dlkit.information import streams

    counter: Any = streams.counter(symbols, order)
    totals = Totals(file, codecs and not output.quiet, prequential and not output.quiet)
    for block in streams.SPLIT[symbols](totals.pass_on(blocks(file, silent=output.quiet))):
        counter.update(block)
    if order and counter.n <= order:
        raise RequestError(
            f"--order {order}: {counter.n} {symbols} hold no sequence of {order + 1}",
            f"dlkit entropy --order {max(counter.n - 1, 0)}",
        )
    scale = math.log(base) / math.log(2)
    orders = [
        {"order": o.order, "entropy": o.entropy / scale, "corrected": o.corrected / scale, "contexts": o.contexts}
        for o in counter.orders()
    ]
    record: dict[str, Any] = {
        "symbols": symbols,
        "n": counter.n,
        "bytes": totals.bytes,
        "distinct": counter.distinct(),
        "base": base,
        "order": order,
        "entropy": orders[-1]["entropy"],
        "corrected": orders[-1]["corrected"],
        "orders": orders,
    }
    if isinstance(counter, streams.ByteCounts):
        record |= {"mean": counter.mean(), **counter.chi_square(), "serial_correlation": counter.serial_correlation()}
    record |= totals.record()
    if code is not None:
        names, numbers = counter.alphabet()
        record["code"] = coded(code, names, numbers, base)
    if plot is not None:
        view.plot_stream(plot, record, symbols, base)
    output.emit(record, record["entropy"], lambda: view.stream_table(record))


def require_input(file: Path | None) -> None:
    """Raise RequestError where a person would have to type the stream, DlkitError where a file cannot be read."""
    if file is None:
        if sys.stdin.isatty():
            raise RequestError("nothing to read", "give a FILE, pipe something in, or give --p 0.4,0.6")
    elif not file.is_fifo():  # which can be opened only once
        try:
            file.open("rb").close()
        except OSError as error:
            raise DlkitError(f"cannot read {file}: {error.strerror}") from error


def blocks(file: Path | None, silent: bool = False) -> Iterator[bytes]:
    """The stream in blocks, with progress once it takes a while, unless it is to be silent."""
    from dlkit.cli._progress import Progress
    from dlkit.information.streams import blocks

    try:
        with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as source:
            total = file.stat().st_size if file is not None and file.is_file() else None
            with Progress("reading", total, None if silent else live_console(), plain=not silent) as progress:
                for block in blocks(source):
                    progress.advance(len(block))
                    yield block
    except OSError as error:
        raise DlkitError(f"cannot read {file or 'standard input'}: {error.strerror}") from error
