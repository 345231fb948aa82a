"""The entropy of a stream of symbols, order by order, and codes for it. No torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dlkit.app.compressed_sizes import CompressedSizes
from dlkit.app.text_stream import stream_blocks
from dlkit.errors import RequestError
from dlkit.information import byte_statistics, plots, streams
from dlkit.information.code_records import code_record
from dlkit.information.units import unit_of


def stream_record(
    file: Path | None, symbols: str, order: int, base: float, codecs: bool, prequential: bool, code: str | None,
    plot: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """Count a stream to its end; arguments as in `measure_entropy`."""
    if symbols not in streams.SYMBOLS:
        raise RequestError(f"no symbols {symbols!r}", f"there are {', '.join(streams.SYMBOLS)}")
    counter = streams.make_counter(symbols, order)
    sizes = CompressedSizes(file, codecs, prequential)
    for block in streams.SYMBOLS[symbols](sizes.pass_on(stream_blocks(file))):
        counter.update(block)
    if order and counter.n <= order:
        raise RequestError(
            f"`order` {order}: {counter.n} {symbols} hold no sequence of {order + 1}",
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
    record |= sizes.record()
    if code is not None:
        alphabet, occurrences = counter.alphabet()
        record["code"] = code_record(code, alphabet, occurrences)
    if plot is not None:
        if code is not None:
            plots.plot_code(plot, record["code"])
        else:
            plain, corrected = ([o[key] for o in orders] for key in ("entropy", "corrected"))
            plots.plot_entropy_by_order(plot, plain, corrected, symbols, unit_of(base))
    return record
