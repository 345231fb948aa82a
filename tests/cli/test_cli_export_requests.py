"""dlkit export: wrong requests, what is missing, what is overwritten, and descriptions that are damaged."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

GRAPHS = "dlkit export RUN new --format onnx, or torch-export"


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        (["full"], 2, "full is there already", "export writes a new directory"),
        (["file"], 2, "file is there already, and is a file", "give a new directory"),
        (["new"], 2, "RUN is a model of mlp, of which Hugging Face's libraries have none", GRAPHS),
        (["new", "--format", "torchvision"], 2, "RUN is a model of mlp; torchvision has none", GRAPHS),
        (["new", "--checkpoint", "77"], 1, "RUN has no checkpoint '77'", "it has"),
    ],
)
def test_wrong_requests(
    here: Any,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    error: str,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    (tmp_path / "file").touch()
    result = here("export", str(trained), *arguments)
    assert (result.code, result.out) == (code, "")
    first, second = result.err.splitlines()
    assert first == f"error: {error.replace('RUN', str(trained))}"
    assert second.startswith(f"hint: {hint.replace('RUN', str(trained))}")
    assert not (tmp_path / "new").exists()


def test_packages_that_are_not_there_are_named(
    here: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlkit.export.formats.find_spec", lambda name: None if "onnx" in name else object())
    result = here("export", str(trained), str(tmp_path / "out"), "--format", "onnx")
    assert result.code == 2
    assert result.err == (
        "error: --format onnx needs onnx, onnxscript, onnxruntime, which are not installed\n"
        "hint: pip install onnx onnxscript onnxruntime\n"
    )


def test_only_an_earlier_export_is_overwritten(here: Any, trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    out = ["export", str(trained), str(tmp_path / "out"), "--format"]
    assert here(*out, "onnx", "-q").code == 0
    refused = here(*out, "torch-export")
    assert (refused.code, refused.err.splitlines()[1]) == (2, "hint: give a new directory, or use --overwrite")
    assert here(*out, "torch-export", "-q", "--overwrite").code == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["model.json", "model.pt2"]
    (tmp_path / "out" / "notes.txt").touch()
    assert "also holds notes.txt, which no export wrote" in here(*out, "onnx", "--overwrite").err
    refused = here("export", str(trained), str(trained), "--overwrite")
    assert (refused.code, refused.err.splitlines()[0]) == (2, f"error: {trained} is there already")


@pytest.mark.parametrize(
    "content",
    ["[", "{}", '{"dlkit": "1", "format": "torchvision"}', '{"dlkit": "1", "preprocessing": 3, "classes": []}'],
)
def test_a_damaged_description_is_one_line(here: Any, tmp_path: Path, content: str) -> None:
    (tmp_path / "model.json").write_text(content)
    result = here("import", str(tmp_path))
    assert result.code in (1, 2) and len(result.err.splitlines()) == 2, result.err
    assert "internal" not in result.err and "Traceback" not in result.err


def test_a_full_disk_is_an_error_that_leaves_nothing(here: Any, trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        result = here("export", str(trained), str(target), "--format", "torch-export")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"error: cannot write {target}: File too large\nhint: choose another directory\n"
    assert not target.exists()
