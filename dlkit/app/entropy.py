"""Entropy of a stream or of distributions, and codes for them: `dlkit.entropy`. No torch."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dlkit.app.events import Remark, Work
from dlkit.errors import RequestError
from dlkit.plotting import require_figure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dlkit.information.rows import Rows


@dataclass(frozen=True)
class MeasuredEntropy:
    """What was measured, and the records of it: several only where p has several rows."""

    kind: Literal["stream", "distributions", "joint", "code"]
    records: Sequence[dict[str, Any]]


def measure_entropy(
    file: str | os.PathLike[str] | None = None,
    *,
    symbols: str = "bytes",
    order: int = 0,
    base: float = 2.0,
    codecs: bool = False,
    prequential: bool = False,
    p: str | Mapping[str, float] | ArrayLike | None = None,
    q: str | Mapping[str, float] | ArrayLike | None = None,
    counts: bool = False,
    joint: bool = False,
    code: str | None = None,
    check_code: str | Mapping[str, str] | None = None,
    plot: str | os.PathLike[str] | None = None,
) -> Work[Remark, MeasuredEntropy]:
    """Measure the symbols of a file; or a distribution, and how far it is from another; or a code.

    What a GPT makes of a text, `dlkit.score` measures.

    Args:
        file: the stream; None for standard input, unless there is `p` or `check_code`.
        symbols: what it is made of: `bytes`, `chars`, `words` or `lines`.
        order: symbols of context: the entropy of one given so many before it.
        base: of the logarithm: 2 for bits, e for nats, or any number above 1.
        codecs: compress it with gzip, bzip2, xz and zstd too.
        prequential: measure its prequential code too.
        p: a distribution, or a row for each of several: numbers, symbol -> number, or as the command takes it:
            `0.4,0.6`, a file, or `-`.
        q: another one, for cross-entropy and KL divergence.
        counts: the numbers are counts, to be divided by their sum.
        joint: the rows of p are a table of two variables.
        code: build one and measure it: `shannon`, `huffman`, `shannon-fano-elias` or `range`.
        check_code: code words to check, symbol -> word or `A=0,B=10,C=11`; `p` gives their probabilities.
        plot: draw the result into this file (.svg, .png or .pdf): with `q`, what each symbol adds to the KL divergence.

    Raises:
        RequestError: options exclude each other, or numbers are not a distribution.
        DlkitError: a file cannot be read or written.
    """
    if not (base > 1 and math.isfinite(base)):
        raise RequestError(f"`base` {base}: a base is a number above 1", "2 for bits, e for nats, 10 for dits")
    path, target = None if file is None else Path(file), None if plot is None else Path(plot)
    require_figure("`plot`", target)
    details = {"`q`": q is not None, "`counts`": counts, "`joint`": joint}
    if p is None and check_code is None:
        _refuse(details, "needs `p`", "dlkit entropy --p 0.4,0.6 ...")
        return Work(_of_stream(path, symbols, order, base, codecs, prequential, code, target))
    streamed = {"FILE": file is not None, "`codecs`": codecs, "`prequential`": prequential, "`order`": order > 0,
                "`symbols`": symbols != "bytes"}  # fmt: skip
    _refuse(streamed, "is about a stream, `p` and `check_code` are not", "give one or the other")
    coded = {"`code`": code is not None, "`plot`": plot is not None}
    if check_code is not None:
        refused = {"`q`": q is not None, "`joint`": joint, **coded}
        _refuse(refused, "does not go with `check_code`", "dlkit entropy --p 0.5,0.5 --check-code A=0,B=1")
        return Work(_of_code(check_code, p, counts))
    if isinstance(p, str) and isinstance(q, str) and p == q == "-":
        raise RequestError("`p` and `q` cannot both come from standard input", "give one of them as a file")
    if joint:
        return Work(_of_joint(p, counts, base, any((q is not None, *coded.values()))))
    return Work(_of_distributions(p, q, counts, base, code, target))


def _refuse(options: dict[str, bool], why: str, hint: str) -> None:
    """Raise RequestError for the first of these options that is given."""
    for option in (name for name, given in options.items() if given):
        raise RequestError(f"{option} {why}", hint)


def _of_stream(*arguments: Any) -> Generator[Remark, None, MeasuredEntropy]:
    from dlkit.app.stream_entropy import stream_record

    yield from ()
    return MeasuredEntropy("stream", [stream_record(*arguments)])


def _read(numbers: Any, name: str, counts: bool, joint: bool = False) -> Generator[Remark, None, Rows]:
    """The rows of an argument; says what the numbers of a file were taken for."""
    from dlkit.information.rows import as_rows, read_rows

    table = read_rows(numbers, name, joint, counts) if isinstance(numbers, str) else as_rows(numbers, name)
    if table.form is not None:
        yield Remark(f"{name}: {table.form}", routine=True)
    return table


def _of_distributions(
    p: Any, q: Any, counts: bool, base: float, code: str | None, plot: Path | None
) -> Generator[Remark, None, MeasuredEntropy]:
    from dlkit.app.distribution_entropy import coded_distribution, measure_distributions

    table = yield from _read(p, "p", counts)
    other = None if q is None else (yield from _read(q, "q", counts))
    rows = len(table.values)
    if rows > 1 and (code is not None or plot is not None):
        raise RequestError(f"`code` and `plot` take one distribution, not {rows}", "give one row")
    found = measure_distributions(table, other, counts, base)
    return MeasuredEntropy("distributions", found if rows > 1 else [coded_distribution(found, code, plot)])


def _of_joint(p: Any, counts: bool, base: float, has_others: bool) -> Generator[Remark, None, MeasuredEntropy]:
    from dlkit.app.distribution_entropy import joint_record

    table = yield from _read(p, "p", counts, joint=True)
    if has_others:
        raise RequestError("`joint` goes with `p` and `counts` only", "dlkit entropy --joint --p table.csv --counts")
    return MeasuredEntropy("joint", [joint_record(table, counts, base)])


def _of_code(words: str | Mapping[str, str], p: Any, counts: bool) -> Generator[Remark, None, MeasuredEntropy]:
    from dlkit.information.code_records import code_check_record, parse_code

    words = parse_code(words) if isinstance(words, str) else words
    table = None if p is None else (yield from _read(p, "p", counts))
    return MeasuredEntropy("code", [code_check_record(words, table, counts)])
