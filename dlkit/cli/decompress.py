"""`dlkit decompress`: the bytes that `dlkit compress` was given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit.app.compress import decompress_stream
from dlkit.cli import completion
from dlkit.cli.binary import binary_input, binary_output, require_output
from dlkit.cli.compress import SUFFIX
from dlkit.cli.console import Output
from dlkit.cli.options import Json, Quiet, Trust
from dlkit.cli.progress import reading
from dlkit.errors import RequestError


def decompress_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.dlk", help="What to decompress, or - for standard input.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to (default: without .dlk), or -.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="The model that it was compressed with.", autocompletion=completion.runs),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decompress what `dlkit compress` wrote.

    Another model, or a machine that computes other probabilities, is named before anything is decoded. Each chunk has a
    checksum, and a damaged file leaves nothing behind. Prints a record; -q prints the output's path.

    \b
    Examples:
      dlkit decompress book.txt.dlk --model runs/text-gpt-1
      dlkit decompress notes.tar.dlk -o - | tar x
    """
    source = None if str(file) == "-" else file
    if output is None and (source is None or file.suffix != SUFFIX):
        raise RequestError(f"{file} does not end in {SUFFIX}", "give -o FILE, or -o - for standard output")
    goal = file.with_suffix("") if output is None else None if str(output) == "-" else output
    require_output(goal, overwrite)
    if goal is not None and source is not None and goal.exists() and source.exists() and goal.samefile(source):
        raise RequestError(f"{goal} is the input itself", "give another -o")
    with binary_input(source) as data, reading(quiet, plain=False):
        sizes = decompress_stream(data, str(file), binary_output(goal), model)
    if goal is None:
        return
    record = {"input": str(file), "output": str(goal), **sizes}
    Output(as_json, quiet).emit(record, record["output"], lambda: _table(record))


def _table(record: dict[str, Any]) -> Any:
    from dlkit.cli.entropy.view import facts_table

    return facts_table([(name, f"{record[name]}, {record[f'bytes_{key}']:,} bytes") for name, key in
                        (("input", "in"), ("output", "out"))])  # fmt: skip
