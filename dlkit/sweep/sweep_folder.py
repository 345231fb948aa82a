"""The folder of a sweep: runs.jsonl, which grows as trials finish, and what is made of it. Free of torch."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dlkit.errors import DlkitError, RequestError
from dlkit.storage.lock import lock_folder
from dlkit.storage.run_reference import ENVIRONMENT, RECIPE, RUNS, SUMMARY, require_inside
from dlkit.storage.sweep_files import SWEEP_FILES
from dlkit.strict_json import parse_json
from dlkit.sweep import provenance
from dlkit.sweep.trials import TrialResult
from dlkit.text_input import ordinary_file

if TYPE_CHECKING:
    from filelock import FileLock

# where these are without the runs, they are of something else, such as a run, and would be lost
_OTHERS = (SUMMARY, RECIPE, ENVIRONMENT)


class SweepFolder:
    """The finished trials of a sweep. Each is appended to runs.jsonl before the next one finishes.

    Args:
        path: of the folder, which is created and locked; None keeps nothing on disk.
        resume: go on with the sweep in the folder.
        facts: what identifies the sweep, as the first line of runs.jsonl holds it.

    Raises:
        RequestError: the folder holds a sweep and `resume` is not set, or that of other facts; or it is a file.
        DlkitError: the folder cannot be written, is in use, or its runs.jsonl is damaged.
    """

    engine: str | None  # that runs the trials
    size: int | None  # runs per stack
    obstacle: str | None = None  # why the runs cannot be stacked, if that was asked and they cannot

    def __init__(self, path: Path | None, resume: bool, facts: dict[str, Any]) -> None:
        self.path, self.outcomes, self.engine, self.size = path, list[TrialResult](), None, None
        self._lock: FileLock | None = None
        if path is None:
            return
        if path.exists() and not path.is_dir():
            raise RequestError(f"`out` {path} is a file", "choose another")
        runs = path / RUNS
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DlkitError(f"cannot make {path}: {error.strerror}", "choose another `out`") from error
        require_own_files(path)
        if not runs.exists() and (taken := next((name for name in _OTHERS if (path / name).exists()), None)):
            raise RequestError(f"{path} holds no race, but another's {taken}", "choose another `out`")
        self._lock = lock_folder(path, "`out`")
        try:
            self._open(path, resume, facts)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, resume: bool, facts: dict[str, Any]) -> None:
        runs, head = path / RUNS, {"kind": "race", **facts}
        text = ordinary_file(runs).read_bytes() if runs.exists() else b""
        if _line(head).startswith(text):  # empty, or a first line cut short by a kill
            runs.unlink(missing_ok=True)
            self._append(head)
            return
        if not resume:
            raise RequestError(f"{path} already holds a race", "go on with `resume`, or choose another `out`")
        held, self.outcomes, (self.engine, self.size, self.obstacle) = load_runs(runs)
        same = {key: value for key, value in facts.items() if key != "metric"}
        if {key: held.get(key) for key in same} != same:
            other = ", ".join(f"{key} {held.get(key)}" for key in same)
            raise RequestError(f"{path} holds another race: {other}", "choose another `out`")
        if not text.endswith(b"\n"):  # cut short by a kill: the next line must not continue it
            os.truncate(runs, text.rfind(b"\n") + 1)

    def close(self) -> None:
        """Let others work in the folder."""
        if self._lock is not None:
            self._lock.release()

    def add(self, outcome: TrialResult) -> None:
        """Record a finished trial."""
        self.outcomes.append(outcome)
        if self.path is not None:
            self._append(outcome.record())

    def choose(self, engine: str, size: int | None, obstacle: str | None = None) -> None:
        """Record the engine, its stack size and why there are no stacks, so that a resumed sweep uses the same."""
        if self.path is not None and (engine, size) != (self.engine, self.size):
            why = {} if obstacle is None else {"not_stacked": obstacle}
            self._append({"kind": "engine", "engine": engine, "size": size, **why})
        self.engine, self.size, self.obstacle = engine, size, obstacle

    def _append(self, record: dict[str, Any]) -> None:
        assert self.path is not None
        try:
            with (self.path / RUNS).open("ab") as file:
                file.write(_line(record))
        except OSError as error:
            reason = f"cannot write {self.path / RUNS}: {error.strerror}"
            raise DlkitError(reason, "free some space, then go on with `resume`") from error


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False).encode() + b"\n"


def identity(folder: Path) -> str:
    """A sha256 that identifies a sweep: over its options, its recipe, the hashes of its data and of the user's code."""
    head, recipe = b"", b""
    if (folder / RUNS).exists():
        with ordinary_file(folder / RUNS).open("rb") as runs:
            head = runs.readline()
    if (folder / RECIPE).exists():
        recipe = ordinary_file(folder / RECIPE).read_bytes()
    environment = provenance.read_record(folder, ENVIRONMENT)
    parts = [head, recipe, json.dumps(environment.get("data")).encode()]
    if "code" in environment:
        parts.append(json.dumps(environment["code"]).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def require_own_files(folder: Path) -> None:
    """Raise DlkitError if one of the sweep's files is a link that leads out of its folder."""
    for name in SWEEP_FILES:
        require_inside(folder, folder / name)


def load_runs(path: Path) -> tuple[dict[str, Any], list[TrialResult], tuple[str | None, int | None, str | None]]:
    """The first line of runs.jsonl, the results, and the latest (engine, stack size, why there are no stacks).

    A last line that a kill cut short is ignored.

    Raises:
        DlkitError: the file cannot be read or is damaged.
    """
    try:
        lines = ordinary_file(path).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DlkitError(f"cannot read {path}: {error.strerror}", "is it the `out` folder of a race?") from error
    except UnicodeDecodeError as error:
        raise DlkitError(f"{path} is damaged: {error}", "race again in another folder") from error
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1], start=1):  # text after the last line break is an unfinished line
        try:
            record = parse_json(line)
        except ValueError as error:
            raise DlkitError(
                f"{path}:{number}: not JSON: {error}", "take the line out, and `resume` runs it again"
            ) from error
        if not isinstance(record, dict):
            raise DlkitError(
                f"{path}:{number}: no record: {line[:60]}", "take the line out, and `resume` runs it again"
            )
        records.append(cast(dict[str, Any], record))
    if not records or records[0].get("kind") != "race":
        raise DlkitError(f"{path} holds no race", "compare-optimizers --out DIR makes one")
    engines = [(r.get("engine"), r.get("size"), r.get("not_stacked")) for r in records if r.get("kind") == "engine"]
    runs = [TrialResult.of_record(record) for record in records[1:] if record.get("kind") != "engine"]
    return records[0], runs, engines[-1] if engines else (None, None, None)


def read_finished_sweep(folder: Path) -> tuple[str, str, list[TrialResult]]:
    """The title of a finished sweep, the loss it was judged by, and its results. Raises DlkitError if it is not one."""
    require_own_files(folder)
    head, outcomes, _ = load_runs(folder / RUNS)
    if not outcomes:
        raise DlkitError(f"{folder / RUNS} holds no finished run", "finish the race with `resume`")
    try:
        summary = parse_json(ordinary_file(folder / SUMMARY).read_text(encoding="utf-8"))
        return str(head["title"]), str(summary["verdict"]["metric"]), outcomes
    except (OSError, ValueError) as error:
        raise DlkitError(f"{folder / SUMMARY}: {error}", "finish the race with `resume`") from error
    except (KeyError, TypeError) as error:
        raise DlkitError(f"{folder} holds no whole race: {error}", "finish it with `resume`") from error
