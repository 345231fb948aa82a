"""`dlkit recipes`: list, show, copy and check recipes, and print their schema."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit import recipe, text_input
from dlkit.catalog import TASKS
from dlkit.cli import completion
from dlkit.cli.console import Output, duration, is_plain, note
from dlkit.cli.options import Json, Overrides, Quiet, RecipeName, Trust
from dlkit.errors import DlkitError, RequestError
from dlkit.recipe import strict_yaml
from dlkit.recipe.header import read_header
from dlkit.storage.atomic_file import write_text

app = typer.Typer(
    help="List, show, copy and check recipes.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A recipe's name or file.", autocompletion=completion.recipes)
]


@app.command("list")
def list_recipes(as_json: Json = False, quiet: Quiet = False) -> None:
    """List the recipes that come with dlkit: what each needs, and how long it took where it was measured.

    \b
    Example:
      dlkit recipes list
    """
    output = Output(as_json, quiet)
    records: list[dict[str, Any]] = []
    for path in recipe.shipped().values():
        header = read_header(path)
        records.append({
            "name": header.name, "summary": header.summary, "path": str(path), "task": header.task,
            "data": header.data, "needs": header.needs, "seconds": header.seconds,
            "measured_on": " ".join(header.paragraphs.get("Measured on", [])) or None,
        })  # fmt: skip
    if output.tables:
        output.emit({}, None, lambda: _table(records))
        return
    for record in records:
        output.emit(record, record["name"], lambda: None)


def _table(records: list[dict[str, Any]]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for task in TASKS:
        table = Table(task, "what", "needs", "time", box=None, pad_edge=False)
        table.columns[3].justify = "right"
        for record in records:
            if record["task"] == task:
                time = duration(record["seconds"]) if record["seconds"] is not None else ""
                needs = re.sub(r" \(.*?\)|, or .*", "", record["needs"])
                table.add_row(Text(record["name"], style="bold"), Text(record["summary"]), Text(needs), time)
        parts += [table, Text()]
    return Group(*parts, Text("Times are those of training where it was measured; recipes/README.md says on what."))


@app.command("show")
def show_recipe(
    name: Name,
    overrides: Overrides = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Write out every default.")] = False,
) -> None:
    """Print a recipe.

    Example: dlkit recipes show digits-resnet20
    """
    text = recipe.load(name, overrides or (), unchecked_code=True).to_yaml() if resolved or overrides else _text(name)
    if is_plain(sys.stdout):
        Output().line(text.removesuffix("\n"))
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "yaml", background_color="default"))


@app.command("copy")
def copy_recipe(
    name: Name,
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; a folder is fine.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Copy a recipe to change it.

    Example: dlkit recipes copy digits-mlp mine.yaml

    A recipe that extends another shipped one keeps doing so by name, so the copy works anywhere.
    """
    source = recipe.locate(name)
    path = target / source.name if target.is_dir() else target
    if path.exists() and not force:
        raise RequestError(f"{path} exists", "choose another name, or use --force")
    if not path.parent.is_dir():
        raise RequestError(f"no such folder: {path.parent}", f"mkdir -p {path.parent}")
    schema = Path(recipe.__file__).with_name("schema.json").as_uri()
    lines = _text(name).split("\n")
    marker = "# yaml-language-server: $schema="
    write_text(path, "\n".join(f"{marker}{schema}" if line.startswith(marker) else line for line in lines))
    Output().line(str(path))


def _text(name: str) -> str:
    """A recipe as it is written. Raises RequestError where it is no text, DlkitError where it cannot be read."""
    path = recipe.locate(name)
    try:
        data = text_input.read_bytes(path, strict_yaml.MAX_BYTES, "a recipe")
    except OSError as error:
        raise DlkitError(f"cannot read {path}: {error.strerror}") from error
    return text_input.decode_text(data, str(path))


@app.command("check")
def check_recipe(
    name: RecipeName, overrides: Overrides = None, trust: Trust = False, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Check a recipe: every problem with its line.

    Example: dlkit recipes check mine.yaml
    """
    checked = recipe.load(name, overrides or (), unchecked_code=not trust)
    record: dict[str, Any] = {"recipe": checked.name, "path": str(checked.path), "status": "ok"}
    if checked.own_code and not trust:
        record["unchecked"] = [str(path) for path in checked.own_code]
        note(f"keys of components in {', '.join(record['unchecked'])} are not checked: that would run code (--trust)")
    Output(as_json, quiet).emit(record, None, lambda: f"{checked.path}: ok")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of recipes, for editors.

    Example: dlkit recipes schema > recipe.schema.json
    """
    import json

    sys.stdout.write(json.dumps(recipe.schema(), indent=1, ensure_ascii=False) + "\n")
