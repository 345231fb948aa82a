"""From a file, a shipped name or standard input to a checked `Recipe`."""

from __future__ import annotations

import copy
import functools
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dlkit.annotations import is_list, is_mapping
from dlkit.catalog import DATA, HUB_NAMES, SECTIONS, TASKS, TEXT_TASKS
from dlkit.errors import DlkitError, Problem, RecipeError, RequestError
from dlkit.recipe import strict_yaml
from dlkit.recipe.check import check, closest, show
from dlkit.recipe.strict_yaml import KeyPath, dotted
from dlkit.text_input import opened_by_shell, special

_PACKAGE = Path(__file__).resolve().parents[1]
_SUFFIXES = (".yaml", ".yml")
COMMAND_LINE = "command line"


@dataclass
class Recipe:
    """A checked recipe. `values` is complete: every default is written out and paths are absolute."""

    name: str
    path: Path
    values: dict[str, Any]

    def require_data(self) -> None:
        """Raise DlkitError if the files that it is about are not there: at once, before anything heavy is imported."""
        data = self.values["data"]
        needed = DATA[data["name"]].download.format_map(data)
        if needed:
            from dlkit.data import store

            store.require(needed)
        self._require("data", "path", "data.path says where the data is")

    def require_weights(self) -> None:
        """Raise DlkitError if the weights that training starts from are not there."""
        hint = "model.weights says what the model begins with"
        if self.values["task"] in TEXT_TASKS and self.values["model"].get("weights"):
            place: str = os.path.relpath(str(self.values["model"]["weights"]))
            own = place if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", place) else "OWNER/NAME"
            of = HUB_NAMES.get(Path(place).name, own)
            hint = f"hf download {of} --local-dir {place}"
        self._require("model", "weights", hint)

    def _require(self, section: str, key: str, hint: str) -> None:
        path = self.values[section].get(key)
        if path is not None and not Path(path).exists():
            raise DlkitError(f"no such file or folder: {path}", hint)
        if path is not None and (kind := special(Path(path))):
            raise RequestError(f"{section}.{key}: {path} is {kind}, neither a file nor a folder", "give a path of one")

    def to_yaml(self) -> str:
        """The resolved recipe, which loads back to the same values."""
        return yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a recipe."""
    return json.loads(Path(__file__).with_name("schema.json").read_bytes())


def shipped() -> dict[str, Path]:
    """The recipes that come with dlkit, by name."""
    folder = _PACKAGE / "recipes"
    if not folder.is_dir():  # a checkout, not an installation
        folder = _PACKAGE.parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}


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
    if path.is_dir() and (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    if path.is_dir() and not (source in shipped() and os.sep not in source):
        raise RequestError(f"{source} is a directory without a recipe.yaml", "give a recipe file, a name or a run")
    if path.is_file() or path.suffix in _SUFFIXES or os.sep in source:
        if not path.exists():
            raise RequestError(f"no such recipe file: {source}", "`dlkit recipes list` shows the recipes by name")
        return path
    if source in shipped():
        return shipped()[source]
    raise RequestError(
        f"no recipe named {show(source)}{closest(source, shipped())}", "`dlkit recipes list` shows them all"
    )


@dataclass
class _Merge:
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


def load(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load, merge, override, check and complete a recipe.

    Args:
        source: a path, a run directory, the name of a shipped recipe, or `-` for standard input.
        overrides: `dotted.key=VALUE` with a YAML value, or `~dotted.key` to remove one.

    Raises:
        RecipeError: with every problem found, as `file.yaml:LINE: dotted.key: message`.
        RequestError: there is no such recipe.
        DlkitError: the file cannot be read.
    """
    path = Path("-") if source == "-" else locate(source)
    merge = _Merge()
    _read_chain(path, str(path), (), merge)
    readable = not merge.problems
    # a new `name` drops the keys of the old component, so it goes first
    for override in sorted(overrides, key=lambda text: not text.partition("=")[0].endswith(".name")):
        _override(override, merge)
    merge.displace(lambda key: merge.places.get(("train", key)) == COMMAND_LINE)
    if readable or merge.values:
        _check(merge)
    if merge.problems:
        raise RecipeError(merge.problems)
    values = _complete(merge)
    name = path.parent.name if path.name == "recipe.yaml" else path.stem
    return Recipe("stdin" if source == "-" or opened_by_shell(path) else name, path, values)


def _read_chain(path: Path, where: str, children: tuple[Path, ...], merge: _Merge) -> None:
    """Read a file after the one that it extends, so that its own values win."""
    try:
        document = strict_yaml.read(None, "stdin") if where == "-" else strict_yaml.read(path, where)
    except OSError as error:
        raise DlkitError(f"cannot read {where}: {error.strerror or error}") from error
    merge.problems.extend(document.problems)
    values = document.values
    if not is_mapping(values):
        if not document.problems:
            got = "an empty file" if values is None else "a list" if is_list(values) else show(values)
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


def _extend(extends: Any, path: Path, places: dict[KeyPath, str], children: tuple[Path, ...], merge: _Merge) -> None:
    place = places["extends",]
    if not isinstance(extends, str):
        merge.problems.append(Problem(place, "extends", f"expected a recipe file or name, got {show(extends)}"))
        return
    try:
        parent = locate(extends, path.parent if extends.endswith(_SUFFIXES) else None)
    except RequestError as error:
        merge.problems.append(Problem(place, "extends", error.message))
        return
    if parent.resolve() in children:
        circle = " -> ".join(child.name for child in (*children, parent))
        merge.problems.append(Problem(place, "extends", f"extends itself: {circle}"))
        return
    _read_chain(parent, str(parent), children, merge)


def _override(text: str, merge: _Merge) -> None:
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
    document = strict_yaml.parse(value_text.encode(errors="surrogateescape"), COMMAND_LINE)
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


def _section_schema(section: str, values: dict[str, Any]) -> dict[str, Any] | None:
    key = "train" if section == "train" else f"{section}.{values.get('name')}"
    return schema()["$defs"].get(key)


def _check(merge: _Merge) -> None:
    properties: dict[str, Any] = schema()["properties"]
    required: list[str] = schema()["anyOf"][1]["required"]
    for key in merge.values:
        if key not in properties:
            merge.report((key,), f"unknown key{closest(key, properties) or '; known: ' + ', '.join(properties)}")
    for key in required:
        if key not in merge.values:
            merge.report((key,), "missing")
    for key, value in merge.values.items():
        if key not in properties:
            continue
        if "$ref" not in properties[key] and "allOf" not in properties[key]:
            check(value, properties[key], (key,), merge.report)
        elif not is_mapping(value):
            known = properties[key].get("properties", {}).get("name", {}).get("enum", ())
            hint = f": write {key}: {{name: {value}}}" if value in known else ""
            merge.report((key,), f"expected a mapping, got {show(value)}{hint}")
        else:
            _check_section(key, dict(value), properties[key], merge)
    _check_task(merge)
    train = merge.values.get("train", {})
    if is_mapping(train):
        lengths = [key for key in ("epochs", "steps") if train.get(key) is not None]
        if len(lengths) != 1:
            found = "both are set" if lengths else "neither is set"
            merge.report(("train", *lengths[:1]), f"set either train.epochs or train.steps: {found}")


def _check_task(merge: _Merge) -> None:
    """The data and the model must be made for the task."""
    task = merge.values.get("task")
    if not isinstance(task, str):  # which has been reported
        return
    if "tokenizer" in merge.values and task in TASKS and task not in TEXT_TASKS:
        merge.report(("tokenizer",), f"{task} has no text to cut into tokens")
    for section in ("data", "model", "loss"):
        values = merge.values.get(section)
        name = values.get("name") if is_mapping(values) else None
        entry = SECTIONS[section].get(name) if isinstance(name, str) else None
        if task in TASKS and entry is not None and entry.tasks and task not in entry.tasks:
            fitting = [key for key, other in SECTIONS[section].items() if not other.tasks or task in other.tasks]
            merge.report((section, "name"), f"{name} is not for {task}; these are: {', '.join(fitting)}")


def _check_section(section: str, values: dict[str, Any], choice: dict[str, Any], merge: _Merge) -> None:
    if section != "train" and "name" not in values:
        default = choice.get("default", {}).get("name")
        if default is None:
            merge.report((section, "name"), "missing: " + ", ".join(choice["properties"]["name"]["enum"]))
            return
        values = {"name": default, **values}
    section_schema = _section_schema(section, values)
    if section_schema is None:
        check(values["name"], choice["properties"]["name"], (section, "name"), merge.report)
    else:
        check(values, section_schema, (section,), merge.report)


def _complete(merge: _Merge) -> dict[str, Any]:
    """The checked values with every default, in the schema's order, and absolute paths."""
    complete: dict[str, Any] = {}
    for key, described in schema()["properties"].items():
        if key == "extends" or (key == "tokenizer" and merge.values["task"] not in TEXT_TASKS):
            continue
        value = merge.values.get(key, described.get("default"))
        if is_mapping(value):
            given: dict[str, Any] = {**described.get("default", {}), **value}
            properties = (_section_schema(key, given) or {})["properties"]
            value = {name: given.get(name, copy.deepcopy(item.get("default"))) for name, item in properties.items()}
            value["name"] = given.get("name")
            for name in [name for name, item in properties.items() if _is_path(item) and value[name] is not None]:
                folder = merge.folders.get((key, name), Path.cwd())
                value[name] = str((folder / Path(value[name]).expanduser()).absolute())
            if key == "train":
                del value["name"]
        complete[key] = _plain(value)
    return complete


def _is_path(item: dict[str, Any]) -> bool:
    return item.get("format") == "path" or any(_is_path(option) for option in item.get("anyOf", ()))


def _plain(value: Any) -> Any:
    """The value without `AmbiguousWord`, which only the checker needs."""
    if is_mapping(value):
        return {str(key): _plain(item) for key, item in _items(value)}
    if is_list(value):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _items(mapping: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    return iter(mapping.items())
