"""`dlkit data`: what a model will see, before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit import recipe as recipes
from dlkit.app.contents import examine_data
from dlkit.cli.console import Output
from dlkit.cli.data import view
from dlkit.cli.options import DataDir, Json, Overrides, Quiet, RecipeName, Trust
from dlkit.cli.progress import preparing
from dlkit.plotting import require_figure


def data_command(
    recipe: RecipeName,
    overrides: Overrides = None,
    png: Annotated[
        Path | None,
        typer.Option("--png", metavar="FILE", help="Draw images as trained on and as evaluated (.png, .svg or .pdf)."),
    ] = None,
    data_dir: DataDir = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the data of a recipe as a model will see it.

    Classes and their balance, the size of each split, files and columns that are left out and why, examples that come
    twice, the lengths of texts in tokens, the columns of a table. -q prints how many examples are in more than one
    split.

    \b
    Examples:
      dlkit data digits-mlp
      dlkit data images-resnet20 data.path=photos --png sheet.png
      dlkit data csv-mlp data.path=rows.csv data.label=kind
    """
    require_figure("--png", png)
    output = Output(as_json, quiet)
    work = examine_data(recipes.load(recipe, overrides or ()), png)
    with preparing(quiet):
        for remark in work:
            output.remark(remark)
        record = work.result()
    across: list[dict[str, Any]] = record["duplicates"]["across"] if record["duplicates"] else []
    shared = sum(pair["count"] for pair in across)
    output.emit(record, shared, lambda: view.contents(record))
