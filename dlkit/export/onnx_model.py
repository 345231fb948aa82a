"""A graph for ONNX Runtime: https://onnx.ai, by torch's own exporter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from dlkit.export.description import describe
from dlkit.export.exportable import Exportable
from dlkit.export.formats import ONNX
from dlkit.export.side_files import side_files
from dlkit.export.tracing import other_shape, require_same_answers, said_by_nobody, trace, untraceable
from dlkit.strict_json import json_text


def write_onnx(exportable: Exportable, folder: Path) -> dict[str, Any]:
    """Write model.onnx, whose metadata repeat model.json; returns fields of the command's record.

    From 2 GB on, weights lie in model.onnx.data, as the format demands.

    Raises:
        DlkitError: ONNX cannot express the model, or ONNX Runtime answers otherwise.
    """
    description = describe(exportable, "onnx", in_graph=True)
    graph = trace(exportable)
    with said_by_nobody():
        try:
            program: Any = torch.onnx.export(
                graph, dynamo=True, verbose=False, output_names=[exportable.output], dynamic_shapes=exportable.axes
            )
        except Exception as error:
            raise untraceable(exportable, error) from error
        for name, value in description.items():
            program.model.metadata_props[name] = value if isinstance(value, str) else json_text(value)
        for node in program.model.graph:
            node.metadata_props.clear()  # how the exporter came to it
        program.save(folder / ONNX)
    for name, text in side_files(exportable, description).items():
        (folder / name).write_text(text, encoding="utf-8")
    inputs = other_shape(exportable)
    difference = require_same_answers(exportable, inputs, _answers(folder / ONNX, inputs))
    return {"inputs": list(inputs), "difference": difference}


def _answers(path: Path, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it leaves `.ses` in TMPDIR, and sends reports
    import onnxruntime

    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, quiet, providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return torch.from_numpy(answers)
