"""Train a recipe into a run directory, or go on with a run: `dlkit.train`, and what `dlkit train` shows."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit import recipe as recipes
from dlkit.app.contents import contents_line
from dlkit.app.events import Prepared, Remark, Work, damaged_remarks, data_remarks
from dlkit.app.extension import Extension, extend_run, extensions_of
from dlkit.app.required_files import require_data, require_weights
from dlkit.app.resume import require_run, resumed_recipe
from dlkit.app.take_part import started, take_part
from dlkit.app.trained_run import TrainedRun, TrainingEvent, until_finished
from dlkit.errors import DivergedError, RequestError
from dlkit.recipe import Recipe
from dlkit.storage import run_reference
from dlkit.storage.run_files import DAMAGED, TENSORBOARD, require_new_run
from dlkit.strict_json import json_text
from dlkit.training.events import Checkpointed, Event, Finished
from dlkit.user_code import read_code, require_unchanged

if TYPE_CHECKING:
    from dlkit.assemble import Assembled
    from dlkit.training.checkpoint import Checkpoint
    from dlkit.training.checkpoint_interval import CheckpointInterval
    from dlkit.training.run_directory import RunDirectory
    from dlkit.training.training import Training


def train_recipe(
    recipe: Recipe | str | Path,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
) -> Work[TrainingEvent, TrainedRun]:
    """Train from a recipe.

    The work runs while its events are read: `for event in train(...)`, or `train(...).result()`. To leave the loop, or
    to close the work, ends it after the step that it is at, with a checkpoint, and `resume=True` goes on there. So does
    what an interrupt leaves behind, from the last checkpoint on.

    Args:
        recipe: a loaded one, a shipped recipe's name, a file, or the directory of a run.
        run_dir: directory of the run; None for the next free `runs/<recipe>-<n>`.
        resume: go on with the run in `run_dir`, or else with the one that `recipe` names; to more epochs or steps, if
            that is its own recipe with such a change.
        overwrite: delete an earlier run in `run_dir`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        should_stop: asked after each step, and before each batch of an evaluation; once it is true, the run saves a
            checkpoint and stops.

    Raises:
        RequestError: the recipe is wrong, or `run_dir` holds something else. A RecipeError has every problem of it.
        DlkitError: data is missing; while the events are read also what training meets, such as DivergedError.
    """
    if resume and overwrite:
        raise RequestError("`resume` and `overwrite` contradict each other", "give one of them")
    path = None if run_dir is None else Path(run_dir)
    if resume and path is None:
        path = require_run(recipe.path.parent if isinstance(recipe, Recipe) else Path(recipe))
    wanted = recipe if isinstance(recipe, Recipe) else recipes.load(str(recipe))
    remarks: list[str] = []
    extension: Extension | None = None
    begins = path is None or not resume or not (path / run_reference.RECIPE).is_file()
    if path is not None and not begins:
        run_reference.require_no_race(path)
        wanted, remarks, extension = resumed_recipe(wanted, path)
    if begins:
        require_new_run(path, overwrite)
    require_data(wanted)
    require_weights(wanted)
    return Work(_train(wanted, path, begins, overwrite, device, should_stop, remarks, extension))


def _train(
    recipe: Recipe, path: Path | None, begins: bool, overwrite: bool, device: str, should_stop: Callable[[], bool],
    remarks: list[str], extension: Extension | None,
) -> Generator[TrainingEvent, None, TrainedRun]:  # fmt: skip
    from dlkit.assemble import assemble_training
    from dlkit.distributed.process_group import join_world
    from dlkit.training.device import pick_device

    yield from map(Remark, remarks)
    left = threading.Event()  # set when the caller stops iterating
    picked = pick_device(device)
    with join_world(picked) as world:
        built = assemble_training(recipe, picked, lambda: left.is_set() or should_stop(), world=world)
        yield Prepared()
        if not world.first:
            return (yield from take_part(built, left.set))
        return (yield from lead_run(built, path, begins, extension, overwrite, left.set))


def lead_run(
    built: Assembled, path: Path | None, begins: bool, extension: Extension | None, overwrite: bool,
    leave: Callable[[], None],
) -> Generator[TrainingEvent, None, TrainedRun]:  # fmt: skip
    """Train, and write the run down: what the first of several processes does, or the only one.

    Args:
        built: the recipe as objects.
        path: of the run; None for the next free one.
        begins: whether the run is new.
        extension: of an earlier run that goes on, if there is one.
        overwrite: delete an earlier run.
        leave: called when the listener closes the generator.
    """
    from dlkit.training import run_directory

    # only now, when nothing is wrong with the recipe and the data, is anything made or deleted
    if begins or path is None:
        path = run_directory.create_run_directory(path, re.sub(r"-\d+$", "", built.recipe.name), overwrite)
    with run_directory.RunDirectory(path, built.recipe.values["train"]["keep_checkpoints"]) as directory:
        latest = yield from _open_run(built, directory, begins, extension)
        world = built.training.world
        world.broadcast_object((path, latest.step if latest else None))
        try:
            finished = yield from until_finished(_recorded(built.training, directory, latest), leave)
        except DivergedError as error:
            directory.note_diverged(error.message)
            raise
        return world.broadcast_object((yield from _conclude(built, directory, finished)))


def _open_run(
    built: Assembled, directory: RunDirectory, begins: bool, extension: Extension | None
) -> Generator[TrainingEvent, None, Checkpoint | None]:  # fmt: skip
    """Write down how the run begins, or find where it goes on. Returns the checkpoint to go on from."""
    from dlkit.training import environment, rng

    training = built.training
    latest = None if begins else directory.latest()
    if latest is not None:
        require_unchanged(built.recipe.own_code, latest.state["data"].get("code"))
        built.dataset.require_same(latest.state["data"])
        directory.open_metrics(latest)
    if begins:
        yield from data_remarks(built.dataset.sources)
        yield Remark(contents_line(built.dataset), routine=True)
        yield from map(Remark, built.remarks)
        saved = built.recipe.with_code_in(run_reference.CODE) if built.recipe.own_code else built.recipe
        for path in built.recipe.own_code:
            directory.write_code(path.name, read_code(path))
        directory.write(run_reference.RECIPE, saved.to_yaml())  # a run that is killed from here on can be resumed
    elif latest is None:
        yield Remark(f"{directory.path} has no checkpoint yet: starting at step 0")
    else:
        yield Remark(f"going on with {directory.path} at step {latest.step}")
        if (moved := rng.note_of_move(latest.state["random"], training.device)) is not None:
            yield Remark(moved)
        if extension is not None:
            schedule: str = built.recipe.values["schedule"]["name"]
            yield from extend_run(extension, training, schedule, latest.step, directory)
            directory.write(run_reference.RECIPE, built.recipe.to_yaml())
            (directory.path / run_reference.SUMMARY).unlink(missing_ok=True)  # it has not finished yet
    if latest is None:
        described = environment.describe_environment(training.device, built.dataset.sources)
        about = {
            "recipe": built.recipe.name, "total_steps": training.total_steps,
            **described, **built.recipe.described_code(), **_processes(training),
        }  # fmt: skip
        directory.write(run_reference.ENVIRONMENT, _pretty(about))
        directory.open_metrics()
    yield started(built, directory.path, latest)
    return latest


def _recorded(training: Training, directory: RunDirectory, latest: Checkpoint | None) -> Generator[Remark | Event]:
    """The events of training, once the run directory holds what they say."""
    from dlkit.training.joint_checkpoints import JointCheckpoints
    from dlkit.training.loop import fit

    store = JointCheckpoints(training.world, directory)
    writer = _tensorboard(directory.path, latest.step if latest else 0) if training.settings.tensorboard else None
    for event in fit(training, store, latest):
        directory.record(event)
        if isinstance(event, Checkpointed):
            directory.note_damaged(_damaged(training))
        if writer is not None:
            writer(event)
        yield event
        if isinstance(event, Checkpointed) and event.decided is not None:
            yield _interval_remark(event.decided)


def _conclude(
    built: Assembled, directory: RunDirectory, finished: Finished
) -> Generator[TrainingEvent, None, TrainedRun]:
    """Write the summary and the curves. Raises NotFiniteError, after that, if a metric is not finite."""
    from dlkit.finite import require_finite_metrics
    from dlkit.training import run_plots

    damaged = _damaged(built.training)
    count = directory.note_damaged(damaged)
    yield from damaged_remarks(damaged, f"all {count} of them: {directory.path / DAMAGED}")
    record = _record(built, directory, finished) | ({"damaged": count} if count else {})
    run = TrainedRun(directory.path, record, built.training.total_steps)
    if run.stopped:
        return run
    if finished.skipped:
        yield Remark(f"left out {finished.skipped} of {finished.step} steps: their loss or gradient was not finite")
    if finished.compiled and finished.compiled[0] > finished.compiled[1]:
        graphs, shapes = finished.compiled
        yield Remark(f"compiled {graphs} graphs for {shapes} shapes of batches: one each would have done")
    # measures that make no sense here, or else what of the data was not taken
    record |= extensions_of(directory.path)
    left_out = built.dataset.left_out or built.dataset.sources.get("left_out")
    record |= {"left_out": left_out} if left_out else {}
    directory.write(run_reference.SUMMARY, _pretty(record))
    run_plots.plot_learning_curves(
        directory.path / run_reference.METRICS, directory.path / "curves.svg", built.recipe.name
    )
    require_finite_metrics(finished.metrics)  # the run is whole, and its folder tells the rest; but this is no success
    return run


def _interval_remark(interval: CheckpointInterval) -> Remark:
    w, hours = f"{interval.write_seconds:.3g} s", f"{interval.failure_seconds / 3600:,.0f} h"
    return Remark(
        f"a checkpoint every {interval.seconds:,.0f} s of training: sqrt(2 w m) - w with w = {w}, which writing one "
        f"took, and m = {hours}, the assumed time between two failures",
        routine=True,
    )


def _damaged(training: Training) -> dict[str, str]:
    """Images that were left out since this process began: name -> why."""
    found: dict[str, str] = {}
    for batches in (training.batches, *training.evaluations.values()):
        found |= getattr(batches, "damaged", {})
    return found


def _processes(training: Training) -> dict[str, int]:
    """How many train together, where it is more than one."""
    return {"processes": training.world.size} if training.world.size > 1 else {}


def _pretty(record: dict[str, Any]) -> str:
    return json_text(record, indent=1) + "\n"


def _record(built: Assembled, directory: RunDirectory, finished: Finished) -> dict[str, Any]:
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
        **_processes(built.training),
        "seed": built.recipe.values["seed"],
        "stopped_by": finished.reason,
        **({"skipped_steps": finished.skipped} if finished.skipped else {}),
        **({"warm_up_seconds": round(finished.warm_up, 3)} if finished.warm_up else {}),
        **({"compiled": dict(zip(("graphs", "shapes"), finished.compiled, strict=True))} if finished.compiled else {}),
        **({"checkpoint_every": finished.interval.record()} if finished.interval else {}),
        "sources": built.dataset.sources,
    }


def _tensorboard(path: Path, step: int) -> Callable[[Event], None]:
    from dlkit.training.tensorboard import event_writer

    return event_writer(path / TENSORBOARD, step)
