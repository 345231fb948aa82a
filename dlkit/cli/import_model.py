"""`dlkit import`: a model that others trained as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit.app.import_model import import_model
from dlkit.cli.console import Output, note
from dlkit.cli.options import Json, Quiet
from dlkit.errors import RequestError


def import_command(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A .safetensors, .pth or .pt file, or (hf:)DIR from Hugging Face."),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Change the run's recipe: data.text=sentence, ...")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The architecture of a file: resnet50, convnext_tiny, ...")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the outputs: one a line, or a JSON list.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="What channels in 0..1 are normalised by (default: ImageNet's).")
    ] = None,
    std: Annotated[str | None, typer.Option(metavar="R,G,B", help="Their deviation.")] = None,
    run_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Directory of the run (default: runs/NAME-N).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier run in --run-dir.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a run of a model that others trained, without training.

    predict, eval, inspect-attention and export take the run. Weights are those of torchvision, timm, ConvNeXt's authors
    and the public CIFAR ResNets, and Hugging Face directories of BERT, DistilBERT, RoBERTa, GPT and GPT-2. -q prints
    the run's directory.

    \b
    Examples:
      dlkit import resnet50.pth --model resnet50 --classes imagenet.txt
      dlkit import hf:bert-base-sst2 data.text=sentence
      run=$(dlkit import -q hf:bert-base-sst2) && echo "A film to remember." | dlkit predict $run -
    """
    output = Output(as_json, quiet)
    record = import_model(
        source, *(overrides or []), model=model, classes=classes, mean=_numbers("--mean", mean),
        std=_numbers("--std", std), run_dir=run_dir, overwrite=overwrite,
    )  # fmt: skip
    for remark in record["remarks"]:
        note(remark)
    output.emit(record, record["run"], lambda: _table(record))


def _numbers(option: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise RequestError(f"{option} {text}: no numbers", f"{option} 0.485,0.456,0.406") from error


def _table(record: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name in ("run", "source", "task", "model", "parameters", "classes"):
        value = record[name]
        table.add_row(Text(name, style="bold"), Text(f"{value:,}" if isinstance(value, int) else str(value)))
    return table
