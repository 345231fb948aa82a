"""From a file, a shipped name or standard input to a checked `Recipe`."""

from __future__ import annotations

import copy
import functools
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dlkit.annotations import is_list, is_mapping
from dlkit.catalog import DATA, HUB_NAMES, SECTIONS, TASKS
from dlkit.errors import DlkitError, RecipeError, RequestError
from dlkit.recipe.check import check_value, closest, quoted
from dlkit.recipe.find import locate
from dlkit.recipe.merge import COMMAND_LINE, Merge, override, read_chain
from dlkit.text_input import opened_by_shell, special


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
        if TASKS[self.values["task"]].inputs == "text" and self.values["model"].get("weights"):
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
        return yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)  # pyright: ignore[reportUnknownMemberType]


# Keys of `data` that say how an example becomes the input of a model, whatever it is read from.
_INPUTS = (
    *("label", "columns", "text", "pair", "size", "channels", "crop", "resize"),
    *("context", "stride", "mask", "whole_words", "batch_size"),
)


@dataclass(frozen=True)
class WrittenRecipe:
    """A recipe as it was written, with what it extends: read once, since standard input and pipes give it once."""

    name: str
    path: Path
    written: Merge

    def load(self, overrides: Sequence[str] = (), same_inputs: bool = False) -> Recipe:
        """Override, check and complete it; see `load` and `load_run`."""
        merge = copy.deepcopy(self.written)
        readable = not merge.problems
        before: Any = merge.values.get("data")
        before = dict(before) if same_inputs and is_mapping(before) else {}
        # a new `name` drops the keys of the old component, so it goes first
        named = [text for text in overrides if text.partition("=")[0].endswith(".name")]
        for text in named:
            override(text, merge)
        now = merge.values.get("data")
        if is_mapping(now) and now.get("name") != before.get("name"):
            taken = (_section_schema("data", now) or {}).get("properties", {})
            now.update({key: before[key] for key in _INPUTS if key in before and key in taken and key not in now})
        for text in overrides:
            if text not in named:
                override(text, merge)
        merge.displace(lambda key: merge.places.get(("train", key)) == COMMAND_LINE)
        if readable or merge.values:
            _check(merge)
        if merge.problems:
            raise RecipeError(merge.problems)
        return Recipe(self.name, self.path, _complete(merge))


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a recipe."""
    return json.loads(Path(__file__).with_name("schema.json").read_bytes())


def read_recipe(source: str) -> WrittenRecipe:
    """Read a recipe, to be loaded with one set of overrides or several.

    Args:
        source: a path, a run directory, the name of a shipped recipe, or `-` for standard input.

    Raises:
        RequestError: there is no such recipe.
        DlkitError: the file cannot be read.
    """
    path = Path("-") if source == "-" else locate(source)
    written = Merge()
    read_chain(path, str(path), (), written)
    name = path.parent.name if path.name == "recipe.yaml" else path.stem
    return WrittenRecipe("stdin" if source == "-" or opened_by_shell(path) else name, path, written)


def load(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load, merge, override, check and complete a recipe.

    Args:
        source: as `read_recipe` takes it.
        overrides: `dotted.key=VALUE` with a YAML value, or `~dotted.key` to remove one.

    Raises:
        RecipeError: with every problem found, as `file.yaml:LINE: dotted.key: message`.
        RequestError: there is no such recipe.
        DlkitError: the file cannot be read.
    """
    return read_recipe(source).load(overrides)


def load_run(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load the recipe of a run, perhaps with other data, from which its model gets its inputs in the same way.

    Where `data.name` changes, the names of the columns, the sizes of images and the like stay as the run has them.
    Arguments and errors as in `load`.
    """
    return read_recipe(source).load(overrides, same_inputs=True)


def _section_schema(section: str, values: dict[str, Any]) -> dict[str, Any] | None:
    key = "train" if section == "train" else f"{section}.{values.get('name')}"
    return schema()["$defs"].get(key)


def _check(merge: Merge) -> None:
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
            check_value(value, properties[key], (key,), merge.report)
        elif not is_mapping(value):
            known = properties[key].get("properties", {}).get("name", {}).get("enum", ())
            hint = f": write {key}: {{name: {value}}}" if value in known else ""
            merge.report((key,), f"expected a mapping, got {quoted(value)}{hint}")
        else:
            _check_section(key, dict(value), properties[key], merge)
    _check_task(merge)
    train = merge.values.get("train", {})
    if is_mapping(train):
        lengths = [key for key in ("epochs", "steps") if train.get(key) is not None]
        if len(lengths) != 1:
            found = "both are set" if lengths else "neither is set"
            merge.report(("train", *lengths[:1]), f"set either train.epochs or train.steps: {found}")


def _check_task(merge: Merge) -> None:
    """The data and the model must be made for the task."""
    task = merge.values.get("task")
    if not isinstance(task, str):  # which has been reported
        return
    if "tokenizer" in merge.values and task in TASKS and TASKS[task].inputs != "text":
        merge.report(("tokenizer",), f"{task} has no text to cut into tokens")
    for section in ("data", "model", "loss"):
        values = merge.values.get(section)
        name = values.get("name") if is_mapping(values) else None
        entry = SECTIONS[section].get(name) if isinstance(name, str) else None
        if task in TASKS and entry is not None and entry.tasks and task not in entry.tasks:
            fitting = [key for key, other in SECTIONS[section].items() if not other.tasks or task in other.tasks]
            merge.report((section, "name"), f"{name} is not for {task}; these are: {', '.join(fitting)}")


def _check_section(section: str, values: dict[str, Any], choice: dict[str, Any], merge: Merge) -> None:
    if section != "train" and "name" not in values:
        default = choice.get("default", {}).get("name")
        if default is None:
            merge.report((section, "name"), "missing: " + ", ".join(choice["properties"]["name"]["enum"]))
            return
        values = {"name": default, **values}
    section_schema = _section_schema(section, values)
    if section_schema is None:
        check_value(values["name"], choice["properties"]["name"], (section, "name"), merge.report)
    else:
        check_value(values, section_schema, (section,), merge.report)


def _complete(merge: Merge) -> dict[str, Any]:
    """The checked values with every default, in the schema's order, and absolute paths."""
    complete: dict[str, Any] = {}
    for key, described in schema()["properties"].items():
        if key == "extends" or (key == "tokenizer" and TASKS[merge.values["task"]].inputs != "text"):
            continue
        value = merge.values.get(key, described.get("default"))
        if is_mapping(value):
            given: dict[str, Any] = {**described.get("default", {}), **value}
            properties = (_section_schema(key, given) or {})["properties"]
            value = {name: given.get(name, copy.deepcopy(item.get("default"))) for name, item in properties.items()}
            value["name"] = given.get("name")
            for name in [name for name, item in properties.items() if _is_path(item) and value[name] is not None]:
                folder = merge.folders.get((key, name), Path.cwd())
                value[name] = _text_path((folder / Path(value[name]).expanduser()).absolute(), f"{key}.{name}")
            if key == "train":
                del value["name"]
        complete[key] = _plain(value)
    return complete


def _text_path(path: Path, key: str) -> str:
    """A path as a recipe can hold it. Raises RequestError where it is no text."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{key}: {path} is not UTF-8, as a recipe is", "rename the folder or the file") from error
    return str(path)


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
