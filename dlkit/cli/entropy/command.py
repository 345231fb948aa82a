"""`dlkit entropy`: description length, of a stream, of distributions, and of codes for them."""

from __future__ import annotations

import math
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dlkit.app.entropy import measure_entropy
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.entropy.input import require_input
from dlkit.cli.entropy.output import show_entropy
from dlkit.cli.options import Device, Json, Quiet, Trust
from dlkit.cli.progress import reading
from dlkit.errors import RequestError
from dlkit.plotting import require_figure


class Symbols(StrEnum):
    """What a stream is made of."""

    bytes = "bytes"
    chars = "chars"
    words = "words"
    lines = "lines"


class Code(StrEnum):
    """Codes that can be built."""

    shannon = "shannon"
    huffman = "huffman"
    elias = "shannon-fano-elias"
    range = "range"


def entropy_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="What to measure; -, the default, is standard input.")
    ] = None,
    symbols: Annotated[Symbols, typer.Option(help="What a stream is made of.")] = Symbols.bytes,
    order: Annotated[
        int, typer.Option(min=0, metavar="N", help="Symbols of context: entropy given the N symbols before.")
    ] = 0,
    base: Annotated[
        str, typer.Option("--base", metavar="BASE", help="2 for bits, e for nats, 10, or any number above 1.")
    ] = "2",
    codecs: Annotated[bool, typer.Option("--codecs", help="Also compress with gzip, bzip2, xz and zstd.")] = False,
    prequential: Annotated[
        bool,
        typer.Option("--prequential", help="Also the length of a code that learns as it goes."),
    ] = False,
    p: Annotated[
        str | None, typer.Option("--p", metavar="NUMBERS", help="A distribution: 0.4,0.6, a file (one per line) or -.")
    ] = None,
    q: Annotated[
        str | None,
        typer.Option("--q", metavar="NUMBERS", help="A second distribution, for cross-entropy and KL divergence."),
    ] = None,
    counts: Annotated[bool, typer.Option("--counts", help="The numbers are counts; reads `uniq -c`.")] = False,
    joint: Annotated[bool, typer.Option("--joint", help="The rows of --p are a table of two variables.")] = False,
    code: Annotated[Code | None, typer.Option(help="Build a code and measure it.")] = None,
    check_code: Annotated[
        str | None, typer.Option(metavar="A=0,B=1,...", help="Check a code of your own; --p gives its probabilities.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the result, or p beside q (.svg, .png or .pdf).")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="A GPT to predict the text with: a run, a checkpoint, a Hugging Face directory, or -.",
            autocompletion=completion.runs,
        ),
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens of context at most (default: all it can take).")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens between two windows (default: the context).")
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show each token with its surprisal.")] = False,
    surprisal: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page that shows each token's surprisal.")
    ] = None,
    device: Device = "auto",
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure entropy, KL divergence and codes.

    Without --p the bytes (or characters, words, lines) of a stream are counted; -q prints their entropy. With --model a
    GPT predicts them, and -q prints bits per byte; the record has their interval (a block bootstrap), bits per token,
    the ideal code length and the size of the model. --tokens colours a terminal, and is a record per token in a pipe.

    A file of --p or --q has a distribution per line, or a number per line, with or without a label. Lines as `uniq -c`
    writes them (a count aligned to the right, one space, the symbol) are one distribution, whatever the symbols. How
    the input was understood is said on stderr and in the record's `form`.

    --plot draws the code lengths of --p, or of two outcomes the curve of their entropy; with --q the two distributions,
    the code length of each symbol under both, and what each adds to KL; of a stream its entropy by order.

    \b
    Examples:
      dlkit entropy book.txt --order 2 --codecs
      dlkit entropy --p 0.4,0.4,0.2 --q 0.5,0.3,0.2 --plot kl.svg
      sort words | uniq -c | dlkit entropy --p - --counts --code huffman
      dlkit entropy --p 0.4,0.4,0.2 --check-code A=0,B=1,C=00
      dlkit entropy book.txt --model runs/pydoc-gpt-1 --surprisal book.html
    """
    file = None if file == Path("-") else file
    number = _base(base)
    require_figure("--plot", plot)
    output = Output(as_json, quiet)
    if model is not None:
        others = {
            "--p": p is not None, "--check-code": check_code is not None, "--q": q is not None, "--counts": counts,
            "--joint": joint, "--order": order > 0, "--symbols": symbols != "bytes", "--code": code is not None,
            "--plot": plot is not None, "--base": number != 2,
        }  # fmt: skip
        _refuse(others, "does not go with --model", "measure one thing at a time")

        from dlkit.cli.entropy.model import show_scores

        show_scores(file, model, context, stride, tokens, surprisal, codecs, prequential, device, output)
        return
    predicting = {
        "--context": context is not None,
        "--stride": stride is not None,
        "--tokens": tokens,
        "--surprisal": surprisal is not None,
        "--device": device != "auto",
    }
    _refuse(predicting, "needs --model", "dlkit entropy FILE --model RUN ...")
    streamed = p is None and check_code is None
    sized = not (quiet and streamed)  # -q prints no size, which then need not be measured
    measuring = measure_entropy(
        file, symbols=symbols.value, order=order, base=number, codecs=codecs and sized,
        prequential=prequential and sized, p=p, q=q, counts=counts, joint=joint,
        code=None if code is None else code.value, check_code=check_code, plot=plot,
    )  # fmt: skip
    if streamed:
        require_input(file)
    with reading(quiet) if streamed else nullcontext():
        for remark in measuring:
            output.remark(remark)
    show_entropy(measuring.result(), output)


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
