"""ONNX Runtime, which checks an exported graph, must neither report what it sees nor leave files behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

CHECKED = """
import sys
from pathlib import Path
import onnx, torch
from dlkit.export.onnx_model import _answers
value = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])
graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "negated", [value("x")], [value("y")])
model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 18)])
onnx.save(model, sys.argv[1])
assert _answers(Path(sys.argv[1]), {"x": torch.ones(1)}).item() == -1
"""


@pytest.mark.slow
def test_nothing_is_left_among_temporary_files(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", CHECKED, str(tmp_path / "model.onnx")], env=environment, check=True)
    assert not (temporary / ".ses").exists()
