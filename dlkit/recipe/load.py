"""From a file, a shipped name or standard input to a checked `Recipe`."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit import contracts, user_code
from dlkit.annotations import is_list, is_mapping
from dlkit.catalog import SECTIONS, TASKS
from dlkit.errors import RecipeError, RequestError
from dlkit.hub_reference import located
from dlkit.recipe.check import check_value, closest, quoted
from dlkit.recipe.checked_recipe import Recipe, own_references
from dlkit.recipe.find import locate
from dlkit.recipe.merge import COMMAND_LINE, Merge, override, read_chain
from dlkit.recipe.own_component import own_schema, require_kind
from dlkit.recipe.strict_yaml import dotted
from dlkit.storage.run_reference import RECIPE
from dlkit.text_input import opened_by_shell

# Keys of `data` that say how an example becomes the input of a model, whatever it is read from.
_INPUTS = (
    *("label", "columns", "categorical", "category_encoding", "missing", "unknown"),
    *("image", "text", "pair", "size", "channels", "crop", "resize", "interpolation"),
    *("context", "stride", "mask", "whole_words", "batch_size"),
)


@dataclass(frozen=True)
class WrittenRecipe:
    """A recipe as it was written, with what it extends: read once, since standard input and pipes give it once."""

    name: str
    path: Path
    written: Merge

    def load(self, overrides: Sequence[str] = (), same_inputs: bool = False, unchecked_code: bool = False) -> Recipe:
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
            taken = (_section_schema("data", now, merge) or {}).get("properties", {})
            now.update({key: before[key] for key in _INPUTS if key in before and key in taken and key not in now})
        for text in overrides:
            if text not in named:
                override(text, merge)
        merge.displace(lambda key: merge.places.get(("train", key)) == COMMAND_LINE)
        merge.runs_code = user_code.is_trusted() and not unchecked_code
        _find_code(merge)
        if readable or merge.values:
            _check(merge)
        if merge.problems:
            raise RecipeError(merge.problems)
        if not merge.runs_code and not unchecked_code:
            for place, name in own_references(merge.values):
                raise user_code.refusal(name, f"{dotted(place)}: ")
        return Recipe(self.name, self.path, _complete(merge))


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a recipe."""
    return json.loads(Path(__file__).with_name("schema.json").read_bytes())


def definition(section: str, name: object, task: object) -> dict[str, Any] | None:
    """What the schema says of a section that names a component, in a recipe for a task; None of an unknown name."""
    key = "train" if section == "train" else f"{section}.{name}"
    definitions: dict[str, Any] = schema()["$defs"]
    return definitions.get(f"{key}.{task}", definitions.get(key))


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
    name = path.parent.name if path.name == RECIPE else path.stem
    return WrittenRecipe("stdin" if source == "-" or opened_by_shell(path) else name, path, written)


def load(source: str, overrides: Sequence[str] = (), *, unchecked_code: bool = False) -> Recipe:
    """Load, merge, override, check and complete a recipe.

    Args:
        source: as `read_recipe` takes it.
        overrides: `dotted.key=VALUE` with a YAML value, or `~dotted.key` to remove one.
        unchecked_code: take components of the user's own as they are named: nothing of them runs, so their keys are not
            checked. Else they are refused where they are not trusted.

    Raises:
        RecipeError: with every problem found, as `file.yaml:LINE: dotted.key: message`.
        RequestError: there is no such recipe.
        DlkitError: the file cannot be read.
    """
    return read_recipe(source).load(overrides, unchecked_code=unchecked_code)


def load_run(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load the recipe of a run, perhaps with other data, from which its model gets its inputs in the same way.

    Where `data.name` changes, the names of the columns, the sizes of images and the like stay as the run has them.
    Arguments and errors as in `load`.
    """
    return read_recipe(source).load(overrides, same_inputs=True)


def _section_schema(section: str, values: dict[str, Any], merge: Merge) -> dict[str, Any] | None:
    """The schema of a section; None where the catalog does not know its name."""
    name = values.get("name")
    if section in contracts.SECTIONS and user_code.is_reference(name):
        if merge.runs_code:
            return own_schema(section, str(name), str(merge.values.get("task")))
        return {"type": "object", "properties": {key: {} for key in values}}
    return definition(section, values.get("name"), merge.values.get("task"))


def _find_code(merge: Merge) -> None:
    """Make the paths of the user's own code absolute, and check what is not a section: an activation."""
    for (section, key), name in own_references(merge.values):
        path, attribute = user_code.split_reference(name)
        folder = merge.folders.get((section, key), Path.cwd())
        reference = f"{(folder / path.expanduser()).absolute()}:{attribute}"
        merge.values[section][key] = reference
        if key == "activation" and merge.runs_code:
            require_kind("activation", reference)


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
            known = list(SECTIONS.get(key, ()))
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
            merge.report((section, "name"), "missing: " + ", ".join(SECTIONS[section]))
            return
        values = {"name": default, **values}
    section_schema = _section_schema(section, values, merge)
    if section_schema is None:
        check_value(values["name"], choice["properties"]["name"], (section, "name"), merge.report)
        return
    for key in [key for key in values if key not in section_schema["properties"]]:
        others = _which_take(section, key, merge.values.get("task"))
        if others:
            does = f"{others[0]} does" if len(others) == 1 else f"{', '.join(others[:4])} do"
            more = f" (and {len(others) - 4} more)" if len(others) > 4 else ""
            merge.report(
                (section, key), f"{values['name']} takes no {key}; {does}{more}: add {section}.name={others[0]}"
            )
            del values[key]
    check_value(values, section_schema, (section,), merge.report)


def _which_take(section: str, key: str, task: object) -> list[str]:
    """The components for a task, in the catalog's order, that have such a key."""
    fitting = [name for name, entry in SECTIONS.get(section, {}).items() if not entry.tasks or task in entry.tasks]
    return [name for name in fitting if key in (definition(section, name, task) or {}).get("properties", {})]


def _complete(merge: Merge) -> dict[str, Any]:
    """The checked values with every default, in the schema's order, and absolute paths."""
    complete: dict[str, Any] = {}
    for key, described in schema()["properties"].items():
        if key == "extends" or (key == "tokenizer" and TASKS[merge.values["task"]].inputs != "text"):
            continue
        value = merge.values.get(key, described.get("default"))
        if is_mapping(value):
            given: dict[str, Any] = {**described.get("default", {}), **value}
            properties = (_section_schema(key, given, merge) or {})["properties"]
            value = {name: given.get(name, copy.deepcopy(item.get("default"))) for name, item in properties.items()}
            value["name"] = given.get("name")
            for name in [name for name in properties if value[name] is not None]:
                folder = merge.folders.get((key, name), Path.cwd())
                if _is_path(properties[name]):
                    value[name] = _text_path((folder / Path(value[name]).expanduser()).absolute(), f"{key}.{name}")
                elif properties[name].get("format") == "hub-path":
                    value[name] = _text_path(Path(located(value[name], folder)), f"{key}.{name}")
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
