"""A run or a race, as its folder shows it. Only small files are read, and only their ends where they are long."""

from __future__ import annotations

import datetime
import functools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dlkit.annotations import is_list, is_mapping
from dlkit.errors import DlkitError
from dlkit.recipe.strict_yaml import read_yaml
from dlkit.storage.lock import is_locked
from dlkit.storage.run_files import CHECKPOINTS, DIVERGED, RUN_FILES
from dlkit.storage.run_reference import (
    ENVIRONMENT,
    METRICS,
    RECIPE,
    RUNS,
    SUMMARY,
    checkpoint_name,
    require_inside,
    step_folders,
)
from dlkit.storage.sweep_files import SWEEP_FILES
from dlkit.strict_json import parse_json
from dlkit.text_input import ordinary_file, read_json_mapping

State = Literal["done", "running", "resumable", "diverged", "damaged"]
_TAIL = 1 << 16  # bytes at the end of metrics.jsonl that hold the last evaluation


@dataclass(frozen=True)
class ListedRun:
    """A run or a race, as its folder shows it.

    Args:
        path: its folder.
        kind: a run, or a race of optimizers.
        recipe: its name; of a race, what is raced on.
        state: `done`; `running` in another process; `resumable`; `diverged`, where a loss, a weight or a metric was no
            longer finite; `damaged`, where files are missing or cannot be read: `problem` says which.
        step: of the last checkpoint, while it runs of the last record; of a race, how many of its runs are finished.
        metrics: of the last evaluation; of a race none.
        size: bytes on disk of what the run has made.
        changed: when its folder changed last, in seconds since 1970.
        more: further fields of its record.
    """

    path: Path
    kind: Literal["run", "race"]
    recipe: str
    state: State
    step: int | None
    metrics: dict[str, float | None]
    size: int
    changed: float
    seconds: float | None = None
    problem: str | None = None
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    def record(self) -> dict[str, Any]:
        """What `dlkit runs` prints."""
        changed = datetime.datetime.fromtimestamp(self.changed, datetime.UTC).isoformat(timespec="seconds")
        return {
            "run": str(self.path), "kind": self.kind, "recipe": self.recipe, "state": self.state, "step": self.step,
            "metrics": self.metrics, "seconds": self.seconds, "bytes": self.size, "changed": changed, **self.more,
            **({"problem": self.problem} if self.problem else {}),
        }  # fmt: skip

    @functools.cached_property
    def keys(self) -> dict[str, Any]:
        """Its recipe by dotted key; empty where that cannot be read."""
        return recipe_keys(self.path)


def recipe_keys(run: Path) -> dict[str, Any]:
    """The recipe of a run by dotted key, such as `optimizer.lr`; empty where it cannot be read."""
    try:
        return flattened(read_yaml(run / RECIPE, RECIPE).values)
    except OSError:
        return {}


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, of dotted keys. A list is a value."""
    if not is_mapping(value):
        return {prefix: [*value] if is_list(value) else value} if prefix else {}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= flattened(item, f"{prefix}.{key}" if prefix else str(key))
    return found


def read_run(path: Path) -> ListedRun:
    """A run, as its folder shows it. Its checkpoints are not verified: that takes reading all of them."""
    environment: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    steps: list[int] = []
    problem: str | None = None
    try:
        environment, summary = (
            read_json_mapping(path / name, "") if (path / name).exists() else {} for name in (ENVIRONMENT, SUMMARY)
        )
        _require_summary(summary)
        steps = _require_whole_run(path, bool(summary))
    except DlkitError as error:
        problem, summary = error.message, {}
    running = is_locked(path)
    last = _last_records(path / METRICS)
    metrics = summary.get("metrics") if summary and not running else last.get("metrics")
    state: State = "resumable"
    if running:
        state = "running"
    elif problem:
        state = "damaged"
    elif (path / DIVERGED).exists() or (summary and None in summary.get("metrics", {}).values()):
        state = "diverged"
    elif summary:
        state = "done"
    total = environment.get("total_steps") if isinstance(environment.get("total_steps"), int) else None
    return ListedRun(
        path, "run",
        recipe=str(summary.get("recipe") or environment.get("recipe") or re.sub(r"-\d+$", "", path.name)),
        state=state,
        step=last.get("step") if running else summary.get("steps") or (steps[-1] if steps else 0),
        metrics=metrics if is_mapping(metrics) else {},
        size=_size(path, RUN_FILES),
        changed=_changed(path),
        seconds=summary["seconds"] if "seconds" in summary and not running else _seconds(path, steps),
        problem=problem,
        more={
            "total_steps": total if total is not None else summary.get("steps"),
            **{key: summary[key] for key in ("task", "seed", "device", "parameters") if key in summary},
        },
    )  # fmt: skip


def _require_summary(summary: dict[str, Any]) -> None:
    """Raise DlkitError if the fields of summary.json that are shown are not what training writes."""
    metrics = summary.get("metrics", {})
    numbers = [*(metrics.values() if is_mapping(metrics) else [""]), summary.get("seconds"), summary.get("steps")]
    if not all(value is None or (isinstance(value, (int, float)) and value == value) for value in numbers):
        raise DlkitError(f"{SUMMARY} is not as training wrote it")


def _require_whole_run(path: Path, finished: bool) -> list[int]:
    """The steps of the complete checkpoints. Raises DlkitError where a file of the run is not as training leaves it."""
    if not (path / RECIPE).is_file():
        raise DlkitError(f"it has no {RECIPE}")
    require_inside(path, path / RECIPE)
    folders = step_folders(path / CHECKPOINTS)
    whole = [step for step, complete in folders.items() if complete]
    if folders and max(folders) not in whole:
        raise DlkitError(f"{CHECKPOINTS}/{checkpoint_name(max(folders))} has no manifest.json")
    if finished and not whole:
        raise DlkitError("its checkpoints are gone")
    return whole


def _last_records(path: Path) -> dict[str, Any]:
    """The last step in metrics.jsonl, and the metrics of the last evaluation that its end holds."""
    try:
        with ordinary_file(path).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return {}
    found: dict[str, Any] = {}
    for line in reversed(lines):
        try:
            record = parse_json(line)
        except ValueError:  # the first line may be cut, and the last while it is written
            continue
        if not is_mapping(record):
            continue
        if isinstance(record.get("step"), int):
            found.setdefault("step", record["step"])
        if "lr" not in record:
            metrics = {name: value for name, value in record.items() if "/" in name and isinstance(value, (int, float))}
            return {**found, "metrics": metrics}
    return found


def _seconds(path: Path, steps: list[int]) -> float | None:
    """How long it had trained at its last checkpoint."""
    if not steps:
        return None
    try:
        state = read_json_mapping(path / CHECKPOINTS / checkpoint_name(steps[-1]) / "state.json", "")
    except DlkitError:
        return None
    seconds = state["progress"].get("seconds") if is_mapping(state.get("progress")) else None
    return round(seconds, 3) if isinstance(seconds, float) else None


def _size(folder: Path, own: Sequence[str]) -> int:
    """Bytes of a run's own files in its folder. What a link leads to is not in it, nor what a run deletes meanwhile."""
    size = 0
    for file in (file for name in own for file in _files(folder / name)):
        with suppress(FileNotFoundError):
            found = os.lstat(file)
            size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return size


def _files(path: Path) -> Iterator[str]:
    """The path, or of a folder the files in it."""
    if path.is_symlink() or not path.is_dir():
        yield str(path)
    else:
        yield from (os.path.join(parent, name) for parent, _, names in os.walk(path) for name in names)  # noqa: PTH118


def _changed(path: Path) -> float:
    return max(
        ((path / name).stat().st_mtime for name in (METRICS, SUMMARY, RUNS) if (path / name).is_file()),
        default=path.stat().st_mtime,
    )


def read_race(path: Path) -> ListedRun:
    """A race, by the first line of its runs.jsonl, how many follow, and its verdict."""
    title, problem, finished = path.name, None, 0
    summary: dict[str, Any] = {}
    try:
        with ordinary_file(path / RUNS).open("rb") as file:
            head = parse_json(file.readline())
            finished = sum(b'"kind": "engine"' not in line for line in file)
        title = str(head["title"])
        summary = read_json_mapping(path / SUMMARY, "") if (path / SUMMARY).exists() else {}
    except OSError as error:
        problem = f"cannot read {RUNS}: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        problem = f"the first line of {RUNS} names no race"
    except DlkitError as error:
        problem = error.message
    state: State = "running" if is_locked(path) else "damaged" if problem else "done" if summary else "resumable"
    verdict = summary.get("verdict")
    winner = {"winner": verdict.get("winner")} if is_mapping(verdict) else {}
    return ListedRun(
        path, "race", title, state, finished, {}, _size(path, SWEEP_FILES), _changed(path), None, problem, winner
    )
