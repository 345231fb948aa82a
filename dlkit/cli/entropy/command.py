"""`dlkit entropy`: description length, of a stream, of distributions, and of codes for them."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.options import Device, Json, Quiet
from dlkit.errors import RequestError
from dlkit.plotting import require_figure
from dlkit.storage.atomic_file import require_target


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


def entropy_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="What to measure (default: standard input).")
    ] = None,
    symbols: Annotated[Symbols, typer.Option(help="What a stream is made of.")] = Symbols.bytes,
    order: Annotated[int, typer.Option(min=0, help="Symbols before each one that are taken as known.")] = 0,
    base: Annotated[
        str, typer.Option("--base", metavar="BASE", help="2 for bits, e for nats, 10, or any number above 1.")
    ] = "2",
    codecs: Annotated[bool, typer.Option("--codecs", help="Compress with gzip, bzip2, xz and zstd beside it.")] = False,
    prequential: Annotated[
        bool,
        typer.Option("--prequential", help="Also the length of a code that learns as it goes."),
    ] = False,
    p: Annotated[
        str | None, typer.Option("--p", metavar="NUMBERS", help="A distribution: 0.4,0.6, a file (one a line) or -.")
    ] = None,
    q: Annotated[str | None, typer.Option("--q", metavar="NUMBERS", help="Another one, to compare p with.")] = None,
    counts: Annotated[bool, typer.Option("--counts", help="The numbers are counts; reads `uniq -c`.")] = False,
    joint: Annotated[bool, typer.Option("--joint", help="The rows of --p are a table of two variables.")] = False,
    code: Annotated[Code | None, typer.Option(help="Make a code, and judge it.")] = None,
    check_code: Annotated[
        str | None, typer.Option(metavar="A=0,B=1,...", help="Judge a code of your own; --p gives its symbols' odds.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the result (.svg, .png or .pdf).")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="A GPT to predict the text with: a run, a checkpoint, a Hugging Face directory, or -.",
            autocompletion=completion.runs,
        ),
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens that the model looks back on (default: all it can).")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens between two windows (default: the context).")
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show each token with its surprisal.")] = False,
    surprisal: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page that shows each token's surprisal.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure entropy, cross-entropy, KL divergence and codes.

    Without --p the bytes (or characters, words, lines) of a stream are counted; -q prints their entropy. With --model a
    GPT predicts them, and -q prints bits a byte.

    A file of --p or --q has a distribution a line, or one number a line, with or without a label. Lines as `uniq -c`
    writes them, a count aligned to the right, one space and the symbol, are one distribution, whatever the symbols.

    \b
    Examples:
      dlkit entropy book.txt --order 2 --codecs
      dlkit entropy --p 0.4,0.4,0.2 --q 0.5,0.3,0.2
      sort words | uniq -c | dlkit entropy --p - --counts --code huffman
      dlkit entropy --p 0.4,0.4,0.2 --check-code A=0,B=1,C=00
      dlkit entropy book.txt --model runs/pydoc-gpt-1 --surprisal book.html
    """
    number = _base(base)
    require_figure("--plot", plot)
    if surprisal is not None:
        require_target("--surprisal", surprisal, (".html",))
    output = Output(as_json, quiet)
    distribution = {"--p": p is not None, "--check-code": check_code is not None}
    details = {"--q": q is not None, "--counts": counts, "--joint": joint}
    counting = {"--order": order > 0, "--symbols": symbols != "bytes"}
    predicting = {
        "--context": context is not None,
        "--stride": stride is not None,
        "--tokens": tokens,
        "--surprisal": surprisal is not None,
        "--device": device != "auto",
    }
    if model is not None:
        drawn = {"--code": code is not None, "--plot": plot is not None, "--base": number != 2}
        _refuse(distribution | details | counting | drawn, "does not go with --model", "measure one thing at a time")

        from dlkit.cli.entropy.model import show_scores

        show_scores(file, model, context, stride, tokens, surprisal, codecs, prequential, device, output)
        return
    _refuse(predicting, "needs --model", "dlkit entropy FILE --model RUN ...")
    if not any(distribution.values()):
        _refuse(details, "needs --p", "dlkit entropy --p 0.4,0.6 ...")

        from dlkit.cli.entropy.stream import stream

        stream(file, symbols, order, number, codecs, prequential, code, plot, output)
        return
    streamed = {"FILE": file is not None, "--codecs": codecs, "--prequential": prequential} | counting
    _refuse(streamed, "is about a stream, --p and --check-code are not", "give one or the other")
    if check_code is not None:
        drawn = {"--q": q is not None, "--joint": joint, "--code": code is not None, "--plot": plot is not None}
        _refuse(drawn, "does not go with --check-code", "dlkit entropy --p 0.5,0.5 --check-code A=0,B=1")

        from dlkit.cli.entropy.code import check

        check(check_code, p, counts, number, output)
    else:
        assert p is not None

        from dlkit.cli.entropy.distributions import distributions

        distributions(p, q, counts, joint, code, plot, number, output)


def _refuse(options: dict[str, bool], why: str, hint: str) -> None:
    """Raise RequestError for the first of these options that is given."""
    for option in (name for name, given in options.items() if given):
        raise RequestError(f"{option} {why}", hint)


def _base(text: str) -> float:
    try:
        value = math.e if text == "e" else float(text)
    except ValueError:
        value = math.nan
    if not (value > 1 and math.isfinite(value)):
        raise RequestError(f"--base {text}: a base is a number above 1", "2 for bits, e for nats, 10 for dits")
    return value
