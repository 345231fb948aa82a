"""Whether a run may go on: its saved recipe must be the one that is asked for. No torch."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlkit import recipe as recipes
from dlkit.annotations import is_mapping
from dlkit.app.extension import LENGTHS, Extension, require_extensible
from dlkit.errors import DlkitError, RequestError
from dlkit.recipe import Recipe
from dlkit.storage import run_reference
from dlkit.storage.run_reference import ENVIRONMENT, RECIPE
from dlkit.strict_json import parse_json
from dlkit.text_input import ordinary_file
from dlkit.training.settings import DECIDED
from dlkit.user_code import same_value

MOVABLE = ("compile", "cuda_graph", "parallel")  # those of DECIDED that another machine may have to decide differently


def require_run(path: Path) -> Path:
    """The directory of a run. Raises RequestError if it holds none."""
    run_reference.require_no_race(path)
    if not (path / RECIPE).is_file():
        raise RequestError("`resume` needs a run", "dlkit train RUN --resume, or RECIPE --run-dir DIR --resume")
    return path


def resumed_recipe(wanted: Recipe, run_dir: Path) -> tuple[Recipe, list[str], Extension | None]:
    """The recipe with which a run goes on, remarks for the user, and whether it is extended.

    It is the saved one, in which `auto` was decided, under the name that it had when the run began. A run that was
    compiled may go on without: another machine may have no compiler. Its own recipe with a larger train.epochs or
    train.steps extends it.

    Raises:
        RequestError: the run was started from another recipe than `wanted`, or would be shorter.
        DlkitError: its environment.json is damaged.
    """
    saved = recipes.load(str(run_dir / RECIPE))
    differences: list[str] = []
    moved: dict[str, Any] = {}
    remarks: list[str] = []
    extension: Extension | None = None
    own = os.path.realpath(wanted.path) == os.path.realpath(run_dir / RECIPE)
    for section, old in saved.values.items():
        new = wanted.values[section]
        if not is_mapping(old):
            differences += [f"{section} is {old} in the run, now {new}"] if old != new else []
            continue
        for key in sorted({*old, *new}):
            a, b = old.get(key), new.get(key)
            if same_value(a, b) or (section == "train" and key in DECIDED and b == "auto"):
                continue
            if section == "train" and key in MOVABLE:
                remarks.append(f"train.{key} was {a} in this run, now {b}: the last bits of its numbers may differ")
                moved[key] = b
            elif section == "train" and key in LENGTHS and own:
                extension = require_extensible(run_dir, key, a, b)
                moved[key] = b
            else:
                differences.append(f"{section}.{key} is {a} in the run, now {b}")
    if differences:
        raise RequestError(
            f"{run_dir} was started from another recipe: {'; '.join(differences[:4])}",
            f"go on with its own: dlkit train {run_dir} --resume",
        )
    values = {**saved.values, "train": {**saved.values["train"], **moved}}
    return replace(saved, values=values, name=_first_name(run_dir, wanted, saved)), remarks, extension


def _first_name(run_dir: Path, wanted: Recipe, saved: Recipe) -> str:
    """What the recipe of a run was called when it began."""
    path = run_dir / ENVIRONMENT
    try:
        environment: Any = parse_json(ordinary_file(path).read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise DlkitError(
            f"{path} is damaged: {error}", f"remove it, and the run goes on: rm {shlex.quote(str(path))}"
        ) from error
    name = environment.get("recipe") if is_mapping(environment) else None
    return name if isinstance(name, str) else wanted.name if wanted.path != saved.path else saved.name
