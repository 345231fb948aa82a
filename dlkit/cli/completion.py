"""Completion of recipes, runs, override keys and their values. Silent on errors; imports no torch.

`python -m dlkit.cli.completion FOLDER` writes the scripts for bash, zsh and fish, as Typer generates them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from dlkit.storage.run_reference import RECIPE

SCRIPTS = {"bash": "dlkit.bash", "zsh": "_dlkit", "fish": "dlkit.fish"}


def _files(incomplete: str, suffixes: tuple[str, ...], marker: str) -> list[str]:
    """Recipe files, directories on the way to one, and run directories (those that hold `marker`)."""
    folder, _, start = incomplete.rpartition("/")
    prefix = folder + "/" if folder or incomplete.startswith("/") else ""
    found: list[str] = []
    try:
        for entry in os.scandir(prefix or "."):
            if not entry.name.startswith(start) or (entry.name.startswith(".") and not start):
                continue
            if entry.is_dir():
                whole = (Path(entry.path) / marker).is_file()
                found.append(prefix + entry.name + ("" if whole else "/"))
            elif entry.name.endswith(suffixes):
                found.append(prefix + entry.name)
    except OSError:
        return []
    return sorted(found)


def recipes(incomplete: str) -> list[tuple[str, str]]:
    """Names of shipped recipes with their summaries, then files and runs."""
    from dlkit import recipe

    names = [(name, recipe.summary(path)) for name, path in recipe.shipped().items() if name.startswith(incomplete)]
    return names + [(path, "") for path in _files(incomplete, (".yaml", ".yml"), RECIPE)]


def claims(incomplete: str) -> list[tuple[str, str]]:
    """Claims of the review, and files of the user's."""
    from dlkit.review.find import list_claims

    files = [(name, "") for name in _files(incomplete, (".yaml", ".yml"), "")]
    return [(claim.name, claim.text) for claim in list_claims() if claim.name.startswith(incomplete)] + files


def races(incomplete: str) -> list[tuple[str, str]]:
    """Surfaces, then what `recipes` offers."""
    from dlkit.sweep.surfaces import SURFACES

    return [(name, s.help) for name, s in SURFACES.items() if name.startswith(incomplete)] + recipes(incomplete)


def runs(incomplete: str) -> list[str]:
    """Run directories and folders on the way to one."""
    return _files(incomplete, (), RECIPE)


def component_names(incomplete: str) -> list[tuple[str, str]]:
    """Kinds of components, and their names."""
    from dlkit.app.components import list_components

    found = list_components()
    names = [(kind, "all of them") for kind in dict.fromkeys(record["kind"] for record in found)]
    names += [(record["name"], record["help"]) for record in found if record["kind"] != "train"]
    return [(name, what) for name, what in names if name.startswith(incomplete)]


def run_keys(incomplete: str) -> list[str]:
    """Fields and metrics of the runs in runs/, to sort by."""
    from dlkit.errors import DlkitError
    from dlkit.runs.listing import list_runs

    try:
        listed = list_runs(Path("runs"))
    except DlkitError:
        return []
    names = dict.fromkeys(name for run in listed for name in (*run.metrics, *run.record()) if name != "metrics")
    return _starting(list(names), incomplete)


def data_sets(incomplete: str) -> list[tuple[str, str]]:
    """Names of data sets and groups that can be downloaded."""
    from dlkit.data.registry import DATASETS, GROUPS

    names = [(name, s.help) for name, s in DATASETS.items()] + [(name, "all of it") for name in GROUPS]
    return [(name, help) for name, help in names if name.startswith(incomplete)]


def overrides(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """`optimizer.` to its keys, `optimizer.name=` to the values that it takes.

    bash splits words at `=`, so there the key and `=` are words of their own and only the value is completed.
    """
    from dlkit import recipe

    source = str(ctx.params.get("recipe") or "")
    given: list[str] = [str(item) for item in ctx.params.get("overrides") or ()]
    if incomplete == "=" and given:
        return recipe.override_values(source, given[-1])
    if len(given) >= 2 and given[-1] == "=":
        return _starting(recipe.override_values(source, given[-2]), incomplete)
    key, equals, value = incomplete.partition("=")
    if equals:
        return [f"{key}={choice}" for choice in _starting(recipe.override_values(source, key), value)]
    keys = _starting([name for name, _ in recipe.override_keys(source)], incomplete)
    if len(keys) == 1:  # two candidates with a common start, so that the shell adds no space behind the `=`
        values = recipe.override_values(source, keys[0]) or ["VALUE"]
        return [f"{keys[0]}=", *(f"{keys[0]}={choice}" for choice in values)]
    return [f"{name}=" for name in keys]


def _starting(choices: list[str], start: str) -> list[str]:
    return [choice for choice in choices if choice.startswith(start)]


def script(shell: str) -> str:
    """The completion script of a shell, from Typer itself."""
    environment: dict[str, Any] = {**os.environ, "_DLKIT_COMPLETE": f"source_{shell}"}
    code = "import sys; sys.argv[0] = 'dlkit'; from dlkit.__main__ import main; main()"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return result.stdout.strip() + "\n"


if __name__ == "__main__":
    for shell_name, file_name in SCRIPTS.items():
        (Path(sys.argv[1]) / file_name).write_text(script(shell_name), encoding="utf-8")
