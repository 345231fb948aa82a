"""What `dlkit import` is asked for, and the recipe of the run that it makes. Free of torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlkit import recipe as recipes
from dlkit.app.exported_directory import read_exported
from dlkit.catalog import MODELS
from dlkit.data import store
from dlkit.data.hub.place import downloaded
from dlkit.errors import DlkitError, RequestError, shell_word
from dlkit.export.formats import CONFIG, STATE_DICT, WEIGHTS
from dlkit.hub_reference import PREFIX as HUB
from dlkit.hub_reference import hub_reference
from dlkit.pretrained.timm_config import is_timm, timm_settings
from dlkit.recipe import Recipe
from dlkit.storage.run_files import CHECKPOINTS
from dlkit.storage.run_reference import RECIPE
from dlkit.strict_json import json_text, parse_json
from dlkit.text_input import ordinary_file, read_json_mapping
from dlkit.training.settings import DECIDED

_LOADER = "dlkit.pretrained.vision:load_pretrained"
_PLACEHOLDER = "data-to-evaluate-on"


@dataclass(frozen=True)
class ImportRequest:
    """Weights that are there, and what the user says of them.

    Args:
        path: a file of weights, or a directory.
        model: name of the architecture; None for what the directory says.
        changes: of the recipe that the run gets.
        classes: what the outputs stand for, in their order; None for what the weights say.
        mean: by which each channel is normalised, in 0..1; None for ImageNet's.
        std: of each channel, likewise.
        known: what a directory says of its model and inputs, as keys of the recipe.
        remarks: for the user: what the directory says and does not hold here.
        whole: whether images are seen as in memory, the centre square, and not as those of a stream.
    """

    path: Path
    model: str | None
    changes: tuple[str, ...]
    classes: tuple[str, ...] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    known: dict[str, Any] = field(default_factory=dict[str, Any])
    remarks: tuple[str, ...] = ()
    whole: bool = False


def request_import(
    source: str | os.PathLike[str],
    changes: Sequence[str] = (),
    model: str | None = None,
    classes: str | os.PathLike[str] | Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> ImportRequest:
    """Check what can be checked without torch; arguments as in `dlkit.import_model`."""
    path = _described(_place_of(os.fspath(source)), model)
    _require_no_run(path)
    config = _config_of(path)
    own = read_exported(path)
    timm = timm_settings(config, path / "config.json") if own is None and is_timm(config) else None
    if own is not None and own.model is not None:
        model = model or own.model
    elif timm is not None:
        model = model or timm.model
    elif config and model is not None:
        raise RequestError(f"`model` {model}: {path / 'config.json'} says what the model is", "leave `model` out")
    elif not config and model is None:
        raise RequestError(
            f"{path} does not say which model it is of", f"say it: `model` {', '.join(_vision()[:6])}, ..."
        )
    if model is not None and model not in _vision():
        raise RequestError(
            f"no such model: {model}{recipes.closest(model, _vision())}", f"one of {', '.join(_vision())}"
        )
    if (mean is None) != (std is None):
        raise RequestError("`mean` and `std` go together", "give both, or none for ImageNet's")
    names = None if classes is None else _class_names(classes)
    known, remarks, whole = {}, (), False
    if timm is not None:
        mean, std = (mean, std) if mean is not None else (timm.mean, timm.std)
        names = _distinct(list(timm.classes), "label_names") if names is None and timm.classes else names
        known, remarks = timm.changes, timm.remarks
    if own is not None:
        path, known, whole = own.weights, own.known, own.whole
    if own is not None and own.model is not None:
        mean, std = (mean, std) if mean is not None else (own.mean, own.std)
        names = names or _distinct(list(own.classes), "classes")
    centre, spread = (None if values is None else tuple(values) for values in (mean, std))
    return ImportRequest(path, model, tuple(changes), names, centre, spread, known, remarks, whole)


def _place_of(source: str) -> Path:
    """The file or directory, or what was downloaded of a model of the Hub. Raises DlkitError if it is not here."""
    path = Path(source.removeprefix(HUB)).expanduser()
    if path.exists():
        return path
    named = hub_reference(source) if source.startswith(HUB) else None
    if named is None:
        raise DlkitError(f"no such file or directory: {path}", "dlkit import reads files and directories that are here")
    found = downloaded(named.of("models"))
    if found is None:
        command = f"dlkit download {shell_word(named.of('models'))}{store.data_dir_option()}"
        what = f"the model {named.name} is not here: no such directory, and nothing downloaded"
        raise DlkitError(what, f"fetch it first: {command}")
    return found.folder


def _require_no_run(path: Path) -> None:
    """Raise RequestError for a run or a checkpoint in one: a copy of it would lack what its recipe says of the data."""
    places = [path.resolve(), *path.resolve().parents]
    for run in places:
        inside = run / CHECKPOINTS in places
        if (run == places[0] or inside) and (run / RECIPE).is_file() and (run / CHECKPOINTS).is_dir():
            shown = shell_word(run)
            raise RequestError(
                f"{path} is of a run: {run}" if inside else f"{path} is a run already: every command takes it",
                f"dlkit predict {shown} INPUT..., dlkit eval {shown} data.path=NEW",
            )


def vision_recipe(request: ImportRequest, side: int | None = None) -> Recipe:
    """The recipe of a run of images: those of ImageNet, as a stream of files of any size.

    Args:
        request: for a network for images.
        side: of the images that it was trained on, where a checkpoint says so.
    """
    small = f"size={side or (32 if str(request.model) in _SMALL else 224)}"
    resized = any(change.startswith("data.size=") for change in request.changes)  # then data.crop decides
    known = [f"{key}={json_text(v)}" for key, v in request.known.items() if not (resized and key == "data.resize")]
    data = [f"data.path={Path.cwd() / _PLACEHOLDER}"]
    if not request.whole:
        data += [f"data.{small}", *(["data.crop=1.0"] if small == "size=32" else [])]
    name = [f"model.name={request.model}"]
    base = "images-resnet20" if request.whole else "imagenet-resnet50"
    recipe = recipes.load(base, [*name, *data, *known, *request.changes])
    return named_recipe(recipe, str(request.model))


def text_recipe(base: str, name: str, request: ImportRequest, *changes: str) -> Recipe:
    """The recipe of a run of texts, from a shipped one for the task."""
    return named_recipe(recipes.load(base, [*changes, *request.changes]), name)


def placeholder(suffix: str = "") -> str:
    """Where the data of an imported run is until the user says it: data.path=..."""
    return str(Path.cwd() / f"{_PLACEHOLDER}{suffix}")


def named_recipe(recipe: Recipe, name: str) -> Recipe:
    """The recipe under another name, with settings that a run without training has decided."""
    return Recipe(name, recipe.path, {**recipe.values, "train": {**recipe.values["train"], **DECIDED}})


# Networks for pictures of 32x32 pixels, which are taken whole.
_SMALL = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "plain20", "plain56", "fast_cnn", "cnn")


def _vision() -> list[str]:
    return [name for name, entry in MODELS.items() if _LOADER in entry.also]


def _config_of(path: Path) -> dict[str, Any]:
    """The content of config.json in a directory; empty where there is none."""
    file = path / CONFIG
    return read_json_mapping(file, "is the download whole?") if path.is_dir() and file.is_file() else {}


def _described(path: Path, model: str | None) -> Path:
    """The directory of a file of weights, where files beside it say what it holds and how its inputs are seen."""
    if not path.is_file() or path.name not in (STATE_DICT, WEIGHTS):
        return path
    folder = path.parent
    own = read_exported(folder)
    if own is not None and own.weights in (path, folder):
        return folder
    config = _config_of(folder) if path.name == WEIGHTS else {}
    return folder if is_timm(config) or (config and model is None) else path


def _class_names(classes: str | os.PathLike[str] | Sequence[str]) -> tuple[str, ...]:
    """Names from a file, one a line or as a JSON list, or as they are."""
    if not isinstance(classes, (str, os.PathLike)):
        return _distinct(list(classes), "the classes")
    file = Path(classes)
    try:
        text = ordinary_file(file).read_text(encoding="utf-8-sig")
        names = parse_json(text) if text.lstrip().startswith("[") else text.split("\n")
    except OSError as error:
        raise DlkitError(
            f"cannot read {file}: {error.strerror}", "`classes` takes a file with one name a line"
        ) from error
    except ValueError as error:
        raise DlkitError(f"{file} is neither UTF-8 text nor JSON: {error}", "give one name a line") from error
    return _distinct([str(name).strip() for name in names if str(name).strip()], str(file))


def _distinct(names: list[str], where: str) -> tuple[str, ...]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RequestError(f"{where}: the class {twice!r} appears twice", "each output needs a name of its own")
    if not names:
        raise RequestError(f"{where}: no names", "give one name a line, in the order of the outputs")
    return tuple(names)
