"""A directory that `dlkit export` wrote, as `dlkit import` reads it back. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit.errors import DlkitError, RequestError, error_line
from dlkit.export.formats import DESCRIPTION, STATE_DICT
from dlkit.strict_json import json_text
from dlkit.text_input import read_json_mapping

_GRAPHS = ("onnx", "torch-export")


@dataclass(frozen=True)
class ExportedDirectory:
    """What model.json says.

    Args:
        weights: the file, or the directory, that holds them.
        vision: whether the model is a network for images.
        model: name of its architecture.
        classes: of its outputs.
        preprocessing: how it sees its inputs, as keys of `data`, and `mean` and `std` of channels in 0..1.
        changes: of the recipe of a network for images: its architecture, and the views that it averages over.
        whole: whether images are seen as in memory, the centre square, and not as those of a stream.
    """

    weights: Path
    vision: bool
    model: str
    classes: tuple[str, ...]
    preprocessing: dict[str, Any]
    changes: tuple[str, ...] = ()
    whole: bool = False


def read_exported(path: Path) -> ExportedDirectory | None:
    """What an export says of itself; None of a directory from elsewhere, and of a file.

    Raises:
        RequestError: it is a graph.
        DlkitError: it is damaged.
    """
    file = path / DESCRIPTION
    if not file.is_file():
        return None
    described = read_json_mapping(file, "export it again")
    if "dlkit" not in described:
        return None
    if described.get("format") in _GRAPHS:
        raise RequestError(
            f"{path} holds a graph for {described['format']}, which no recipe describes",
            "import what dlkit export wrote with `format` hf or torchvision",
        )
    try:
        return _understood(path, described)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error_line(error)}"
        raise DlkitError(f"{file} is not as dlkit export writes it: {reason}", "export it again") from error


def _understood(path: Path, described: dict[str, Any]) -> ExportedDirectory:
    seen, classes = described["preprocessing"], tuple(map(str, described["classes"]))
    if seen["kind"] != "image":
        return ExportedDirectory(path, False, str(described["model"]), classes, dict(described["data"]))
    found: dict[str, Any] = {key: [value / 255 for value in seen[key]] for key in ("mean", "std")}
    found["size"] = seen["size"][0]
    if "shorter_side" in seen:
        found["resize"] = seen["shorter_side"]
    architecture = [f"model.{key}={json_text(value)}" for key, value in described["architecture"].items()]
    return ExportedDirectory(
        path / STATE_DICT if described["format"] == "torchvision" else path,
        True,
        str(described["model"]),
        classes,
        found,
        (*architecture, f"train.test_views={seen['views']}"),
        seen["view"] == "centre square",
    )
