"""More epochs for a run that has finished: what they are, and what they do to its learning rate. No torch."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dlkit.app.events import Remark
from dlkit.errors import RequestError, shell_word
from dlkit.storage.run_reference import ENVIRONMENT, SUMMARY
from dlkit.strict_json import json_text
from dlkit.text_input import read_json_mapping

if TYPE_CHECKING:
    from dlkit.training.run_directory import RunDirectory
    from dlkit.training.training import Training

LENGTHS = ("epochs", "steps")


@dataclass(frozen=True)
class Extension:
    """A run of `before` epochs or steps that goes on to `after`."""

    key: Literal["epochs", "steps"]
    before: int
    after: int


def require_extensible(run_dir: Path, key: str, before: int | None, after: int | None) -> Extension | None:
    """The extension of a run from one value of `train.epochs` or `train.steps` to another; None where it has none now.

    Raises:
        RequestError: it would be shorter, counted in another unit, or had stopped for want of progress.
        DlkitError: its summary.json is damaged.
    """
    if after is None:
        return None
    again = f"dlkit train {shell_word(run_dir)}"
    if before is None:
        unit = next(other for other in LENGTHS if other != key)
        raise RequestError(
            f"train.{key}={after}: the length of {run_dir} is counted in {unit}", f"{again} --resume train.{unit}=N"
        )
    if after < before:
        raise RequestError(
            f"train.{key}={after}: {run_dir} was planned for {before} {key}, and can only be extended",
            f"{again} --resume train.{key}={2 * before}",
        )
    summary = run_dir / SUMMARY
    if summary.exists() and read_json_mapping(summary, f"rm {summary}").get("stopped_by") == "patience":
        raise RequestError(
            f"{run_dir} was stopped by train.patience, so that more {key} change nothing",
            f"train anew: {again} train.{key}={after} train.patience=null",
        )
    return Extension("epochs" if key == "epochs" else "steps", before, after)


def extend_run(
    extension: Extension, training: Training, schedule: str, step: int, directory: RunDirectory
) -> Generator[Remark]:
    """Say what becomes of the learning rate, and write it down in environment.json.

    A schedule is a function of the step and of how many there are. So it is stretched: from here on the learning rate
    is what it would be, had the run been planned for its new length.

    Args:
        extension: of the run.
        training: with its new length; the optimizer still has the recipe's settings.
        schedule: its name.
        step: of the checkpoint that the run goes on from.
        directory: of the run.
    """
    total = training.total_steps
    planned = extension.before if extension.key == "steps" else extension.before * training.steps_per_epoch
    base = float(training.optimizer.param_groups[0]["lr"])
    was = base * training.schedule(max(step - 1, 0), planned)
    now = base * training.schedule(min(step, total - 1), total)
    if was == now:
        effect = f"the learning rate stays at {now:.3g} (schedule.name={schedule})"
    else:
        effect = (
            f"schedule.name={schedule} is stretched over all of them, and the learning rate goes on at {now:.3g}, "
            f"where it had come to {was:.3g}"
        )
    yield Remark(f"extended from {extension.before} to {extension.after} {extension.key}: {effect}")
    record = {
        "step": step, extension.key: [extension.before, extension.after], "total_steps": [planned, total],
        "schedule": schedule, "lr": [was, now],
    }  # fmt: skip
    path = directory.path / ENVIRONMENT
    known: dict[str, Any] = read_json_mapping(path, f"rm {path}") if path.exists() else {}
    earlier = [one for one in known.get("extended", []) if one != record]  # one that was killed in the middle of this
    changed = {**known, "total_steps": total, "extended": [*earlier, record]}
    directory.write(ENVIRONMENT, json_text(changed, indent=1) + "\n")


def extensions_of(run_dir: Path) -> dict[str, Any]:
    """The field `extended` of a run's record; empty where it never was."""
    path = run_dir / ENVIRONMENT
    found = read_json_mapping(path, f"rm {path}") if path.exists() else {}
    return {"extended": found["extended"]} if "extended" in found else {}
