"""`dlkit eval`: measure a trained model on a split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from dlkit import recipe as recipes
from dlkit.catalog import SECTIONS, TASKS
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.eval.glue import score
from dlkit.cli.evaluations import name_damaged, record_of, tell_taken
from dlkit.cli.options import DataDir, Device, Json, Overrides, Quiet
from dlkit.cli.progress import preparing
from dlkit.data import store
from dlkit.errors import DlkitError, RequestError
from dlkit.plotting import require_figure
from dlkit.storage import run_reference
from dlkit.train.settings import TestViews

if TYPE_CHECKING:
    from dlkit.app.ood import Outside


def eval_command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run, a checkpoint, or - to read either from a pipe.", autocompletion=completion.runs
        ),
    ],
    overrides: Overrides = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="SPLIT", help="test (default), val or train; all, as of other data."),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the confusion matrix (.svg, .png or .pdf).")
    ] = None,
    ood: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET", help="Also score other data: a data set, SET:CLASS,..., images:FOLDER or noise; repeatable."
        ),
    ] = None,
    histogram: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the scores of --ood (.svg, .png or .pdf).")
    ] = None,
    glue: Annotated[
        bool, typer.Option("--glue", help="The score of GLUE or SuperGLUE from RUNS, one or more for each task.")
    ] = False,
    views: Annotated[
        str | None,
        typer.Option("--views", metavar="VIEWS", help="one, flip or flip_shift: of each image, to average over."),
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate a run: loss, accuracy, calibration, classes.

    KEY=VALUE changes the data (data.path=..., data.batch_size=...). -q prints the accuracy. --ood adds a record for
    each set of data that the model was not trained on: how well four scores tell it from the test data. --glue takes
    several runs (RUN RUN ... KEY=VALUE) and adds the benchmark's score, if no task is missing; -q prints that.

    \b
    Examples:
      dlkit train digits-mlp | dlkit eval -
      dlkit eval runs/digits-mlp-1 --confusion matrix.svg
      dlkit eval runs/glue-bert-* --glue
      dlkit eval runs/cifar10-fast-1 --ood cifar100 --ood noise --histogram scores.svg
    """
    require_figure("--confusion", confusion)
    require_figure("--histogram", histogram)
    if histogram is not None and not ood:
        raise RequestError("--histogram draws the scores of --ood, which is not given", "add --ood noise")
    if views not in (None, *get_args(TestViews)):
        raise RequestError(f"no such views: {views!r}", f"--views takes {', '.join(get_args(TestViews))}")
    more, overrides = _runs_among(overrides or [])
    if more and not glue:
        raise RequestError(f"several runs: {run}, {', '.join(more)}", "--glue takes several, else give one")
    if glue and (split or confusion or ood or histogram):
        raise RequestError(
            "--glue has splits and tables of its own: --split, --confusion, --ood and --histogram do not go with it",
            "leave them out",
        )
    for source in ood or ():
        _check_source(source)
    for override in overrides:
        if not override.lstrip("~").startswith("data."):
            raise RequestError(f"{override}: eval changes only the data", "give KEY=VALUE with a key like data.path")
    if glue:
        with preparing(quiet):
            score([run, *more], checkpoint, overrides, device, Output(as_json, quiet))
        return
    reference = run_reference.resolve(run)
    chosen = reference.choose(checkpoint)
    loaded = recipes.load_run(str(reference.recipe), overrides)
    loaded.require_data()

    from dlkit.app.evaluation import evaluate_trained, open_trained
    from dlkit.app.measured_data import changed_sources, measured
    from dlkit.app.ood import detection, read_sources
    from dlkit.metrics import ood_histogram
    from dlkit.train import run_plots
    from dlkit.train.device import pick_device

    place, seen = pick_device(device), cast(TestViews | None, views)
    own = recipes.load(str(reference.recipe))
    loaded, split, whole = measured(loaded, own, split)
    with preparing(quiet):
        found = open_trained(loaded, chosen, place, whole)
        # what is wrong with other data is said before the work
        others = read_sources(loaded, found, split, ood) if ood else []
        result = evaluate_trained(loaded, found, split, place, seen)
    output = Output(as_json, quiet)
    tell_taken(found.dataset.sources, output)
    for other in others:
        tell_taken({"taken": other.taken} if other.taken else {}, output)
    record = record_of(reference.path, loaded, chosen, result)
    if changed_sources(loaded, own):
        output.say(f"measured: {_extent(record)}")
    name_damaged(result.damaged, f"{len(result.damaged)} images in all")
    if confusion is not None:
        if result.confusion is None:
            raise RequestError(f"too many classes to draw: {len(result.classes)}", "leave --confusion out")
        run_plots.plot_confusion_matrix(
            result.confusion, result.classes, confusion, f"{reference.path.name}: {result.split}"
        )
    results: list[Outside] = []
    if others:
        with preparing(quiet):
            scores, results = detection(loaded, found, result.split, others, place, seen)
        if histogram is not None:
            ood_histogram.draw_ood_histogram(
                scores, {other.source: other.scores for other in results}, histogram, reference.path.name
            )
    # what is printed comes behind all files, since whoever reads it may stop
    output.emit(record, record["metrics"][result.main_metric], lambda: _table(record))
    for other in results:
        _outside(record, other, output)


def _runs_among(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Further runs, and the changes of the recipe: KEY=VALUE or ~KEY."""
    changes = [text for text in arguments if not Path(text).exists() and ("=" in text or text.startswith("~"))]
    return [text for text in arguments if text not in changes], changes


def _check_source(source: str) -> None:
    """Raise DlkitError unless the source of other data can be there: before anything heavy is imported."""
    kind, colon, place = source.partition(":")
    named = [
        name
        for name, data in recipes.schema()["$defs"].items()
        if name.startswith("data.") and not set(data["required"]) - {"name"} and _is_images(name)
    ]
    names = [name.removeprefix("data.") for name in named]
    if kind == "images" and colon:
        if not Path(place).expanduser().is_dir():
            raise DlkitError(f"no such folder: {place}", "--ood images:FOLDER takes every image in a folder")
    elif source != "noise" and (kind not in names or (colon and not place)):
        raise RequestError(
            f"no such data: --ood {source}{recipes.closest(kind, [*names, 'noise'])}",
            f"choose one of {', '.join(names)}, SET:CLASS, noise, images:FOLDER",
        )
    elif source != "noise" and SECTIONS["data"][kind].download:
        store.require(SECTIONS["data"][kind].download)


def _is_images(name: str) -> bool:
    return any(TASKS[task].inputs == "images" for task in SECTIONS["data"][name.removeprefix("data.")].tasks)


def _outside(inside: dict[str, Any], result: Outside, output: Output) -> None:
    """The record of an out-of-distribution set."""
    name_damaged(result.damaged, f"{len(result.damaged)} images of {result.source} in all")
    record: dict[str, Any] = {
        "run": inside["run"],
        "data": result.source,
        "split": result.split,
        "n": result.samples,
        **result.extent,
        "metrics": result.metrics,
        "seconds": round(result.seconds, 3),
        "checkpoint": inside["checkpoint"],
        "step": inside["step"],
        "kind": "out-of-distribution",
        "inside": {key: inside[key] for key in ("data", "split", "n")},
        **({"damaged": len(result.damaged)} if result.damaged else {}),
    }
    output.emit(record, None, lambda: _outside_table(record))


def _outside_table(record: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    metrics: dict[str, float] = record["metrics"]
    names = list(dict.fromkeys(name.partition("/")[2] for name in metrics))
    title = Text(f"{record['data']}, n = {record['n']:,}, beside {record['inside']['split']} data", style="bold")
    table = Table("score", *names, title=title, title_justify="left", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for kind in dict.fromkeys(name.partition("/")[0] for name in metrics):
        table.add_row(kind, *(f"{metrics[f'{kind}/{name}']:.4f}" for name in names))
    return table


def _extent(record: dict[str, Any]) -> str:
    """Which part of which file was measured."""
    unit = "rows" if "rows" in record else "bytes"
    return f"{record[unit]} {unit} of {record['path'] or record['data']}"


def _table(record: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_row(Text("run", style="bold"), Text(f"{record['run']} at step {record['step']}"))
    facts.add_row(Text("data", style="bold"), Text(f"{record['data']}, {record['split']} split, n = {record['n']:,}"))
    facts.add_row(Text("measured", style="bold"), Text(_extent(record)))
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
