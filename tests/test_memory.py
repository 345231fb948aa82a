"""What fits into memory is known before it is asked for, and what does not is said in a line."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dlkit import memory, recipe
from dlkit.cli.app import run
from dlkit.errors import DlkitError
from dlkit.nn.mlp import MLP
from dlkit.training import model_size

LIMITED = """
import resource, sys
from pathlib import Path
from dlkit import memory
limit = 1 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
used = int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0]) * 1024
print(memory.free_memory() - (limit - used))
"""


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux says what is free in /proc")
def test_free_memory_is_what_the_limits_leave() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    assert abs(int(done.stdout)) < 16 << 20
    free = memory.free_memory()
    physical = resource.getpagesize() * int(subprocess.check_output(["getconf", "_PHYS_PAGES"]))
    assert free is not None
    assert 0 < free <= physical


def numpy_array() -> Any:
    return np.empty(2**60, dtype=np.uint8)


def torch_tensor() -> Any:
    return torch.empty(2**58, dtype=torch.uint8)


def overflow() -> Any:
    return torch.empty(2**40, 2**40)


def system_call() -> Any:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


@pytest.mark.parametrize("allocate", [numpy_array, torch_tensor, overflow, system_call])
def test_errors_of_every_allocator_are_out_of_memory(allocate: Any) -> None:
    with pytest.raises(Exception) as caught:
        allocate()
    assert memory.is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error", [ValueError("no such memory"), RuntimeError("shapes differ"), OSError(errno.ENOENT, "")]
)
def test_other_errors_are_not(error: Exception) -> None:
    assert not memory.is_out_of_memory(error)


def test_a_model_is_measured_without_being_made() -> None:
    made: list[nn.Module] = []

    def build() -> nn.Module:
        made.append(MLP(7, 3, hidden=(5,), norm="batch", activation="gelu"))
        return made[0]

    state = torch.random.get_rng_state()
    model_size.require_room_for_model(build)
    assert all(tensor.is_meta for tensor in made[0].state_dict().values())
    assert torch.equal(torch.random.get_rng_state(), state)
    # 8 bytes for a weight and its gradient: (64 + 1 + 10) n + 10 parameters
    with pytest.raises(DlkitError, match=r"needs about 600 TB of memory, .* are free"):
        model_size.require_room_for_model(lambda: MLP(64, 10, hidden=(10**12,)))


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ("digits-mlp model.hidden=[1000000000]", 1, "the model needs about 600 GB of memory"),
        ("digits-mlp model.hidden=[2000000000,2000000000]", 1, "the model"),
        ("digits-resnet20 model.kernel_size=1023", 2, "model.kernel_size: must be <= 127, got 1023"),
        ("digits-mlp optimizer.lr=1e38 optimizer.bias_factor=1e38", 2, "option lr must be <= 1e+38 with its factors"),
        ("pydoc-gpt model.layers=2147483648", 2, "model.layers: must be <= 10,000, got 2147483648"),
        ("pydoc-gpt tokenizer.name=byte model.width=1200000000", 1, "the model is larger than any memory"),
        ("digits-mlp data.batch_size=2147483648", 2, "data.batch_size: must be <= 2,147,483,647, got 2147483648"),
        ("digits-mlp train.accumulate=9223372036854775808", 2, "train.accumulate: must be <= 2,147,483,647"),
        ("digits-mlp optimizer.lr=1e308", 2, "optimizer.lr: must be <= 1e+38, got 1e+308"),
        ("digits-mlp schedule.warmup=100000", 2, "a warm-up of 100000 does not fit into"),
        ("digits-mlp train.channels_last=on", 2, "train.channels_last is on, and the model has no convolutions"),
        ("digits-resnet20 data.shift=9", 2, "data.shift is 9, the images are 8x8"),
        ("digits-mlp task=[1]", 2, "task: expected one of"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_run_folder_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], changes: str, code: int, message: str
) -> None:
    path = tmp_path / "new"
    assert run(["train", *changes.split(), "--run-dir", str(path)]) == code
    captured = capfd.readouterr()
    assert message in captured.err
    assert captured.err.count("error: ") == 1
    assert "internal error" not in captured.err
    assert captured.out == ""
    assert not path.exists()


def test_a_batch_is_measured_by_one_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device="cpu": 100 << 20)
    # 1,437 images, each of which keeps 19 activations of 16 x 8 x 8 numbers of 4 bytes and more
    line = [
        "train",
        "digits-resnet20",
        "data.batch_size=full",
        "train.precision=fp32",
        "--run-dir",
        str(tmp_path / "new"),
    ]
    assert run(line) == 1
    assert "a step on 1,437 examples needs about" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()


def test_every_number_of_a_recipe_has_an_upper_bound() -> None:
    def numbers(schema: Any) -> Any:
        if isinstance(schema, dict):
            if schema.get("type") in ("integer", "number"):
                yield schema
            for inner in schema.values():
                yield from numbers(inner)
        elif isinstance(schema, list):
            for inner in schema:
                yield from numbers(inner)

    found = list(numbers(recipe.schema()))
    assert len(found) > 300
    unbounded = [schema for schema in found if not {"maximum", "exclusiveMaximum"} & schema.keys()]
    assert not unbounded, json.dumps(unbounded[:3])


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("0::/box/inner", {"box/memory.max": "5000", "box/memory.current": "4000",
                           "box/memory.stat": "inactive_file 30",
                           "box/inner/memory.max": "max", "box/inner/memory.current": "1"}),
        ("4:cpu,memory:/box", {"memory/box/memory.limit_in_bytes": "5000", "memory/box/memory.usage_in_bytes": "4000",
                               "memory/box/memory.stat": "inactive_file 7\ntotal_inactive_file 30"}),
    ],
    ids=["version 2", "version 1"],
)  # fmt: skip
def test_limit_of_a_control_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, files: dict[str, str]
) -> None:
    """As the kernel's documentation of both versions lays their files out: limit - usage + what can be reclaimed."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    read = memory._lines
    own = Path("/proc/self/cgroup")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_lines", lambda path: ["9:cpuset:/else", line] if path == own else read(path))
    assert memory.free_memory() == 5000 - 4000 + 30


def test_a_message_that_finds_no_room_is_replaced(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("dlkit.cli.console.report", full)
    assert run(["eval", "absent"]) == 1
    os.fsync(sys.stdout.fileno())  # the stand-in of these tests, which is still what it was
    error, hint = capfd.readouterr().err.splitlines()
    assert error == "error: out of memory"
    assert hint.startswith("hint: ")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
def test_a_library_that_does_not_fit_ends_in_one_line(tmp_path: Path) -> None:
    """From too little for any library to enough: in between, C and C++ end a process without an exception."""
    codes: list[int] = []
    for megabytes in (300, *range(1000, 4000, 250), 3000, 3100, 8000):
        limit = megabytes << 20
        line = [sys.executable, "-m", "dlkit", "train", "digits-mlp", "train.steps=1", "--run-dir", str(megabytes)]
        limited: Any = lambda limit=limit: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))  # noqa: E731
        done = subprocess.run(line, capture_output=True, text=True, preexec_fn=limited, cwd=tmp_path)
        codes.append(done.returncode)
        if done.returncode:
            assert (done.returncode, done.stdout) == (1, ""), (megabytes, done.stderr)
            last = [text for text in done.stderr.splitlines() if not text.startswith("digits-mlp")]
            assert [text.partition(":")[0] for text in last] == ["error", "hint"], (megabytes, done.stderr)
    assert (codes[0], codes[-1]) == (1, 0)
