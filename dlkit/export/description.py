"""What travels with a model: what its inputs and outputs are, its classes and its preprocessing, as JSON."""

from __future__ import annotations

from typing import Any

import torch

from dlkit import __version__
from dlkit.export.exportable import Exportable


def describe(exportable: Exportable, format: str, *, in_graph: bool, **more: Any) -> dict[str, Any]:
    """The content of model.json, which the metadata of a file repeats.

    Args:
        exportable: the model.
        format: one of `FORMATS`.
        in_graph: whether normalisation is part of what was written.
        more: what the format has to say.
    """
    described: dict[str, Any] = {
        "dlkit": __version__,
        "format": format,
        "task": exportable.task,
        "model": exportable.name,
        "architecture": exportable.architecture,
        "classes": list(exportable.classes),
        "preprocessing": {**exportable.preprocessing, "normalisation_in_graph": in_graph},
        "data": exportable.data,
    }
    if in_graph:
        described["inputs"] = {
            name: {"dtype": _dtype(value), "shape": _shape(value.shape, exportable.axes[name])}
            for name, value in exportable.examples.items()
        }
        with torch.no_grad():
            answer = exportable.graph(**exportable.examples)
        shape = _shape(answer.shape, exportable.output_axes)
        described["outputs"] = {exportable.output: {"dtype": _dtype(answer), "shape": shape}}
    return {**described, **more}


def _dtype(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")


def _shape(shape: Any, axes: dict[int, Any]) -> list[int | str]:
    """The dimensions, those that vary by their names."""
    return [axes.get(axis, size) for axis, size in enumerate(shape)]
