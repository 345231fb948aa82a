"""`dlkit compress`: lossless compression with a trained model, or with one that learns while it codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit.app.compress import compress_stream, open_codec
from dlkit.app.text_stream import stream_size
from dlkit.cli import completion
from dlkit.cli.binary import binary_input, binary_output, require_output
from dlkit.cli.console import Output, note
from dlkit.cli.options import Device, Json, Quiet, Trust
from dlkit.cli.progress import reading
from dlkit.errors import RequestError

SUFFIX = ".dlk"


def compress_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to compress, or - for standard input.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to (default: FILE.dlk), or -.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="A GPT: a run, a checkpoint or a Hugging Face directory.",
            autocompletion=completion.runs,
        ),
    ] = None,
    prequential: Annotated[
        bool, typer.Option("--prequential", help="No model: learn while coding; decompress needs none either.")
    ] = False,
    streams: Annotated[
        int | None,
        typer.Option(min=1, max=4096, metavar="N", help="Streams side by side, at most (default: by the size)."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads, here and when decompressing (default: the cores).")
    ] = None,
    device: Device = "cpu",
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Decode the result before it counts.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compress a file with a language model, without loss.

    A range coder spends -log2 p bits on each token of the file, where p is its probability under the model. Any bytes
    will do. The output appears under its name once it is whole and has been decoded again.

    Decompressing needs the same model, torch, kind of processor (or GPU, with --device cuda) and number of threads; the
    file names them. With --prequential a small model learns while it codes, in integers, and decompressing needs
    nothing but dlkit. Prints a record; -q prints the output's path.

    \b
    Examples:
      dlkit compress book.txt --model runs/text-gpt-1
      tar c notes | dlkit compress - -o notes.tar.dlk --prequential
    """
    if (model is None) != prequential:
        problem = "--model and --prequential contradict each other" if prequential else "compress needs a model"
        raise RequestError(problem, "give --model RUN, or --prequential to learn one while coding")
    if prequential and (threads is not None or device != "cpu"):
        option = "--device" if threads is None else "--threads"
        raise RequestError(f"{option} is about --model: prequential coding counts in whole numbers, on one thread")
    source = None if str(file) == "-" else file
    if output is None and source is None:
        raise RequestError("standard input has no name", "give -o FILE.dlk, or -o - for standard output")
    goal = file.with_name(file.name + SUFFIX) if output is None else None if str(output) == "-" else output
    require_output(goal, overwrite)
    if goal is not None and source is not None and goal.exists() and goal.samefile(source):
        raise RequestError(f"{goal} is the input itself", "give another -o")
    with (
        binary_input(source) as data,
        open_codec(model, threads, streams, device=device) as codec,
        binary_output(goal) as out,
        reading(quiet, plain=False),
    ):
        record = compress_stream(data, out, codec, stream_size(source), verify)
    record = {"input": str(file), "output": str(goal or "-"), **record, "model": model, "verified": verify}
    if goal is None:
        if not quiet:
            note(f"{record['bytes_in']:,} bytes to {record['bytes_out']:,}, {record['bits_per_byte']} bits per byte")
        return
    Output(as_json, quiet).emit(record, record["output"], lambda: _table(record))


def _table(record: dict[str, Any]) -> Any:
    from dlkit.cli.entropy.view import facts_table

    size, out = record["bytes_in"], record["bytes_out"]
    facts = [
        ("input", f"{record['input']}, {size:,} bytes"),
        (
            "output",
            f"{record['output']}, {out:,} bytes" + (f", {record['bits_per_byte']} bits per byte" if size else ""),
        ),
        ("of it payload", f"{record['payload_bytes']:,} bytes; {record['ideal_bytes']:,} is the model's ideal"),
    ]
    if record["model"]:
        facts.append(("with the model", f"{record['payload_bytes'] + record['model_bytes']:,} bytes"))
    return facts_table([*facts, ("verified", "decoded, the same bytes" if record["verified"] else "no")])
