"""`dlkit generate`: sample text from a GPT."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer

from dlkit import text_input
from dlkit.annotations import LARGEST_COUNT, LARGEST_SEED
from dlkit.app.generate import GeneratedText, TextPiece, generate_texts
from dlkit.cli import completion
from dlkit.cli.console import Output, note, printable
from dlkit.cli.options import Device, Json, Quiet, Trust
from dlkit.errors import DlkitError, RequestError
from dlkit.lines import decode_lines

_MOST_BYTES = 1 << 26  # of prompts


def generate_command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run, a checkpoint, a Hugging Face directory, or - for either from a pipe.",
            autocompletion=completion.runs,
        ),
    ],
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="What the text begins with; - reads one prompt a line from a pipe."),
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, max=10**7, metavar="N", help="Tokens to sample, at most.")] = 256,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=10**4, metavar="N", help="Samples of each prompt.")] = 1,
    temperature: Annotated[float, typer.Option(metavar="T", help="0 is greedy, 1 the model's own distribution.")] = 0.8,
    top_k: Annotated[
        int, typer.Option(min=0, max=LARGEST_COUNT, metavar="K", help="Choose among the K likeliest tokens; 0 for all.")
    ] = 0,
    top_p: Annotated[float, typer.Option(metavar="P", help="Choose among the likeliest of probability P.")] = 0.95,
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="End before this; repeatable.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, metavar="N", help="Seed of the samples.")] = 0,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    device: Device = "auto",
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Sample text from a GPT, as it comes on a terminal.

    Prints the record of each text; -q prints the text. A prompt that is longer than the model's context keeps its end.
    A text is what its prompt gets alone with the same --seed, whatever other prompts there are.

    \b
    Examples:
      dlkit generate runs/pydoc-gpt-1 "The with statement"
      printf 'def\\nclass\\n' | dlkit generate runs/pydoc-gpt-1 - -n 3 --tokens 50
    """
    piped = prompt == "-" or (prompt is None and run != "-" and not sys.stdin.isatty())
    if run == "-" and prompt == "-":
        raise RequestError("RUN and PROMPT cannot both come from standard input", "name one of them")
    if prompt is not None and not prompt.isascii() and any("\ud800" <= c <= "\udfff" for c in prompt):
        raise RequestError("PROMPT is not UTF-8 text", "convert it, for example with iconv")
    prompts = _prompts() if piped else [prompt or ""]

    output = Output(as_json, quiet)
    streams = output.tables and len(prompts) == 1 and n == 1
    sampling = generate_texts(
        run, *prompts, n=n, tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, stop=stop or (),
        seed=seed, checkpoint=checkpoint, device=device, pieces=streams,
    )  # fmt: skip
    for event in output.without_remarks(sampling):
        if isinstance(event, TextPiece):
            sys.stdout.write(printable(event.text))
            sys.stdout.flush()
        elif streams:
            note(f"{event.tokens} tokens, {event.tokens_per_second:,.0f} a second")
        else:
            output.emit(event.record(), event.text, lambda event=event: _shown(event))


def _prompts() -> list[str]:
    try:
        found = list(decode_lines(io.BytesIO(text_input.read_bytes(None, _MOST_BYTES, "a list of prompts"))))
    except UnicodeDecodeError as error:
        raise DlkitError(f"the prompts on standard input are not UTF-8: byte {error.start}") from error
    if not found:
        raise RequestError("no prompt on standard input", "one prompt a line: echo Once | dlkit generate RUN -")
    return found


def _shown(text: GeneratedText) -> Any:
    from rich.text import Text

    return Text.assemble((printable(text.prompt), "bold"), printable(text.text), "\n")
