"""`dlkit eval`: measure a trained model on a split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit import recipe as recipes
from dlkit import runs
from dlkit.cli import _completion
from dlkit.cli._console import Output
from dlkit.cli._options import DataDir, Device, Json, Overrides, Quiet
from dlkit.errors import RequestError


def evaluate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run, a checkpoint, or - to read either from a pipe.", autocompletion=_completion.runs
        ),
    ],
    overrides: Overrides = None,
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help="test (default), val or train.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the confusion matrix into this file.")
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate a run: loss, accuracy, calibration, classes.

    KEY=VALUE changes the data (data.path=..., data.batch_size=...). -q prints the accuracy.

    \b
    Examples:
      dlkit train digits-mlp | dlkit eval -
      dlkit eval runs/digits-mlp-1 --confusion matrix.svg
    """
    if confusion is not None and (confusion.suffix != ".svg" or not confusion.parent.is_dir()):
        raise RequestError(
            f"--confusion {confusion}: no .svg file in an existing folder", "give a path like matrix.svg"
        )
    for override in overrides or ():
        if not override.lstrip("~").startswith("data."):
            raise RequestError(f"{override}: eval changes only the data", "give KEY=VALUE with a key like data.path")
    reference = runs.resolve(run)
    chosen = reference.choose(checkpoint)
    loaded = recipes.load(str(reference.recipe), overrides or ())
    loaded.require_data()

    from dlkit import build
    from dlkit.train import curves, machine

    result = build.evaluation(loaded, chosen, split, machine.pick_device(device))
    record: dict[str, Any] = {
        "run": str(reference.path),
        "data": loaded.values["data"]["name"],
        "split": result.split,
        "n": result.samples,
        "metrics": result.metrics,
        "seconds": round(result.seconds, 3),
        "checkpoint": str(chosen),
        "step": result.step,
        "per_class": result.per_class,
    }
    if confusion is not None:
        if result.confusion is None:
            raise RequestError(f"too many classes to draw: {len(result.classes)}", "leave --confusion out")
        curves.confusion(result.confusion, result.classes, confusion, f"{reference.path.name}: {result.split}")
    Output(as_json, quiet).emit(record, record["metrics"][result.main_metric], lambda: _table(record))


def _table(record: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_row(Text("run", style="bold"), Text(f"{record['run']} at step {record['step']}"))
    facts.add_row(Text("data", style="bold"), Text(f"{record['data']}, {record['split']} split, n = {record['n']:,}"))
    for name, value in record["metrics"].items():
        facts.add_row(Text(name, style="bold"), Text(f"{value:.4f}"))
    if not record["per_class"]:
        return facts
    classes = Table("class", "n", "precision", "recall", "F1", box=None, pad_edge=False)
    for column in classes.columns[1:]:
        column.justify = "right"
    for row in record["per_class"]:
        scores = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        classes.add_row(Text(row["class"]), f"{row['n']:,}", *scores)
    return Group(facts, Text(), classes)
