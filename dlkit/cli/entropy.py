"""`dlkit entropy`: description length, of a stream, of distributions, and of codes for them."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit.cli import _entropy_view as view
from dlkit.cli._console import Output, live_console
from dlkit.cli._options import Json, Quiet
from dlkit.errors import DlkitError, RequestError

if TYPE_CHECKING:
    from dlkit.information.rows import Rows


class Symbols(StrEnum):
    bytes = "bytes"
    chars = "chars"
    words = "words"
    lines = "lines"


class Code(StrEnum):
    shannon = "shannon"
    huffman = "huffman"
    elias = "shannon-fano-elias"
    range = "range"


def entropy(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="What to measure (default: standard input).")
    ] = None,
    symbols: Annotated[Symbols, typer.Option(help="What a stream is made of.")] = Symbols.bytes,
    order: Annotated[int, typer.Option(min=0, help="Symbols before each one that are taken as known.")] = 0,
    base: Annotated[str, typer.Option(metavar="BASE", help="2 for bits, e for nats, 10, or any number above 1.")] = "2",
    codecs: Annotated[bool, typer.Option("--codecs", help="Compress with gzip, bzip2, xz and zstd beside it.")] = False,
    p: Annotated[
        str | None, typer.Option("--p", metavar="NUMBERS", help="A distribution: 0.4,0.6, a file or -.")
    ] = None,
    q: Annotated[str | None, typer.Option("--q", metavar="NUMBERS", help="Another one, to compare p with.")] = None,
    counts: Annotated[bool, typer.Option("--counts", help="The numbers are counts.")] = False,
    joint: Annotated[bool, typer.Option("--joint", help="The rows of --p are a table of two variables.")] = False,
    code: Annotated[Code | None, typer.Option(help="Make a code, and judge it.")] = None,
    check_code: Annotated[
        str | None, typer.Option(metavar="A=0,B=1,...", help="Judge a code of your own; --p gives its symbols' odds.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the result.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure entropy, cross-entropy, KL divergence and codes.

    Without --p the bytes (or characters, words, lines) of a stream are counted; -q prints their entropy.

    \b
    Examples:
      dlkit entropy book.txt --order 2 --codecs
      dlkit entropy --p 0.4,0.4,0.2 --q 0.5,0.3,0.2
      sort words | uniq -c | dlkit entropy --p - --counts --code huffman
      dlkit entropy --p 0.4,0.4,0.2 --check-code A=0,B=1,C=00
    """
    number = _base(base)
    if plot is not None and (plot.suffix != ".svg" or not plot.parent.is_dir()):
        raise RequestError(f"--plot {plot}: no .svg file in an existing folder", "give a path like entropy.svg")
    output = Output(as_json, quiet)
    if p is None and check_code is None:
        lonely = {"--q": q is not None, "--counts": counts, "--joint": joint}
        for option in (name for name, given in lonely.items() if given):
            raise RequestError(f"{option} needs --p", "dlkit entropy --p 0.4,0.6 ...")
        _stream(file, symbols, order, number, codecs, code, plot, output)
        return
    streamed = {"FILE": file is not None, "--order": order > 0, "--codecs": codecs, "--symbols": symbols != "bytes"}
    for option in (name for name, given in streamed.items() if given):
        raise RequestError(f"{option} is about a stream, --p and --check-code are not", "give one or the other")
    if check_code is not None:
        if code is not None or q is not None or joint or plot is not None:
            raise RequestError(
                "--check-code goes with --p and --counts only", "dlkit entropy --p 0.5,0.5 --check-code A=0,B=1"
            )
        _check(check_code, p, counts, number, output)
    else:
        assert p is not None
        _distributions(p, q, counts, joint, code, plot, number, output)


def _base(text: str) -> float:
    try:
        value = math.e if text == "e" else float(text)
    except ValueError:
        value = math.nan
    if not (value > 1 and math.isfinite(value)):
        raise RequestError(f"--base {text}: a base is a number above 1", "2 for bits, e for nats, 10 for dits")
    return value


# ------------------------------------------------------------------ streams


def _stream(
    file: Path | None, symbols: Symbols, order: int, base: float, codecs: bool, code: Code | None, plot: Path | None,
    output: Output,
) -> None:  # fmt: skip
    if file is None and sys.stdin.isatty():
        raise RequestError("nothing to read", "give a FILE, pipe something in, or give --p 0.4,0.6")
    from dlkit.information import streams
    from dlkit.information.codecs import Codecs

    counter: Any = streams.counter(symbols.value, order)
    compressors = Codecs() if codecs else None
    size = 0

    def read() -> Iterator[bytes]:
        nonlocal size
        for block in _blocks(file):
            size += len(block)
            if compressors is not None:
                compressors.update(block)
            yield block

    for block in streams.SPLIT[symbols.value](read()):
        counter.update(block)
    scale = math.log(base) / math.log(2)
    orders = [
        {"order": o.order, "entropy": o.entropy / scale, "corrected": o.corrected / scale, "contexts": o.contexts}
        for o in counter.orders()
    ]
    record: dict[str, Any] = {
        "symbols": symbols.value,
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
        record["code"] = _coded(code, names, numbers, base)
    if plot is not None:
        view.plot_stream(plot, record, symbols.value, base)
    output.emit(record, record["entropy"], lambda: view.stream_table(record))


def _blocks(file: Path | None) -> Iterator[bytes]:
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


# ------------------------------------------------------------------ distributions


def _distributions(
    p: str, q: str | None, counts: bool, joint: bool, code: Code | None, plot: Path | None, base: float, output: Output
) -> None:
    from dlkit.information import rows

    table = rows.read(p, "p", joint)
    if joint:
        if q is not None or code is not None or plot is not None:
            raise RequestError(
                "--joint goes with --p and --counts only", "dlkit entropy --joint --p table.csv --counts"
            )
        _joint(table, counts, base, output)
        return
    other = rows.read(q, "q") if q is not None else None
    if other is not None and other.values.shape[1] != table.values.shape[1]:
        raise RequestError(
            f"p has {table.values.shape[1]} outcomes, q has {other.values.shape[1]}", "give both the same outcomes"
        )
    if other is not None and len(other.values) not in (1, len(table.values)):
        raise RequestError(
            f"p has {len(table.values)} rows, q has {len(other.values)}", "give q one row, or as many as p"
        )
    if other is not None and table.columns and other.columns and table.columns != other.columns:
        raise RequestError("p and q label their outcomes differently", "give both in the same order")
    if len(table.values) > 1 and (code is not None or plot is not None):
        raise RequestError(f"--code and --plot take one distribution, not {len(table.values)}", "give one row")
    records = _measured(table, other, counts, base)
    first = next(records)
    if code is not None:
        assert "p" in first
        first["code"] = _coded(code, [table.symbol(i) for i in range(table.values.shape[1])], first["p"], base)
    if plot is not None:
        view.plot_distribution(plot, table, first, base)
    first.pop("p")
    output.emit(first, first["entropy"], lambda: view.measures_table(first))
    for record in records:
        record.pop("p")
        output.emit(record, record["entropy"], lambda record=record: view.measures_table(record))


def _measured(table: Rows, other: Rows | None, counts: bool, base: float) -> Iterator[dict[str, Any]]:
    """One record a row."""
    import numpy as np

    from dlkit.information import measures

    p = measures.distributions(table.values, counts, "p")
    columns: dict[str, Any] = {"entropy": measures.entropy(p, base), "perplexity": measures.perplexity(p)}
    if other is not None:
        q = np.broadcast_to(measures.distributions(other.values, counts, "q"), p.shape)
        columns |= {
            "entropy_q": measures.entropy(q, base),
            "cross_entropy": measures.cross_entropy(p, q, base),
            "kl": measures.kl_divergence(p, q, base),
            "kl_reverse": measures.kl_divergence(q, p, base),
            "jensen_shannon": measures.jensen_shannon(p, q, base),
        }
    lists = {name: values.tolist() for name, values in columns.items()}
    for index in range(len(p)):
        record: dict[str, Any] = {"outcomes": p.shape[1], "base": base}
        if len(p) > 1:
            record["row"] = index + 1
        if table.rows:
            record["label"] = table.rows[index]
        record |= {name: values[index] for name, values in lists.items()}
        infinite = [name for name in lists if math.isinf(record[name])]
        if infinite:
            record["infinite"] = infinite  # which JSON can only say as null
        yield {**record, "p": p[index]}


def _joint(table: Rows, counts: bool, base: float, output: Output) -> None:
    from dlkit.information import measures

    shape = table.values.shape
    joint = measures.distributions(table.values.reshape(1, -1), counts, "p").reshape(shape)
    x, y = joint.sum(1), joint.sum(0)
    whole = float(measures.entropy(joint.reshape(-1), base))
    record = {
        "rows": shape[0],
        "columns": shape[1],
        "base": base,
        "entropy": whole,
        "entropy_rows": float(measures.entropy(x, base)),
        "entropy_columns": float(measures.entropy(y, base)),
        "mutual_information": float(measures.mutual_information(joint, base)),
    }
    # H(X|Y) = H(X, Y) - H(Y)
    record["entropy_rows_given_columns"] = whole - record["entropy_columns"]
    record["entropy_columns_given_rows"] = whole - record["entropy_rows"]
    output.emit(record, record["mutual_information"], lambda: view.measures_table(record))


# ------------------------------------------------------------------ codes


def _coded(code: Code, names: list[str], weights: Any, base: float) -> dict[str, Any]:
    """A code for the symbols, as a record; lengths are in bits."""
    from dlkit.information import codes, measures

    p = measures.distributions(weights, counts=True)
    probabilities: list[float] = p.tolist()
    words = codes.WORDS[code.value](probabilities) if code is not Code.range else None
    lengths = [len(word) for word in words] if words is not None else codes.range_lengths(probabilities)
    used = [index for index, probability in enumerate(probabilities) if probability > 0]
    record = _judged(probabilities, [lengths[index] for index in used], used)
    record = {"name": code.value, **record}
    if len(used) <= view.MOST_WORDS:
        record["words"] = [
            {"symbol": names[i], "p": probabilities[i], "length": lengths[i], **({"word": words[i]} if words else {})}
            for i in used
        ]
    return record


def _judged(p: list[float], lengths: list[float] | list[int], used: list[int]) -> dict[str, Any]:
    import numpy as np

    from dlkit.information import codes, measures

    mean = codes.expected_length([p[index] for index in used], lengths)
    bits = float(measures.entropy(np.array(p), 2.0))
    return {
        "expected_length": mean,
        "entropy_bits": bits,
        "redundancy": mean - bits,
        "kraft_sum": codes.kraft_sum(lengths),
    }


def _check(text: str, p: str | None, counts: bool, base: float, output: Output) -> None:
    from dlkit.information import codes, measures, rows

    words: dict[str, str] = {}
    for part in text.split(","):
        symbol, equals, word = part.partition("=")
        if not equals or symbol in words:
            wrong = "stands twice" if equals else "has no word"
            raise RequestError(f"--check-code: {symbol or part!r} {wrong}", "write A=0,B=10,C=11")
        words[symbol.strip()] = word.strip()
    found = codes.ambiguity(words)
    violation = codes.prefix_violation(words)
    record: dict[str, Any] = {
        "code": words,
        "kraft_sum": codes.kraft_sum([len(word) for word in words.values()]),
        "prefix_free": violation is None,
        "uniquely_decodable": found is None,
    }
    if violation is not None:
        record["prefix"] = list(violation)
    if found is not None:
        record["ambiguous"] = {"bits": found[0], "first": found[1], "second": found[2]}
    if p is not None:
        table = rows.read(p, "p")
        if table.values.shape != (1, len(words)):
            raise RequestError(f"the code has {len(words)} words, p has {table.values.size} numbers", "give one each")
        if table.columns and set(table.columns) != set(words):
            raise RequestError("the code and p label their symbols differently", "give both the same labels")
        columns = table.columns or tuple(words)
        probabilities = measures.distributions(table.values[0], counts).tolist()
        used = [index for index, probability in enumerate(probabilities) if probability > 0]
        record |= _judged(probabilities, [len(words[columns[index]]) for index in used], used) | {
            "kraft_sum": record["kraft_sum"]
        }
    output.emit(record, "yes" if found is None else "no", lambda: view.check_table(record))
