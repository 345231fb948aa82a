"""RUN arguments: a run directory, a checkpoint in one, or a reference on standard input. Free of torch."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from dlkit import text_input
from dlkit.errors import DlkitError, RequestError, shell_word
from dlkit.strict_json import parse_json

_LONGEST, _LONGEST_PATH = 1 << 20, 1 << 12  # bytes of a record, and characters of a path, on standard input
_PIPE = "pipe a path or a record in: dlkit train r.yaml | dlkit eval -"
MANIFEST = "manifest.json"  # of a checkpoint
METRICS = "metrics.jsonl"  # of a run
RUNS = "runs.jsonl"  # of a race
CODE = "code"  # the folder of copies of the user's own components, of either
RECIPE, ENVIRONMENT, SUMMARY = "recipe.yaml", "environment.json", "summary.json"  # of either


def checkpoint_name(step: int) -> str:
    """The folder name of the checkpoint of a step."""
    return f"step-{step:08d}"


def step_folders(folder: Path) -> dict[int, bool]:
    """The checkpoints in a folder: step -> whether it is complete, that is, has a manifest; steps ascend.

    Anything else is ignored: other names, files, and links, which may lead to another run.

    Raises:
        DlkitError: the folder itself is a link.
    """
    if folder.is_symlink():
        raise DlkitError(
            f"{folder} is a link, to {folder.readlink()}: checkpoints lie in a folder of their own",
            "remove the link, or name the run that it leads to",
        )
    if not folder.is_dir():
        return {}
    found = {int(match[1]): path for path in folder.iterdir() if (match := re.fullmatch(r"step-(\d{8,18})", path.name))}
    own = {step: path for step, path in found.items() if path.is_dir() and not path.is_symlink()}
    return {step: (own[step] / MANIFEST).is_file() for step in sorted(own) if own[step].name == checkpoint_name(step)}


def require_inside(run: Path, path: Path) -> None:
    """Raise DlkitError if `path` resolves to outside of the run."""
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(os.path.realpath(run)):
        raise DlkitError(
            f"{path} leads out of {run}, to {target}", "remove the link, or give the folder that it leads to"
        )


@dataclass(frozen=True)
class Run:
    """A run, and the checkpoint that the user named, if any."""

    path: Path
    checkpoint: Path | None = None

    @property
    def recipe(self) -> Path:
        return self.path / RECIPE

    def choose(self, name: str | None = None) -> Path:
        """The checkpoint of a name: `last`, `best` or a step; by default the one given, else the best, else the last.

        `best` exists only if there was validation data; no checkpoint is ever selected on a test split.

        Raises:
            DlkitError: there is no such checkpoint.
        """
        folder = self.path / "checkpoints"
        if name is None:
            if self.checkpoint is not None:
                return self.checkpoint
            name = "best" if os.path.lexists(folder / "best") else "last"
        path = folder / (checkpoint_name(int(name)) if re.fullmatch("[0-9]{1,18}", name) else name)
        require_inside(self.path, path)
        if not path.is_dir() or os.path.realpath(path.joinpath("..")) != os.path.realpath(folder):
            there = [entry.name for entry in sorted(folder.glob("[!.]*")) if (entry / MANIFEST).is_file()]
            hint = f"it has {', '.join(there)}" if there else f"train it: dlkit train {shell_word(self.path)} --resume"
            raise DlkitError(f"{self.path} has no checkpoint {name!r}", hint)
        return path


def require_reference(reference: str) -> None:
    """Raise an error unless it is `-` or a folder that exists. To be called before torch is imported."""
    if reference == "-":
        return
    if not Path(reference).exists():
        raise DlkitError(f"no such run: {reference}", "`dlkit train RECIPE` makes one")
    if not Path(reference).is_dir():
        raise _no_run(reference)


def require_no_race(path: Path) -> None:
    """Raise RequestError if a folder holds a race of optimizers, which has a recipe too, and no run."""
    if (path / RUNS).is_file() and not (path / "checkpoints").is_dir():
        raise RequestError(
            f"{path} holds a race of optimizers, not a run",
            f"compare-optimizers --resume goes on with it; dlkit train {shell_word(path / RECIPE)} trains its recipe",
        )


def resolve_run(reference: str) -> Run:
    """The run that a RUN argument refers to.

    Args:
        reference: a path, or `-` for a path or a JSON record with a `run` field on the first line of standard input.

    Raises:
        RequestError: the path is neither a run nor a checkpoint, or standard input does not name one.
        DlkitError: the path does not exist.
    """
    if reference == "-":
        reference = _from_stdin()
    require_reference(reference)
    path = Path(reference)
    if (path / RECIPE).is_file():
        require_no_race(path)
        return Run(path)
    whole = path.resolve()
    if (whole / MANIFEST).is_file() and (whole.parent.parent / RECIPE).is_file():
        shown = (
            path.parent.parent if path.parent.name == "checkpoints" and path.parent.parent.name else whole.parent.parent
        )
        require_inside(shown, path)
        return Run(shown, path)
    raise RequestError(f"{reference} is neither a run directory nor a checkpoint in one", f"a run holds a {RECIPE}")


def _no_run(reference: str) -> RequestError:
    return RequestError(f"{reference} is neither a run directory nor a checkpoint in one", "a run holds a recipe.yaml")


def no_language_run(path: Path) -> RequestError:
    """The error for a run that must hold a BERT or GPT, and does not."""
    return RequestError(f"{path} holds no BERT or GPT, but a model of images or rows", "give a run of a language task")


def own_language_model(path: Path, reference: str) -> RequestError:
    """The error for a run with a user's model, where the layers of dlkit's BERT or GPT are needed."""
    name = reference.rpartition(":")[2]
    return RequestError(
        f"{path} holds {name}, a model of your own, and this needs the layers of dlkit's BERT or GPT",
        "it can be trained on, evaluated and, a classifier, predict",
    )


def _from_stdin() -> str:
    line = text_input.decode_text(sys.stdin.buffer.readline(_LONGEST + 1), "standard input", "surrogateescape").strip()
    if not line:
        raise RequestError("no run on standard input", _PIPE)
    if len(line) > (_LONGEST if line.startswith("{") else _LONGEST_PATH):
        raise RequestError(f"standard input begins with neither a path nor a record of a run: {line[:40]}...", _PIPE)
    if not line.startswith("{"):
        return line
    try:
        run = parse_json(line)["run"]
    except (ValueError, KeyError) as error:
        raise RequestError(f"the record on standard input has no field 'run': {line[:80]}", _PIPE) from error
    if not isinstance(run, str):
        raise RequestError(f"the field 'run' on standard input is not a path: {str(run)[:80]}", _PIPE)
    return run
