"""`dlkit components`: what a recipe can be made of, with every option."""

from __future__ import annotations

import itertools
import json
from typing import Annotated, Any

import typer

from dlkit.app.components import list_components
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.options import Json, Quiet


def components_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND|NAME]",
            help="optimizer, model, data..., or adamw, resnet20...; all without it.",
            autocompletion=completion.component_names,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List tasks, data, models, optimizers and the rest, with their options.

    A kind lists its components, with the paper that each is from; a name shows what a recipe may set, with ranges and
    defaults. -q prints names.

    \b
    Examples:
      dlkit components
      dlkit components optimizer
      dlkit components adamw
    """
    found = list_components(name)
    output = Output(as_json, quiet)
    if output.tables:
        kinds = {record["kind"] for record in found}
        output.emit(
            {}, None, lambda: _details(found) if name not in (None, *kinds) or name == "train" else _names(found)
        )
        return
    # a name that has other options in each task is printed once
    for record in {record["name"]: record for record in found}.values() if quiet else found:
        output.emit(record, record["name"], lambda: None)


def _names(found: list[dict[str, Any]]) -> Any:
    """A table for each kind."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for kind, records in itertools.groupby(found, key=lambda record: record["kind"]):
        rows = [(record["name"], record["help"], _short(record)) for record in records]
        cited = any(paper for _, _, paper in rows)
        table = Table(kind, "what", *(["paper"] if cited else []), box=None, pad_edge=False)
        for name, what, paper in rows:
            table.add_row(Text(name, style="bold"), Text(what), *([Text(paper)] if cited else []))
        parts += [table, Text()]
    return Group(*parts[:-1])


def _short(record: dict[str, Any]) -> str:
    """The paper, where the help does not name it."""
    paper = record["paper"] or ""
    author = paper.split(" ")[0].rstrip(",")
    return paper[max(paper.find("arXiv:"), 0) :] if f"({author} " in record["help"] else paper


def _details(found: list[dict[str, Any]]) -> Any:
    """Each component with its options."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for record in found:
        parts.append(Text.assemble((record["name"], "bold"), f": {record['help']} ({record['kind']})"))
        facts = [record["paper"], record.get("needs"), ", ".join(record.get("tasks") or [])]
        parts += [Text(f"  {fact}") for fact in facts if fact]
        if record["options"]:
            table = Table("option", "default", "values", "what", box=None, pad_edge=False)
            for key, option in record["options"].items():
                default = "required" if option.get("required") else json.dumps(option["default"])
                table.add_row(Text(key, style="bold"), Text(default), Text(option["values"]), Text(option["help"]))
            parts.append(table)
        parts.append(Text())
    return Group(*parts[:-1])
