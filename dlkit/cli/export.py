"""`dlkit export`: write a BERT or GPT for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlkit.app.export import export_run
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.options import Json, Quiet, Trust


def export_command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run or a checkpoint of one.", autocompletion=completion.runs)
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a BERT or GPT as a Hugging Face directory.

    `transformers` loads it as it is.

    \b
    Example:
      dlkit export runs/pydoc-gpt-1 pydoc-gpt
    """
    record = export_run(run, directory, checkpoint)
    Output(as_json, quiet).emit(record, record["path"], lambda: f"{directory}  {record['bytes']:,} bytes")
