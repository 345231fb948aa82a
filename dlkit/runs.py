"""What a RUN argument refers to: a run directory, a checkpoint in one, or one read from standard input. No torch."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from dlkit import text_input
from dlkit.errors import DlkitError, RequestError

_LONGEST, _LONGEST_PATH = 1 << 20, 1 << 12  # bytes of a record, and characters of a path, on standard input
_PIPE = "pipe a path or a record in: dlkit train r.yaml | dlkit eval -"


@dataclass(frozen=True)
class Run:
    """A run and the checkpoint of it that is meant, None where the user named none."""

    path: Path
    checkpoint: Path | None = None

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    def choose(self, name: str | None = None) -> Path:
        """The checkpoint to use: `last`, `best`, a step, or by default the one given, else the best, else the last.

        `best` exists only where validation data picked it; nothing is ever picked by a test split.

        Raises:
            DlkitError: there is no such checkpoint.
        """
        folder = self.path / "checkpoints"
        if name is None:
            if self.checkpoint is not None:
                return self.checkpoint
            name = "best" if (folder / "best").exists() else "last"
        path = folder / (f"step-{int(name):08d}" if name.isascii() and name.isdigit() else name)
        if not path.is_dir():
            there = sorted(entry.name for entry in folder.glob("[!.]*")) if folder.is_dir() else []
            hint = f"it has {', '.join(there)}" if there else f"train it: dlkit train {self.path} --resume"
            raise DlkitError(f"{self.path} has no checkpoint {name!r}", hint)
        return path


def require(reference: str) -> None:
    """Raise DlkitError where there is nothing at a path; `-` is none. Cheap, to be asked before torch is imported."""
    if reference != "-" and not Path(reference).exists():
        raise DlkitError(f"no such run: {reference}", "`dlkit train RECIPE` makes one")


def resolve(reference: str) -> Run:
    """Find the run that a RUN argument names.

    Args:
        reference: a path, or `-` for a path or a JSON record with a `run` field on the first line of standard input.

    Raises:
        RequestError: the path is neither a run nor a checkpoint, or standard input holds neither.
        DlkitError: there is nothing at the path.
    """
    if reference == "-":
        reference = _from_stdin()
    require(reference)
    path = Path(reference)
    if (path / "recipe.yaml").is_file():
        return Run(path)
    whole = path.resolve()
    if (whole / "manifest.json").is_file() and (whole.parent.parent / "recipe.yaml").is_file():
        shown = (
            path.parent.parent if path.parent.name == "checkpoints" and path.parent.parent.name else whole.parent.parent
        )
        return Run(shown, path)
    raise RequestError(f"{reference} is neither a run directory nor a checkpoint in one", "a run holds a recipe.yaml")


def _from_stdin() -> str:
    line = text_input.decoded(sys.stdin.buffer.readline(_LONGEST + 1), "standard input", "surrogateescape").strip()
    if not line:
        raise RequestError("no run on standard input", _PIPE)
    if len(line) > (_LONGEST if line.startswith("{") else _LONGEST_PATH):
        raise RequestError(f"standard input begins with neither a path nor a record of a run: {line[:40]}...", _PIPE)
    if not line.startswith("{"):
        return line
    try:
        run = json.loads(line)["run"]
    except (ValueError, KeyError, RecursionError) as error:
        raise RequestError(f"the record on standard input has no field 'run': {line[:80]}", _PIPE) from error
    if not isinstance(run, str):
        raise RequestError(f"the field 'run' on standard input is no path: {str(run)[:80]}", _PIPE)
    return run
