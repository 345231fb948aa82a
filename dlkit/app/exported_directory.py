"""A directory that `dlkit export` wrote, as `dlkit import` reads it back. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit.errors import DlkitError, RequestError, error_line
from dlkit.export.formats import DESCRIPTION, STATE_DICT
from dlkit.text_input import read_json_mapping

_GRAPHS = ("onnx", "torch-export")


@dataclass(frozen=True)
class ExportedDirectory:
    """What model.json says.

    Args:
        weights: the file, or the directory, that holds them.
        known: of its model and its inputs, as keys of a recipe.
        model: name of the architecture of a network for images; None of a language model, whose config.json says it.
        classes: of its outputs.
        mean: by which each channel is normalised, in 0..1; None of a language model.
        std: of each channel, likewise.
        whole: whether images are seen as in memory, the centre square, and not as those of a stream.
    """

    weights: Path
    known: dict[str, Any]
    model: str | None = None
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
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
    seen = described["preprocessing"]
    if seen["kind"] != "image":
        return ExportedDirectory(path, {f"data.{key}": value for key, value in described["data"].items()})
    known: dict[str, Any] = {f"model.{key}": value for key, value in described["architecture"].items()}
    known |= {"train.test_views": seen["views"], "data.size": seen["size"][0]}
    if "shorter_side" in seen:
        known |= {"data.resize": seen["shorter_side"], "data.interpolation": seen["interpolation"]}
    mean, std = (tuple(float(value) / 255 for value in seen[key]) for key in ("mean", "std"))
    return ExportedDirectory(
        path / STATE_DICT if described["format"] == "torchvision" else path,
        known,
        str(described["model"]),
        tuple(map(str, described["classes"])),
        mean,
        std,
        seen["view"] == "centre square",
    )
