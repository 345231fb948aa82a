"""The provenance of a sweep, kept in its folder: recipe, environment, options, and the command that repeats it.

    recipe.yaml       the recipe with every default written out (none for a surface)
    environment.json  versions, hardware, command line and hashes of the data, as `train` writes them
    code/             copies of the files of the user's own code
    race.json         optimizers, learning rates, seeds, engine; and the command that repeats the race

Free of torch.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlkit.errors import RequestError
from dlkit.storage.atomic_file import write_text
from dlkit.storage.run_reference import CODE, ENVIRONMENT, RECIPE
from dlkit.storage.sweep_files import RACE
from dlkit.text_input import ordinary_file, read_json_mapping
from dlkit.user_code import read_code

# Options that the repeating command passes again if they were given.
_OPTIONS = ("optimizers", "lr", "seeds", "steps", "trials", "search", "seed", "metric", "target", "start", "device")


def record_or_compare(folder: Path, recipe: str | None, environment: Mapping[str, Any]) -> list[str]:
    """Write the recipe and the environment of a new sweep, or compare them with those it was started with.

    Returns:
        Differences that may change the numbers of the remaining runs: versions, hardware.

    Raises:
        RequestError: the sweep was started with another recipe or other code, or on other data.
        DlkitError: a file cannot be read or written.
    """
    saved = folder / RECIPE
    if recipe is not None and saved.exists() and ordinary_file(saved).read_text(encoding="utf-8") != recipe:
        raise RequestError(f"{saved} is another recipe than the one given", "choose another `out`")
    before = read_record(folder, ENVIRONMENT)
    if not before:
        if recipe is not None:
            write_text(saved, recipe)
        write_text(folder / ENVIRONMENT, json.dumps(environment, indent=1) + "\n")
        return []
    if before.get("data") != json.loads(json.dumps(environment["data"])):
        raise RequestError(
            f"{folder} was begun on other data: see data in {folder / ENVIRONMENT}", "choose another `out`"
        )
    if before.get("code") != environment.get("code"):
        raise RequestError(
            f"{folder} was begun with other code of your own: see code in {folder / ENVIRONMENT}",
            "choose another `out`",
        )
    old, new = ({**values, **values.get("packages", {})} for values in (before, environment))
    names = [name for name in new if name not in ("command", "code", "data", "packages") and old.get(name) != new[name]]
    return [f"{name} was {old.get(name)}, now {new[name]}" for name in names]


def copy_code(folder: Path, files: Sequence[Path]) -> None:
    """Copy files of the user's own code into the folder, where it does not have them yet."""
    for path in files:
        copy = folder / CODE / path.name
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            write_text(copy, read_code(path).decode())


def read_record(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of a sweep; empty if absent, as in folders of earlier versions."""
    path = folder / name
    return read_json_mapping(path, "race again in another folder") if path.exists() else {}


def origin_of_recipe(recipe: Path) -> dict[str, Any]:
    """race.json of the sweep to whose folder a recipe belongs; empty if it belongs to none."""
    return read_record(recipe.parent, RACE) if recipe.name == RECIPE else {}


def write_race_record(
    folder: Path,
    asked: Mapping[str, Any],
    again: Mapping[str, Any],
    on: Sequence[str],
    engine: str | None,
    size: int | None,
    obstacle: str | None,
    remarks: list[str],
) -> None:
    """Write race.json.

    Args:
        folder: of the sweep.
        asked: the options of the command.
        again: the same for the command that repeats it.
        on: positional arguments of the command that repeats it: the recipe in the folder and its overrides, or the
            surface.
        engine: the engine; None on a surface.
        size: runs per stack.
        obstacle: why the runs cannot be stacked, if that was asked and they cannot.
        remarks: differences from the environment it was started in.
    """
    earlier = read_record(folder, RACE).get("resumed", [])
    command = ["dlkit", "compare-optimizers", *on]
    for name in _OPTIONS:
        value = again[name]
        for each in value if name == "search" else [value]:
            if each not in (None, []):
                command.append(f"--{name}={','.join(each) if isinstance(each, list) else each}")
    command += [f"--engine={engine}"] if engine else []
    command += [f"--stack={size}"] if size else []
    record = {**asked, "engine": engine, "stack": size, "not_stacked": obstacle, "repeat": shlex.join(command)}
    record["resumed"] = [*earlier, *(text for text in remarks if text not in earlier)]
    write_text(folder / RACE, json.dumps(record, indent=1) + "\n")


def provenance_rows(folder: Path) -> list[tuple[str, str]]:
    """Rows (name, value) for the report; empty for folders of earlier versions."""
    race, environment = read_record(folder, RACE), read_record(folder, ENVIRONMENT)
    if not race or not environment:
        return []
    asked = [(name, race.get(name)) for name in ("optimizers", "lr", "seeds", "steps", "trials", "search", "seed")]
    how = [*asked, ("engine", race.get("engine")), ("stack", race.get("stack"))]
    how.append(("not stacked", race.get("not_stacked")))
    data: dict[str, Any] = environment.get("data", {})
    packages = ", ".join(f"{name} {number}" for name, number in environment.get("packages", {}).items())
    shown = [
        ("repeat", race.get("repeat")),
        ("command", shlex.join(environment.get("command", []))),
        ("in", race.get("directory")),
        *((name, ", ".join(map(str, value)) if isinstance(value, list) else value) for name, value in how),
        *((f"data {name}", json.dumps(value)) for name, value in data.items()),
        ("dlkit", environment.get("dlkit")),
        ("python", environment.get("python")),
        ("packages", packages),
        *((name, environment.get(name)) for name in ("platform", "processor", "cores", "threads", "device", "gpu")),
        ("git commit", environment.get("git_commit")),
        *(("resumed", text) for text in race.get("resumed", [])),
    ]
    return [(name, str(value)) for name, value in shown if value not in (None, "", [])]
