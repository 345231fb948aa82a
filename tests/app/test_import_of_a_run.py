"""What is a run already is not imported: its recipe says how its inputs are seen, and ImageNet's way is another."""

from __future__ import annotations

from pathlib import Path

import pytest

import dlkit
from dlkit.errors import RequestError


@pytest.mark.parametrize("part", ["", "checkpoints/step-00000001", "checkpoints/step-00000001/model.safetensors"])
def test_a_run_is_not_imported(tmp_path: Path, part: str) -> None:
    run = tmp_path / "run"
    checkpoint = run / "checkpoints/step-00000001"
    checkpoint.mkdir(parents=True)
    for file in (run / "recipe.yaml", checkpoint / "model.safetensors"):
        file.touch()
    with pytest.raises(RequestError, match=r"is a run already|is of a run") as caught:
        dlkit.import_model(run / part, model="resnet20", run_dir=tmp_path / "new")
    assert caught.value.hint == f"dlkit predict {run} INPUT..., dlkit eval {run} data.path=NEW"
    assert not (tmp_path / "new").exists()


def test_weights_beside_a_run_are_imported(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "recipe.yaml").touch()
    (tmp_path / "theirs.pth").write_bytes(b"")
    with pytest.raises(dlkit.DlkitError, match="is empty"):
        dlkit.import_model(tmp_path / "theirs.pth", model="resnet20", run_dir=tmp_path / "new")
