"""`dlkit export`: write a BERT or GPT for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.options import Json, Quiet
from dlkit.errors import RequestError
from dlkit.storage import run_reference


def export_command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run or a checkpoint of one.", autocompletion=completion.runs)
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a BERT or GPT as a Hugging Face directory, which `transformers` loads.

    \b
    Example:
      dlkit export runs/pydoc-gpt-1 pydoc-gpt
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise RequestError(f"{directory} is there already", "export writes a new directory")

    run_reference.require(run)
    import torch

    from dlkit.lm.export import export_to_huggingface
    from dlkit.lm.language_model import open_language_model

    reader = open_language_model(run, torch.device("cpu"), checkpoint)
    size = export_to_huggingface(reader, directory)
    record = {"run": str(reader.path), "path": str(directory), "bytes": size, "task": reader.task}
    Output(as_json, quiet).emit(record, record["path"], lambda: f"{directory}  {size:,} bytes")
