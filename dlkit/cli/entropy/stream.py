"""`dlkit entropy FILE`: the entropy of a stream of symbols, order by order."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dlkit.app.compressed_sizes import CompressedSizes
from dlkit.app.text_stream import stream_blocks
from dlkit.cli.console import Output
from dlkit.cli.entropy import view
from dlkit.cli.entropy.code import coded
from dlkit.cli.entropy.input import require_input
from dlkit.cli.progress import reading
from dlkit.errors import RequestError


def stream(
    file: Path | None, symbols: str, order: int, base: float, codecs: bool, prequential: bool, code: str | None,
    plot: Path | None, output: Output,
) -> None:  # fmt: skip
    require_input(file)
    from dlkit.information import byte_statistics, streams

    counter: Any = streams.make_counter(symbols, order)
    sizes = CompressedSizes(file, codecs and not output.quiet, prequential and not output.quiet)
    with reading(output.quiet):
        for block in streams.SYMBOLS[symbols](sizes.pass_on(stream_blocks(file))):
            counter.update(block)
    if order and counter.n <= order:
        raise RequestError(
            f"--order {order}: {counter.n} {symbols} hold no sequence of {order + 1}",
            f"dlkit entropy --order {max(counter.n - 1, 0)}",
        )
    scale = math.log(base) / math.log(2)
    orders = [
        {"order": o.order, "entropy": o.entropy / scale, "corrected": o.corrected / scale, "contexts": o.contexts}
        for o in counter.conditional_entropies()
    ]
    record: dict[str, Any] = {
        "symbols": symbols,
        "n": counter.n,
        "bytes": sizes.bytes,
        "distinct": counter.distinct(),
        "base": base,
        "order": order,
        "entropy": orders[-1]["entropy"],
        "corrected": orders[-1]["corrected"],
        "orders": orders,
    }
    if isinstance(counter, streams.ByteCounts):
        record |= {
            "mean": byte_statistics.byte_mean(counter),
            **byte_statistics.chi_square(counter),
            "serial_correlation": byte_statistics.serial_correlation(counter),
        }
    with reading(output.quiet):
        record |= sizes.record()
    if code is not None:
        names, numbers = counter.alphabet()
        record["code"] = coded(code, names, numbers, base)
    if plot is not None:
        view.plot_stream(plot, record, symbols, base)
    output.emit(record, record["entropy"], lambda: view.stream_table(record))
