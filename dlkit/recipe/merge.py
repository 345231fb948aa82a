"""Several documents and overrides as one: a recipe after those that it extends, and then KEY=VALUE and ~KEY."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlkit.annotations import is_list, is_mapping
from dlkit.errors import DlkitError, Problem, RequestError
from dlkit.recipe import strict_yaml
from dlkit.recipe.check import closest, quoted
from dlkit.recipe.find import SUFFIXES, locate, shipped
from dlkit.recipe.strict_yaml import KeyPath, dotted
from dlkit.text_input import opened_by_shell

COMMAND_LINE = "command line"


@dataclass
class Merge:
    """Values from several documents and overrides, with the place that each came from."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    places: dict[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    folders: dict[KeyPath, Path] = field(default_factory=dict[KeyPath, Path])
    problems: list[Problem] = field(default_factory=list[Problem])

    def report(self, path: KeyPath, message: str) -> None:
        place = next((self.places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.places), "")
        self.problems.append(Problem(place, dotted(path), message))

    def displace(self, newest: Callable[[str], bool]) -> None:
        """Let a length of training that comes last, epochs or steps, take the place of the other one."""
        train = self.values.get("train")
        if is_mapping(train):
            given = [key for key in ("epochs", "steps") if newest(key) and train.get(key) is not None]
            if len(given) == 1:
                train.pop("steps" if given == ["epochs"] else "epochs", None)

    def put(self, path: KeyPath, value: Any, places: dict[KeyPath, str], folder: Path) -> None:
        """Merge `value` in at `path`. Another `name` in a section drops the keys of the old component."""
        parent: dict[str, Any] = self.values
        for part in path[:-1]:
            parent = parent[str(part)]
        key, old = str(path[-1]), parent.get(str(path[-1]))
        if is_mapping(value) and is_mapping(old):
            if value.get("name", old.get("name")) != old.get("name"):
                old.clear()
            for name, item in value.items():
                self.put((*path, str(name)), item, places, folder)
        else:
            parent[key] = copy.deepcopy(value)
        for place, where in places.items():
            if place[: len(path)] == path:
                self.places[place] = where
                self.folders[place] = folder


def read_chain(path: Path, where: str, children: tuple[Path, ...], merge: Merge) -> None:
    """Read a file after the one that it extends, so that its own values win."""
    try:
        document = strict_yaml.read_yaml(None, "stdin") if where == "-" else strict_yaml.read_yaml(path, where)
    except OSError as error:
        raise DlkitError(f"cannot read {where}: {error.strerror or error}") from error
    merge.problems.extend(document.problems)
    values = document.values
    if not is_mapping(values):
        if not document.problems:
            got = "an empty file" if values is None else "a list" if is_list(values) else quoted(values)
            merge.problems.append(
                Problem(f"{document.where}:1", "", f"expected a mapping (task: ..., data: ...), got {got}")
            )
        return
    places: dict[KeyPath, str] = {key: f"{document.where}:{line}" for key, line in document.lines.items()}
    extends = values.pop("extends", None)
    if extends is not None:
        _extend(extends, path, places, (*children, path.resolve()), merge)
    # the data paths of a shipped recipe are about the place where it is used
    folder = Path.cwd() if path in shipped().values() or opened_by_shell(path) else path.resolve().parent
    merge.places.setdefault((), places.get((), f"{document.where}:1"))
    for key, value in values.items():
        merge.put((str(key),), value, places, folder)
    merge.displace(lambda key: ("train", key) in places)


def _extend(extends: Any, path: Path, places: dict[KeyPath, str], children: tuple[Path, ...], merge: Merge) -> None:
    place = places["extends",]
    if not isinstance(extends, str):
        merge.problems.append(Problem(place, "extends", f"expected a recipe file or name, got {quoted(extends)}"))
        return
    try:
        parent = locate(extends, path.parent if extends.endswith(SUFFIXES) else None)
    except RequestError as error:
        merge.problems.append(Problem(place, "extends", error.message))
        return
    if parent.resolve() in children:
        circle = " -> ".join(child.name for child in (*children, parent))
        merge.problems.append(Problem(place, "extends", f"extends itself: {circle}"))
        return
    read_chain(parent, str(parent), children, merge)


def override(text: str, merge: Merge) -> None:
    """Apply `key=value` or `~key`."""
    key, equals, value_text = text.partition("=")
    removes = key.startswith("~") and not equals
    path: KeyPath = tuple(key.removeprefix("~").split("."))
    if not (equals or removes) or not all(path):
        message = "expected KEY=VALUE or ~KEY" + closest(text, ("~" + part for part in merge.values))
        merge.problems.append(Problem(COMMAND_LINE, text, message))
        return
    parent: Any = merge.values
    for depth, part in enumerate(path[:-1]):
        if removes and (not is_mapping(parent) or part not in parent):
            break
        parent = parent.setdefault(part, {})
        if not is_mapping(parent):
            merge.problems.append(Problem(COMMAND_LINE, key, f"{dotted(path[: depth + 1])} is not a mapping"))
            return
    if removes:
        if not is_mapping(parent) or path[-1] not in parent:
            known = parent if is_mapping(parent) else ()
            near = closest(str(path[-1]), known)
            merge.problems.append(Problem(COMMAND_LINE, key, f"nothing to remove{near}"))
            return
        del parent[path[-1]]
        return
    document = strict_yaml.parse_yaml(value_text.encode(errors="surrogateescape"), COMMAND_LINE)
    if document.problems:
        message = "; ".join(problem.message for problem in document.problems)
        merge.problems.append(Problem(COMMAND_LINE, key, message))
        return
    places: dict[KeyPath, str] = {(*path, *inner): COMMAND_LINE for inner in document.lines} or {path: COMMAND_LINE}
    value = document.values
    for depth in range(1, len(path)):  # a section that only the command line has
        merge.places.setdefault(path[:depth], COMMAND_LINE)
    for depth in range(len(path) - 1, 0, -1):  # a changed `name` must reach its section, so merge from the top
        value = {path[depth]: value}
    merge.put(path[:1], value, places, Path.cwd())
