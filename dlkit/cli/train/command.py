"""`dlkit train`: train from a recipe, or go on with a run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit import progress
from dlkit import recipe as recipes
from dlkit.annotations import LARGEST_SEED, is_mapping
from dlkit.cli.console import Output, json_text, note
from dlkit.cli.evaluations import name_damaged, tell_taken
from dlkit.cli.options import DataDir, Device, Json, Overrides, Quiet, RecipeName
from dlkit.cli.progress import preparing
from dlkit.cli.signals import GracefulStop
from dlkit.errors import DlkitError, RequestError
from dlkit.recipe import Recipe

if TYPE_CHECKING:
    from dlkit.assemble import Built
    from dlkit.train.events import Finished
    from dlkit.train.run_directory import RunDirectory
    from dlkit.train.training import Training

_MOVABLE = ("compile", "cuda_graph")  # what the machine that a run goes on on may not have
_AUTO = ("precision", "compile", "cuda_graph", "channels_last")


def train_command(
    recipe: RecipeName,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Directory of the run (default: runs/<recipe>-<n>).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run where it was last saved.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier run in --run-dir.")] = False,
    data_dir: DataDir = None,
    device: Device = "auto",
    seed: Annotated[int | None, typer.Option(min=0, max=LARGEST_SEED, help="Shorthand for seed=N.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train from a recipe.

    Prints the run's record; -q prints the run directory. Ctrl-C saves a checkpoint, and --resume goes on exactly there:
    to the bit on a CPU, and on CUDA with train.deterministic=true.

    \b
    Examples:
      dlkit train digits-resnet20
      dlkit train digits-resnet20 train.epochs=20 optimizer.lr=0.05
      dlkit train runs/digits-resnet20-1 --resume
    """
    if resume and overwrite:
        raise RequestError("--resume and --overwrite contradict each other", "give one of them")
    changes = [*(overrides or ()), *([] if seed is None else [f"seed={seed}"])]
    if resume and run_dir is None:
        run_dir = Path(recipe)
        if not (run_dir / "recipe.yaml").is_file():
            raise RequestError("--resume needs a run", "dlkit train RUN --resume, or RECIPE --run-dir DIR --resume")
    loaded = recipes.load(recipe, changes)
    begins = True
    if run_dir is not None and resume and (run_dir / "recipe.yaml").is_file():
        saved = recipes.load(str(run_dir / "recipe.yaml"))
        loaded, begins = replace(_same(loaded, saved, run_dir), name=_name(run_dir, loaded, saved)), False

    loaded.require_data()
    loaded.require_weights()

    from dlkit.train import run_directory

    name = re.sub(r"-\d+$", "", loaded.name)
    if begins:
        run_directory.require_new_run(run_dir, overwrite)
    with GracefulStop("stopping after this step, with a checkpoint; once more stops at once", saves=False) as stop:
        with preparing(quiet):
            built = _build(loaded, device, stop)
        stop.saves = True
        # only now, when nothing is wrong with the recipe and the data, is anything made or deleted
        path = run_directory.create_run_directory(run_dir, name, overwrite) if begins or run_dir is None else run_dir
        with run_directory.RunDirectory(path, loaded.values["train"]["keep_checkpoints"]) as directory:
            _train(built, directory, begins, stop, Output(as_json, quiet))


def _build(recipe: Recipe, device: str, stop: GracefulStop) -> Built:
    from dlkit import assemble
    from dlkit.train.device import pick_device

    return assemble.training(recipe, pick_device(device), lambda: stop.requested is not None)


def _same(wanted: Recipe, saved: Recipe, run_dir: Path) -> Recipe:
    """The saved recipe, if it is the wanted one with its `auto` decided. Raises RequestError otherwise.

    A run that was compiled goes on without, where that is asked for: another machine may have no compiler.
    """
    differences: list[str] = []
    moved: dict[str, Any] = {}
    for section, old in saved.values.items():
        new = wanted.values[section]
        if not is_mapping(old):
            differences += [f"{section} is {old} in the run, now {new}"] if old != new else []
            continue
        for key in sorted({*old, *new}):
            a, b = old.get(key), new.get(key)
            if a == b or (section == "train" and key in _AUTO and b == "auto"):
                continue
            if section == "train" and key in _MOVABLE:
                note(f"train.{key} was {a} in this run, now {b}: the last bits of its numbers may differ")
                moved[key] = b
            else:
                differences.append(f"{section}.{key} is {a} in the run, now {b}")
    if differences:
        raise RequestError(
            f"{run_dir} was started from another recipe: {'; '.join(differences[:4])}",
            f"go on with its own: dlkit train {run_dir} --resume",
        )
    return replace(saved, values={**saved.values, "train": {**saved.values["train"], **moved}})


def _name(run_dir: Path, wanted: Recipe, saved: Recipe) -> str:
    """What the recipe of a run was called when it began. Raises DlkitError if environment.json is damaged."""
    place = run_dir / "environment.json"
    try:
        began: Any = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    except (OSError, ValueError) as error:
        raise DlkitError(
            f"{place} is damaged: {error}", f"remove it, and the run goes on: rm {shlex.quote(str(place))}"
        ) from error
    told = began.get("recipe") if is_mapping(began) else None
    return told if isinstance(told, str) else wanted.name if wanted.path != saved.path else saved.name


def _train(built: Built, directory: RunDirectory, begins: bool, stop: GracefulStop, output: Output) -> None:
    from dlkit.assemble.data import require_same
    from dlkit.cli.train.view import TrainingView
    from dlkit.train import environment, rng, run_directory
    from dlkit.train.events import Checkpointed, Finished
    from dlkit.train.finite import require_finite_metrics
    from dlkit.train.loop import fit

    latest = None if begins else directory.latest()
    if latest is not None:
        require_same(built.dataset, latest.state["data"])
        directory.open_metrics(latest)
    if begins:
        tell_taken(built.dataset.sources, output)
    for remark in built.remarks if begins else ():
        note(remark)
    if begins:  # with the recipe there, a run that is killed from here on can be resumed
        directory.write("recipe.yaml", built.recipe.to_yaml())
    elif latest is None:
        note(f"{directory.path} has no checkpoint yet: starting at step 0")
    else:
        note(f"going on with {directory.path} at step {latest.step}")
        if (moved := rng.note_of_move(latest.state["random"], built.training.device)) is not None:
            note(moved)
    if latest is None:
        described = environment.describe_environment(built.training.device, built.dataset.sources)
        directory.write("environment.json", _pretty({"recipe": built.recipe.name} | described))
        directory.open_metrics()
    job, settings = built.training, built.training.settings
    title = f"{built.recipe.name}  {job.device} {settings.precision}  {built.parameters:,} parameters  {directory.path}"
    first = latest.step if latest else 0
    writer = _tensorboard(directory.path, first) if settings.tensorboard else None
    finished: Finished | None = None
    console, unit = output.console(), job.task.unit
    view = TrainingView(title, job.total_steps, job.steps_per_epoch, first, console, output.say, unit)
    with view, progress.listened_by(view.follow):
        for event in fit(job, directory, latest):
            directory.record(event)
            view.update(event)
            if isinstance(event, Checkpointed):
                directory.note_damaged(_damaged(job))
            if writer is not None:
                writer(event)
            if isinstance(event, Finished):
                finished = event
    assert finished is not None
    count = directory.note_damaged(_damaged(job))
    name_damaged(_damaged(job), f"all {count} of them: {directory.path / run_directory.DAMAGED}")
    if finished.reason == "stopped":
        note(f"stopped at step {finished.step} of {job.total_steps}; go on: dlkit train {directory.path} --resume")
        raise typer.Exit(128 + (stop.requested or 0))
    record = _record(built, directory, finished) | ({"damaged": count} if count else {})
    if finished.skipped:
        note(f"left out {finished.skipped} of {finished.step} steps: their loss or gradient was not finite")
    if finished.compiled and finished.compiled[0] > finished.compiled[1]:
        graphs, shapes = finished.compiled
        note(f"compiled {graphs} graphs for {shapes} shapes of batches: one each would have done")
    # measures that make no sense here, or else what of the data was not taken
    left_out = getattr(built.dataset, "left_out", {}) or built.dataset.sources.get("left_out")
    record |= {"left_out": left_out} if left_out else {}
    directory.write("summary.json", _pretty(record))
    _draw(directory, record)
    require_finite_metrics(finished.metrics)  # the run is whole, and its folder tells the rest; but this is no success
    output.emit(record, record["run"], lambda: _table(record))


def _damaged(job: Training) -> dict[str, str]:
    """Images that were left out since the command began: name -> why."""
    found: dict[str, str] = {}
    for batches in (job.batches, *job.evaluations.values()):
        found |= getattr(batches, "damaged", {})
    return found


def _pretty(record: dict[str, Any]) -> str:
    return json_text(record, indent=1) + "\n"


def _record(built: Built, directory: RunDirectory, finished: Finished) -> dict[str, Any]:
    return {
        "run": str(directory.path),
        "recipe": built.recipe.name,
        "task": built.recipe.values["task"],
        "steps": finished.step,
        "epochs": round(finished.epochs, 4),
        "seconds": round(finished.seconds, 3),
        "device": str(built.training.device),
        "precision": built.training.settings.precision,
        "parameters": built.parameters,
        "metrics": finished.metrics,
        "checkpoint": str(directory.checkpoints / "last"),
        "seed": built.recipe.values["seed"],
        "stopped_by": finished.reason,
        **({"skipped_steps": finished.skipped} if finished.skipped else {}),
        **({"warm_up_seconds": round(finished.warm_up, 3)} if finished.warm_up else {}),
        **({"compiled": dict(zip(("graphs", "shapes"), finished.compiled, strict=True))} if finished.compiled else {}),
        "sources": built.dataset.sources,
    }


def _draw(directory: RunDirectory, record: dict[str, Any]) -> None:
    from dlkit.train import run_plots

    run_plots.plot_learning_curves(directory.path / "metrics.jsonl", directory.path / "curves.svg", record["recipe"])


def _tensorboard(path: Path, step: int) -> Any:
    from dlkit.train.run_directory import TENSORBOARD
    from dlkit.train.tensorboard import event_writer

    return event_writer(path / TENSORBOARD, step)


def _table(record: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    warm_up = f", after {record['warm_up_seconds']:.1f} s of compiling" if "warm_up_seconds" in record else ""
    facts: Sequence[tuple[str, str]] = [
        ("run", record["run"]),
        *((name, f"{value:.4f}") for name, value in record["metrics"].items()),
        ("steps", f"{record['steps']:,} ({record['epochs']:g} epochs) in {record['seconds']:.1f} s{warm_up}"),
        ("model", f"{record['parameters']:,} parameters, {record['precision']} on {record['device']}"),
        ("curves", f"{record['run']}/curves.svg"),
    ]
    for name, value in facts:
        table.add_row(Text(name, style="bold"), Text(value))
    return table
