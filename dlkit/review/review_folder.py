"""The folder of a review: runs.jsonl, which grows as runs finish, and the records of the claims. Free of torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.errors import DlkitError, RequestError
from dlkit.recipe import Recipe
from dlkit.storage.atomic_file import write_text
from dlkit.storage.lock import LOCK, lock_folder
from dlkit.storage.run_reference import RUNS
from dlkit.strict_json import json_text, parse_json
from dlkit.sweep.trials import Trial, TrialResult
from dlkit.text_input import ordinary_file

if TYPE_CHECKING:
    from filelock import FileLock

RECORDS = "review.jsonl"


def digest_of(recipe: Recipe, content: Mapping[str, Any]) -> str:
    """What tells whether a finished run is this recipe's: a sha256 over all that decides its numbers but the seed.

    Args:
        recipe: with the files of the user's own code that it names.
        content: of the data, as `TaskData.description` has it.
    """
    values = {key: value for key, value in recipe.values.items() if key != "seed"}
    decisive = {**values, "content": content, **recipe.described_code()}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:16]


class ReviewFolder:
    """The finished `runs` of a review. Each is appended to runs.jsonl before the next one finishes.

    Args:
        path: of the folder, which is created and locked; None keeps nothing on disk.
        resume: go on with the review in the folder.

    Raises:
        RequestError: the folder holds something already and `resume` is not set, or it is a file.
        DlkitError: the folder cannot be written, is in use, or its runs.jsonl is damaged.
    """

    def __init__(self, path: Path | None, resume: bool) -> None:
        self.path = path
        self.runs: dict[tuple[str, int], TrialResult] = {}  # by digest and seed: two claims may share an arm
        self._lock: FileLock | None = None
        if path is None:
            return
        if path.exists() and not path.is_dir():
            raise RequestError(f"`out` {path} is a file", "choose another")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DlkitError(f"cannot make {path}: {error.strerror}", "choose another `out`") from error
        taken = next((entry.name for entry in path.iterdir() if entry.name != LOCK), None)
        if taken is not None and not (path / RUNS).exists():
            raise RequestError(f"{path} holds no review, but {taken}", "choose another `out`")
        if taken is not None and not resume:
            raise RequestError(f"{path} already holds a review", "go on with `resume`, or choose another `out`")
        self._lock = lock_folder(path, "`out`")
        try:
            self._read(path / RUNS)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others work in the folder."""
        if self._lock is not None:
            self._lock.release()

    def finished(self, digest: str, trial: Trial) -> TrialResult | None:
        """The result of this run of this recipe, if there is one; perhaps from an arm of another name."""
        found = self.runs.get((digest, trial.seed))
        return None if found is None else dataclasses.replace(found, trial=trial)

    def add(self, digest: str, outcome: TrialResult) -> None:
        """Record a finished run."""
        self.runs[digest, outcome.trial.seed] = outcome
        if self.path is None:
            return
        try:
            with (self.path / RUNS).open("ab") as file:
                file.write(json.dumps({"digest": digest, **outcome.record()}, allow_nan=False).encode() + b"\n")
        except OSError as error:
            reason = f"cannot write {self.path / RUNS}: {error.strerror}"
            raise DlkitError(reason, "free some space, then go on with `resume`") from error

    def conclude(self, records: Sequence[dict[str, Any]]) -> None:
        """Write down what was found of each claim."""
        if self.path is not None:
            write_text(self.path / RECORDS, "".join(json_text(record) + "\n" for record in records))

    def _read(self, runs: Path) -> None:
        if not runs.exists():
            runs.touch()
            return
        text = ordinary_file(runs).read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = parse_json(line)
                outcome = TrialResult.of_record(record)
                self.runs[str(record["digest"]), outcome.trial.seed] = outcome
            except (ValueError, KeyError, TypeError, RequestError) as error:
                raise DlkitError(
                    f"{runs}:{number}: no record of a run", "take the line out, and `resume` runs it again"
                ) from error
        if whole != text:  # cut short by a kill: the next line must not continue it
            os.truncate(runs, len(whole))
