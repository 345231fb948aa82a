"""The folder of a race: its runs as lines, written as they finish, and its summary. Free of torch."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, cast

from dlkit.errors import DlkitError, RequestError
from dlkit.storage.lock import LOCK, lock_folder
from dlkit.storage.run_reference import RUNS, require_inside
from dlkit.sweep import provenance
from dlkit.sweep.trials import Outcome
from dlkit.text_input import ordinary

SUMMARY, PAGE, STACK = "summary.json", "report.html", "stack"
_DRAWN = ("surface", "sensitivity", "curves", "tuning", "profile")
_FIGURES = tuple(f"{name}.{kind}" for name in _DRAWN for kind in ("svg", "png"))
# all that a race writes into its folder
PARTS = (LOCK, RUNS, SUMMARY, PAGE, STACK, provenance.RECIPE, provenance.ENVIRONMENT, provenance.RACE, *_FIGURES)
# where these are without the runs, they are of something else, such as a run, and would be lost
_OTHERS = (SUMMARY, provenance.RECIPE, provenance.ENVIRONMENT)


class Folder:
    """The finished runs, and where they are written as they come: each line is on the disk before the next run ends."""

    engine: str | None  # by which the race is run
    size: int | None  # of its stacks

    def __init__(self, path: Path | None, resume: bool, facts: dict[str, Any]) -> None:
        self.path, self.outcomes, self.engine, self.size = path, list[Outcome](), None, None
        if path is None:
            return
        if path.exists() and not path.is_dir():
            raise RequestError(f"--out {path} is a file", "choose another")
        runs, head = path / RUNS, {"kind": "race", **facts}
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DlkitError(f"cannot make {path}: {error.strerror}", "choose another --out") from error
        require_own(path)
        if not runs.exists() and (taken := next((name for name in _OTHERS if (path / name).exists()), None)):
            raise RequestError(f"{path} holds no race, but another's {taken}", "choose another --out")
        self._lock = lock_folder(path, "--out")
        text = ordinary(runs).read_bytes() if runs.exists() else b""
        if _line(head).startswith(text):  # nothing, or what a kill left of the first line
            runs.unlink(missing_ok=True)
            self._append(head)
            return
        if not resume:
            raise RequestError(f"{path} already holds a race", "go on with --resume, or choose another --out")
        held, self.outcomes, (self.engine, self.size) = load(runs)
        same = {key: value for key, value in facts.items() if key != "metric"}
        if {key: held.get(key) for key in same} != same:
            other = ", ".join(f"{key} {held.get(key)}" for key in same)
            raise RequestError(f"{path} holds another race: {other}", "choose another --out")
        if not text.endswith(b"\n"):  # cut short by a kill: the next line must not continue it
            os.truncate(runs, text.rfind(b"\n") + 1)

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self.path is not None:
            self._append(outcome.record())

    def choose(self, engine: str, size: int | None) -> None:
        """Note by which engine the race is run, and how large its stacks are, so that it goes on by the same."""
        if self.path is not None and (engine, size) != (self.engine, self.size):
            self._append({"kind": "engine", "engine": engine, "size": size})
        self.engine, self.size = engine, size

    def _append(self, record: dict[str, Any]) -> None:
        assert self.path is not None
        try:
            with (self.path / RUNS).open("ab") as file:
                file.write(_line(record))
        except OSError as error:
            reason = f"cannot write {self.path / RUNS}: {error.strerror}"
            raise DlkitError(reason, "free some space, then go on with --resume") from error


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False).encode() + b"\n"


def identity(folder: Path) -> str:
    """A sha256 of what makes a race this race and no other: what was asked for, its recipe and its data."""
    head, recipe = b"", b""
    if (folder / RUNS).exists():
        with ordinary(folder / RUNS).open("rb") as runs:
            head = runs.readline()
    if (folder / provenance.RECIPE).exists():
        recipe = ordinary(folder / provenance.RECIPE).read_bytes()
    data = json.dumps(provenance.read(folder, provenance.ENVIRONMENT).get("data")).encode()
    return hashlib.sha256(b"\0".join((head, recipe, data))).hexdigest()


def require_own(folder: Path) -> None:
    """Raise DlkitError if a part of a race is a link that leads out of its folder: what is there is not the race's."""
    for name in PARTS:
        require_inside(folder, folder / name)


def load(path: Path) -> tuple[dict[str, Any], list[Outcome], tuple[str | None, int | None]]:
    """The first line of runs.jsonl, its outcomes, and the last engine with the size of its stacks.

    A last line that a kill cut short is left out.
    """
    try:
        lines = ordinary(path).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DlkitError(f"cannot read {path}: {error.strerror}", "is it the --out folder of a race?") from error
    except UnicodeDecodeError as error:
        raise DlkitError(f"{path} is damaged: {error}", "race again in another folder") from error
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line break was never finished
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DlkitError(
                f"{path}:{number}: not JSON: {error}", "take the line out, and --resume runs it again"
            ) from error
        if not isinstance(record, dict):
            raise DlkitError(
                f"{path}:{number}: no record: {line[:60]}", "take the line out, and --resume runs it again"
            )
        records.append(cast(dict[str, Any], record))
    if not records or records[0].get("kind") != "race":
        raise DlkitError(f"{path} holds no race", "compare-optimizers --out DIR makes one")
    engines = [(record.get("engine"), record.get("size")) for record in records if record.get("kind") == "engine"]
    runs = [Outcome.of_record(record) for record in records[1:] if record.get("kind") != "engine"]
    return records[0], runs, engines[-1] if engines else (None, None)


def read(folder: Path) -> tuple[str, str, list[Outcome]]:
    """The title of a finished race, the loss that it was judged by, and its runs. Raises DlkitError if it is none."""
    require_own(folder)
    head, outcomes, _ = load(folder / RUNS)
    if not outcomes:
        raise DlkitError(f"{folder / RUNS} holds no finished run", "finish the race with --resume")
    try:
        summary = json.loads(ordinary(folder / SUMMARY).read_text(encoding="utf-8"))
        return str(head["title"]), str(summary["verdict"]["metric"]), outcomes
    except (OSError, ValueError) as error:
        raise DlkitError(f"{folder / SUMMARY}: {error}", "finish the race with --resume") from error
    except (KeyError, TypeError) as error:
        raise DlkitError(f"{folder} holds no whole race: {error}", "finish it with --resume") from error
