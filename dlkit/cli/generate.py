"""`dlkit generate`: sample text from a GPT."""

from __future__ import annotations

import io
import sys
import time
import zlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit import text_input
from dlkit.annotations import LARGEST_COUNT, LARGEST_SEED
from dlkit.cli import completion
from dlkit.cli.console import Output, note, printable
from dlkit.cli.options import Device, Json, Quiet
from dlkit.errors import DlkitError, RequestError
from dlkit.lines import lines
from dlkit.storage import run_reference

if TYPE_CHECKING:
    from dlkit.lm.generation import Sampling, TextStream
    from dlkit.lm.language_model import LanguageModel

_MOST_BYTES = 1 << 26  # of prompts
_LONGEST_TOKEN = 256  # characters; hardly any vocabulary has a token as long as that


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
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the samples.")] = 0,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    device: Device = "auto",
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

    run_reference.require(run)

    from dlkit.lm.generation import Sampling
    from dlkit.lm.language_model import open_language_model, weights_format
    from dlkit.train.device import pick_device

    sampling = Sampling(temperature, top_k, top_p)
    where = pick_device(device)
    reader = open_language_model(run, where, checkpoint)
    if not reader.causal:
        raise RequestError(f"{reader.path} is a model for {reader.task}, which writes no text", "generate takes a GPT")
    precision = weights_format(reader, where)
    if precision == "bf16":
        reader.model.bfloat16()
    output = Output(as_json, quiet)
    streams = output.tables and len(prompts) == 1 and n == 1
    for record in _sample(reader, prompts, n, tokens, sampling, tuple(stop or ()), seed, streams, precision):
        if not streams:
            output.emit(record, record["text"], lambda record=record: _shown(record))


def _prompts() -> list[str]:
    try:
        found = list(lines(io.BytesIO(text_input.read_bytes(None, _MOST_BYTES, "a list of prompts"))))
    except UnicodeDecodeError as error:
        raise DlkitError(f"the prompts on standard input are not UTF-8: byte {error.start}") from error
    if not found:
        raise RequestError("no prompt on standard input", "one prompt a line: echo Once | dlkit generate RUN -")
    return found


def _sample(
    reader: LanguageModel,
    prompts: list[str],
    n: int,
    most: int,
    sampling: Sampling,
    stops: tuple[str, ...],
    seed: int,
    streams: bool,
    precision: str,
) -> Any:
    """Records, prompt by prompt; with `streams` the text is also written as it comes."""
    import torch

    from dlkit.data.epochs import mixed_seed
    from dlkit.lm import generation

    encoded = [numbers for numbers in _encoded(reader, prompts) for _ in range(n)]
    model: Any = reader.model
    device = next(model.parameters()).device
    # each sample of what the model sees of a prompt has a seed of its own, whatever prompts stand beside it
    marks = [zlib.crc32(repr(numbers).encode()) for numbers in encoded]
    if streams:
        _write(prompts[0], streams)
    rows = generation.rows_at_once(model, max(map(len, encoded)) + most)
    for begin in range(0, len(encoded), rows):  # a text does not depend on those beside it
        batch = range(begin, min(begin + rows, len(encoded)))
        generators = [torch.Generator(device).manual_seed(mixed_seed(seed, marks[i], i % n)) for i in batch]
        began = time.perf_counter()
        texts = [generation.TextStream(stops) for _ in batch]
        counts = _batch(reader, encoded[begin : batch.stop], most, sampling, generators, texts, streams)
        speed = sum(counts) / (time.perf_counter() - began)
        if streams:
            note(f"{counts[0]} tokens, {speed:,.0f} a second")
        for i, text, count in zip(batch, texts, counts, strict=True):
            yield {
                "run": str(reader.path),
                "prompt": prompts[i // n],
                "text": text.text,
                "tokens": count,
                "tokens_per_second": round(speed, 1),
                "precision": precision,
                "stopped": text.stopped,
            }


def _encoded(reader: LanguageModel, prompts: list[str]) -> list[list[int]]:
    """The tokens of each prompt that the model sees."""
    tokenizer = reader.tokenizer
    before = [] if tokenizer.separator is None else [tokenizer.separator]
    encoded: list[list[int]] = []
    room: int = reader.model.context  # pyright: ignore[reportAssignmentType]
    ends = [prompt[-room * _LONGEST_TOKEN :] for prompt in prompts]  # what can matter, of a prompt of any length
    for prompt, end, numbers in zip(prompts, ends, tokenizer.encode(ends), strict=True):
        whole: list[int] = [*before, *numbers]
        if not whole:
            raise RequestError("an empty prompt, and the tokenizer has no token to begin with", "give a PROMPT")
        if len(whole) > room:
            counted = f"{len(whole)} tokens" if len(end) == len(prompt) else f"{len(prompt)} characters"
            note(f"the prompt {prompt[:20]!r}... has {counted}: its last {room} tokens are used")
            whole = whole[-room:]
        encoded.append(whole)
    return encoded


def _batch(
    reader: LanguageModel,
    encoded: list[list[int]],
    most: int,
    sampling: Sampling,
    generators: list[Any],
    texts: list[TextStream],
    streams: bool,
) -> list[int]:
    """Let some prompts go on side by side; the texts take in what comes. Returns the tokens of each."""
    import torch

    from dlkit.data.text.spelling import Spelled
    from dlkit.lm import generation

    tokenizer, model = reader.tokenizer, reader.model
    counts = [0] * len(encoded)
    spelled = [Spelled(tokenizer, numbers) for numbers in encoded]
    known = None  # a model may have rows for tokens that the tokenizer does not have
    if int(tokenizer.known.sum()) < model.vocabulary:  # pyright: ignore[reportOperatorIssue]
        known = torch.tensor(tokenizer.known.nonzero()[0], device=next(model.parameters()).device)
    steps = generation.generate(model, encoded, most, sampling, generators, known)  # pyright: ignore
    for numbers in generation.fetched(steps):
        for i, number in enumerate(numbers):
            if texts[i].stopped:
                continue
            if number in reader.ends:
                _write(texts[i].push(spelled[i].finish()) + texts[i].finish(), streams)
                texts[i].stopped = True
                continue
            counts[i] += 1
            _write(texts[i].push(spelled[i].push(number)), streams)
        if all(text.stopped for text in texts):
            break
    for text, spelling in zip(texts, spelled, strict=True):
        _write(text.push(spelling.finish()) + text.finish(), streams)
    _write("\n", streams)
    return counts


def _write(text: str, streams: bool) -> None:
    if streams and text:
        sys.stdout.write(printable(text))
        sys.stdout.flush()


def _shown(record: dict[str, Any]) -> Any:
    from rich.text import Text

    return Text.assemble((printable(record["prompt"]), "bold"), printable(record["text"]), "\n")
