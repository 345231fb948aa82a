"""Where a recipe comes from: a file, a run directory, the name of one that is shipped."""

from __future__ import annotations

import os
from pathlib import Path

from dlkit.errors import RequestError
from dlkit.recipe.check import closest, quoted
from dlkit.storage.run_reference import RECIPE

_PACKAGE = Path(__file__).resolve().parents[1]
SUFFIXES = (".yaml", ".yml")


def recipes_folder() -> Path:
    """Where the recipes that come with dlkit are, and in its folder `review` the claims."""
    folder = _PACKAGE / "recipes"
    return folder if folder.is_dir() else _PACKAGE.parent / "recipes"  # of a checkout, not of an installation


def shipped() -> dict[str, Path]:
    """The recipes that come with dlkit, by name."""
    return {path.stem: path for path in sorted(recipes_folder().glob("*.yaml"), key=lambda path: path.stem)}


def summary(path: Path) -> str:
    """The first comment line of a recipe that is not for an editor."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                break
            if not line.startswith("# yaml-language-server"):
                return line.lstrip("# ").strip()
    return ""


def locate(source: str, beside: Path | None = None) -> Path:
    """The file of a recipe given as a path, a run directory or a shipped name. Raises RequestError if there is none."""
    path = (beside / source) if beside else Path(source)
    if path.is_dir() and (path / RECIPE).is_file():
        return path / RECIPE
    if path.is_dir() and not (source in shipped() and os.sep not in source):
        raise RequestError(f"{source} is a directory without a {RECIPE}", "give a recipe file, a name or a run")
    if path.is_file() or path.suffix in SUFFIXES or os.sep in source:
        if not path.exists():
            raise RequestError(f"no such recipe file: {source}", "`dlkit recipes list` shows the recipes by name")
        return path
    if source in shipped():
        return shipped()[source]
    raise RequestError(
        f"no recipe named {quoted(source)}{closest(source, shipped())}", "`dlkit recipes list` shows them all"
    )
