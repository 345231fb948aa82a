"""Checkpoints: whole or absent, and every byte is guarded."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from dlkit.errors import DlkitError
from dlkit.storage.run_files import prune_checkpoints, steps_in
from dlkit.training import checkpoint
from dlkit.training.checkpoint import Checkpoint


def sample(step: int = 12) -> Checkpoint:
    tensors = {"model": {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(3)}, "optimizer": {"m": torch.ones(2)}}
    return Checkpoint(step, tensors, {"best": 0.1 + 0.2, "list": [1, None, "é"]})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = checkpoint.save_checkpoint(tmp_path, sample())
    assert path == tmp_path / "step-00000012"
    loaded = checkpoint.load_checkpoint(path)
    assert (loaded.step, loaded.state) == (12, sample().state)
    for file, tensors in sample().tensors.items():
        for name, value in tensors.items():
            assert torch.equal(loaded.tensors[file][name], value)
            assert loaded.tensors[file][name].dtype == value.dtype


def test_channels_last_tensors_keep_their_values(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    path = checkpoint.save_checkpoint(tmp_path, Checkpoint(1, {"model": {"w": weight}}, {}))
    assert torch.equal(checkpoint.load_checkpoint(path).tensors["model"]["w"], weight)


def test_any_flipped_byte_is_detected_and_its_file_named(tmp_path: Path) -> None:
    path = checkpoint.save_checkpoint(tmp_path, sample())
    for file in sorted(path.iterdir()):
        original = file.read_bytes()
        for position in range(len(original)):
            damaged = bytearray(original)
            damaged[position] ^= 1 << (position % 8)
            file.write_bytes(damaged)
            with pytest.raises(DlkitError, match=file.name):
                checkpoint.load_checkpoint(path)
        file.write_bytes(original)
    checkpoint.load_checkpoint(path)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_missing_or_cut_file_is_named(tmp_path: Path, name: str) -> None:
    path = checkpoint.save_checkpoint(tmp_path, sample())
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[:-1])
    with pytest.raises(DlkitError, match=name):
        checkpoint.load_checkpoint(path)
    (path / name).unlink()
    with pytest.raises(DlkitError, match=name):
        checkpoint.load_checkpoint(path)


def test_a_damaged_checkpoint_hints_at_the_older_one(tmp_path: Path) -> None:
    checkpoint.save_checkpoint(tmp_path, sample(3))
    path = checkpoint.save_checkpoint(tmp_path, sample(7))
    (path / "state.json").write_text("{}")
    with pytest.raises(DlkitError) as caught:
        checkpoint.load_checkpoint(path)
    assert caught.value.hint == f"step 3 is whole; to go back to it: rm -r {path}"


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_hints_at_none_that_is_damaged_too(tmp_path: Path, name: str) -> None:
    first, second, third = (checkpoint.save_checkpoint(tmp_path, sample(step)) for step in (3, 5, 7))
    for path in (second, third):
        data = bytearray((path / name).read_bytes())
        data[len(data) // 2] ^= 1
        (path / name).write_bytes(data)
    hints: list[str | None] = []
    for others in ([], [first]):
        for path in others:
            (path / name).unlink()
        with pytest.raises(DlkitError) as caught:
            checkpoint.load_checkpoint(third)
        hints.append(caught.value.hint)
    assert hints == [f"step 3 is whole; to go back to it: rm -r {third}", "no other checkpoint here is whole"]


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_failing_disk_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    checkpoint.save_checkpoint(tmp_path, sample(3))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "rename")), fail)
    with pytest.raises(DlkitError, match="no space left on the disk; the checkpoint of step 3 is intact"):
        checkpoint.save_checkpoint(tmp_path, sample(7))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
    assert checkpoint.load_checkpoint(tmp_path / "step-00000003").step == 3


def test_pruning_keeps_what_is_pointed_to(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoint.save_checkpoint(tmp_path, sample(step))
    (tmp_path / ".step-00000009.1.tmp").mkdir()
    checkpoint.set_pointer(tmp_path, "last", 4)
    checkpoint.set_pointer(tmp_path, "best", 2)
    checkpoint.set_pointer(tmp_path, "best", 3)
    prune_checkpoints(tmp_path, {3, 4})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last", "step-00000003", "step-00000004"]
    assert checkpoint.load_checkpoint(tmp_path / "best").step == 3
    assert steps_in(tmp_path) == [3, 4]
