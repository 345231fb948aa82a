"""A graph for torch alone: it takes the inputs by name.

graph = torch.export.load("model.pt2").module()
logits = graph(pixels=pixels)
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from dlkit.export.description import describe
from dlkit.export.exportable import Exportable
from dlkit.export.formats import PROGRAM
from dlkit.export.side_files import side_files
from dlkit.export.tracing import other_shape, require_same_answers, said_by_nobody, trace


def write_program(exportable: Exportable, folder: Path) -> dict[str, Any]:
    """Write model.pt2, with what goes beside it also inside as extra files; returns fields of the command's record.

    Raises:
        DlkitError: torch cannot express the model, or the graph answers otherwise.
    """
    program = trace(exportable)
    texts = side_files(exportable, describe(exportable, "torch-export", in_graph=True))
    content = io.BytesIO()  # on a full disk, torch's own writer would end the process
    with said_by_nobody():
        torch.export.save(program, content, extra_files=texts)
        (folder / PROGRAM).write_bytes(content.getbuffer())
        read = torch.export.load(folder / PROGRAM)
    inputs = other_shape(exportable)
    with torch.no_grad():
        difference = require_same_answers(exportable, inputs, read.module()(**inputs))
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {"inputs": list(exportable.examples), "difference": difference}
