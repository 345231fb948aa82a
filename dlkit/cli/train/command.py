"""`dlkit train`: train from a recipe, or go on with a run."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit import progress
from dlkit.annotations import LARGEST_SEED
from dlkit.app.events import Prepared, Work
from dlkit.app.trained_run import Started, TrainedRun, TrainingEvent
from dlkit.cli.console import Output, note
from dlkit.cli.options import DataDir, Device, Json, Overrides, Quiet, RecipeName, ResumeAuto, Trust
from dlkit.cli.progress import prepare
from dlkit.cli.signals import GracefulStop
from dlkit.cli.train.view import TrainingView
from dlkit.errors import RequestError, shell_word
from dlkit.storage.run_reference import RECIPE
from dlkit.training.events import Finished


def train_command(
    recipe: RecipeName,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Directory of the run (default: runs/<recipe>-<n>).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run was last saved; --resume auto: begin it if need be.")
    ] = False,
    resume_auto: ResumeAuto = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier run in --run-dir.")] = False,
    data_dir: DataDir = None,
    device: Device = "auto",
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, metavar="N", help="Shorthand for seed=N.")
    ] = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train from a recipe.

    Prints the run's record; -q prints the run directory. Ctrl-C saves a checkpoint, and --resume goes on exactly there:
    to the bit on a CPU, and on CUDA with train.deterministic=true. A run with a larger train.epochs or train.steps is
    extended: its schedule is stretched to the new length.

    \b
    Examples:
      dlkit train digits-resnet20
      dlkit train digits-resnet20 train.epochs=20 optimizer.lr=0.05
      dlkit train runs/digits-resnet20-1 --resume
      dlkit train runs/digits-resnet20-1 --resume train.epochs=60
      torchrun --nproc-per-node 8 --max-restarts 3 -m dlkit train imagenet-resnet50 --run-dir runs/eight --resume auto
    """
    from dlkit import recipe as recipes
    from dlkit.app.resume import require_run
    from dlkit.app.train import train_recipe

    if resume_auto and run_dir is None and not (Path(recipe) / RECIPE).is_file():
        raise RequestError(
            "--resume auto does not know which run to go on with",
            f"name it: {recipe} --run-dir runs/NAME --resume auto",
        )
    resume = resume or resume_auto
    if resume and overwrite:
        raise RequestError("--resume and --overwrite contradict each other", "give one of them")
    changes = [*(overrides or ()), *([] if seed is None else [f"seed={seed}"])]
    if resume and run_dir is None:
        run_dir = require_run(Path(recipe))
    loaded = recipes.load(recipe, changes)
    output = Output(as_json, quiet)
    with GracefulStop("stopping after this step, with a checkpoint; once more stops at once", saves=False) as stop:
        training = train_recipe(
            loaded, run_dir=run_dir, resume=resume, overwrite=overwrite, device=device,
            should_stop=lambda: stop.requested is not None,
        )  # fmt: skip
        prepare(training, output)
        stop.saves = True
        run = _follow(training, output)
    if run.stopped:
        note(f"stopped at step {run.steps} of {run.total_steps}; go on: dlkit train {shell_word(run.path)} --resume")
        # another process of the job may have been asked
        raise typer.Exit(128 + (stop.requested or signal.SIGTERM))
    output.emit(run.record, run.record["run"], lambda: _table(run.record))


def _follow(training: Work[TrainingEvent, TrainedRun], output: Output) -> TrainedRun:
    """Show the events of a run as they come, to its end."""
    view: TrainingView | None = None
    with ExitStack() as shown:
        for event in output.without_remarks(training):
            if isinstance(event, Started):
                view = TrainingView(event, output.console(), output.say)
                shown.enter_context(view)
                shown.enter_context(progress.report_to(view.follow))
            elif view is not None and not isinstance(event, Prepared):
                view.update(event)
            if isinstance(event, Finished):
                shown.close()
    return training.result()


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
