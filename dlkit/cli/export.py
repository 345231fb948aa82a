"""`dlkit export`: write a model for other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit.app.export import export_run
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.options import Json, Quiet, Trust


class ExportFormat(StrEnum):
    """Values of --format."""

    hf = "hf"
    torchvision = "torchvision"
    onnx = "onnx"
    torch_export = "torch-export"


def export_command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run or a checkpoint of one.", autocompletion=completion.runs)
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    format: Annotated[ExportFormat, typer.Option(help="For which program.")] = ExportFormat.hf,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in DIR.")] = False,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model for programs that have no dlkit.

    \b
    hf            a directory for transformers (BERT, GPT) or timm (ResNet-18
                  to 152, ConvNeXt); dlkit import reads it back
    torchvision   model.pth, which torchvision's own constructor loads
                  strictly (the same networks for images)
    onnx          model.onnx for ONNX Runtime, of every model
    torch-export  model.pt2 for torch alone, of every model

    model.json, beside it and in the metadata of a graph, has the classes, the shapes and the preprocessing. A graph
    takes pixels of 0 to 255 or rows in the units of the table, any number at once: normalisation is inside. For hf and
    torchvision it is the reader's, by mean and std in model.json. All is float32. The answers of a graph, and of
    torchvision's or timm's network, are compared with dlkit's own before anything is written. -q prints DIR.

    \b
    Examples:
      dlkit export runs/pydoc-gpt-1 pydoc-gpt
      dlkit export runs/cats-1 cats --format onnx
    """
    record = export_run(run, directory, checkpoint, format.value, overwrite)
    Output(as_json, quiet).emit(record, record["path"], lambda: _table(record))


def _table(record: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name in ("path", "format", "model", "classes", "files", "bytes"):
        value = record[name]
        shown = f"{value:,}" if isinstance(value, int) else ", ".join(value) if name == "files" else str(value)
        table.add_row(Text(name, style="bold"), Text(shown))
    return table
