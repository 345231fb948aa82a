"""Options that several commands share, so that each means and reads the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dlkit.cli import completion
from dlkit.cli.written_table import TableForm
from dlkit.errors import RequestError

RESUME_AUTO = "--resume-auto"  # what `--resume auto` becomes


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?|mps", value):
        raise RequestError(f"no such kind of device: {value!r}", "--device takes auto, cpu, cuda, cuda:N or mps")
    return value


def _data_dir(value: Path | None) -> Path | None:
    if value is not None:
        if value.exists() and not value.is_dir():
            raise RequestError(f"--data-dir {value} is a file", "give a folder")
        from dlkit.data import store

        store.choose_data_folder(value)
    return value


def with_optional_values(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--resume auto` and `--resume=auto` as the one flag that Typer can read."""
    found = list(arguments)
    for index, argument in enumerate(found):
        if argument == "--":
            break
        if argument == "--resume=auto":
            found[index] = RESUME_AUTO
        elif argument == "--resume" and found[index + 1 : index + 2] == ["auto"]:
            found[index : index + 2] = [RESUME_AUTO]
    return found


ResumeAuto = Annotated[bool, typer.Option(RESUME_AUTO, hidden=True)]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        callback=_data_dir,
        help="Where data sets are kept (default: $DLKIT_DATA, or the cache).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines even on a terminal.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the value that a script wants; no progress.")]
Written = Annotated[TableForm | None, typer.Option("--table", help="Print tables to paste, numbers as in the record.")]
Device = Annotated[
    str, typer.Option("--device", metavar="DEVICE", callback=_device, help="auto, cpu, cuda, cuda:N or mps.")
]


def _trust(value: bool) -> bool:
    from dlkit import user_code

    user_code.set_trust(value)
    return value


Trust = Annotated[
    bool, typer.Option("--trust", callback=_trust, help="Run components of your own, FILE.py:NAME in the recipe.")
]
RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe's name or file, a run directory, or - for standard input.",
        autocompletion=completion.recipes,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Change the recipe; ~KEY removes.", autocompletion=completion.overrides),
]
