"""predict under torchrun: the processes share the inputs, and rank 0 prints what one process prints."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from dlkit.cli.app import run
from dlkit.doctor.samples import write_rows, write_texts

Calls = list[tuple[list[str], bytes | None]]  # arguments, and what comes through a pipe
Said = list[tuple[int, bytes, bytes]]  # exit code, stdout, stderr
_IMAGES = """task: image-classification
data: {{name: images, size: 12, batch_size: 3, path: {path}}}
model: {{name: resnet, depths: [1], widths: [8]}}
"""
_ROWS = """task: tabular-classification
data: {{name: csv, path: {path}, label: label, batch_size: 7}}
model: {{name: mlp, hidden: [8]}}
"""
_TEXTS = """task: text-classification
data: {{name: texts, path: {path}, text: text, label: label, batch_size: 2, context: 32}}
model: {{name: bert, layers: 1, width: 16, heads: 2}}
tokenizer: {{name: wordpiece, vocab_size: 100}}
"""
_REST = """loss: {name: cross_entropy}
optimizer: {name: adam, lr: 0.01}
train: {epochs: 1, precision: fp32}
"""
# A model of the user's own that says where it is, and fails there.
_FAILING = """
import os
from torch import nn

class Failing(nn.Module):
    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.linear = nn.Linear(4, num_classes)

    def forward(self, x):
        if os.environ.get("FAILS") == os.environ.get("RANK", "none"):
            raise ValueError(f"no answer for {len(x)} rows")
        return self.linear(x)
"""


def said(calls: Calls) -> Said:
    """Each command in this process; a rank other than 0 has no standard input."""
    torch.set_num_threads(1)
    kept = sys.stdin, sys.stdout, sys.stderr
    found: Said = []
    try:
        for arguments, piped in calls:
            out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
            held: Any = io.TextIOWrapper(io.BytesIO(piped or b"")) if os.environ.get("RANK", "0") == "0" else object()
            sys.stdin, sys.stdout, sys.stderr = held, out, err
            code = run(arguments)
            out.flush()
            err.flush()
            found.append((code, out.buffer.getvalue(), err.buffer.getvalue()))  # pyright: ignore
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of images, rows and texts, and what they were trained on."""
    root, generator = tmp_path_factory.mktemp("predicted"), np.random.default_rng(0)
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            (root / "photos" / split / label).mkdir(parents=True)
            for i in range(7):
                pixels = generator.integers(0, 255, (20 + i, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "photos" / split / label / f"{i}.png")
    data = {"images": root / "photos", "rows": write_rows(root), "texts": write_texts(root)}
    for name, recipe in (("images", _IMAGES), ("rows", _ROWS), ("texts", _TEXTS)):
        (root / f"{name}.yaml").write_text(recipe.format(path=data[name]) + _REST)
        assert run(["train", str(root / f"{name}.yaml"), "--run-dir", str(root / name), "-q"]) == 0
    (root / "photos" / "val" / "cat" / "3.png").write_bytes(b"no image")
    with (root / "wrong.csv").open("w", newline="") as file:
        rows = [[*"abcd"], *([i, -i, "much" if i in (8, 30) else 0.5, 1] for i in range(40))]
        csv.writer(file).writerows(rows)
    (root / "torn.jsonl").write_bytes(b'{"text": "the fox"}\nno JSON\n' * 20 + b'{"text": "a \xff"}\n')
    return root


@pytest.fixture(scope="module")
def together(folder: Path, in_two_processes: Callable[..., list[Any]]) -> tuple[Calls, Said, list[Said]]:
    """The commands, what one process says, and what each of two ranks says; files are `alone.*` and `joint.*`."""
    texts = "".join(f"{row['text']}\n" for row in csv.DictReader((folder / "texts.csv").open())).encode()
    photos = folder / "photos" / "val"

    def calls(name: str) -> Calls:
        def out(file: str) -> list[str]:
            return ["--out", str(folder / f"{name}-{file}")]

        images, rows, bert = (str(folder / kind) for kind in ("images", "rows", "texts"))
        every: Calls = [
            (["predict", images, str(photos), "--top", "2"], None),
            (["predict", images, "-"], "".join(f"{path}\n" for path in sorted(photos.glob("*/*.png"))).encode()),
            (["predict", images, str(photos), "--features", "penultimate", *out("images.npy")], None),
            (["predict", rows, "--rows", str(folder / "wrong.csv"), "--threshold", "0.6"], None),
            (["predict", rows, "--rows", str(folder / "rows.csv"), "-q"], None),
            (["predict", rows, "--rows", str(folder / "wrong.csv"), *out("rows.csv")], None),
            (["predict", rows, "-"], (folder / "wrong.csv").read_bytes()),
            (["predict", rows, "-"], b"a,b\n1,2\n"),
            (["predict", bert, "-"], texts),
            (["predict", bert, str(folder / "torn.jsonl"), *out("texts.jsonl")], None),
            (["predict", bert, str(folder / "texts.csv"), "--features", "penultimate", *out("texts.parquet")], None),
            (["predict", bert, "the fox"], None),
        ]
        return [(["predict", *arguments[1:], "--device", "cpu"], piped) for arguments, piped in every]

    threads = torch.get_num_threads()
    alone = said(calls("alone"))
    torch.set_num_threads(threads)
    return calls("joint"), alone, in_two_processes(said, calls("joint"))


def _without_times(out: bytes) -> list[dict[str, Any] | str]:
    lines = out.decode().splitlines()
    if not lines or not lines[0].startswith("{"):
        return list(lines)
    return [{**json.loads(line), "seconds": 0, "out": ""} for line in lines]


@pytest.mark.distributed
def test_two_processes_print_once_and_in_order_what_one_prints(together: tuple[Calls, Said, list[Said]]) -> None:
    calls, alone, (first, second) = together
    for (arguments, _), one, joint, other in zip(calls, alone, first, second, strict=True):
        assert joint[0] == one[0], (arguments, joint)
        assert _without_times(joint[1]) == _without_times(one[1]), arguments  # to the last bit
        assert other[1] == b""
    # every rank fails in the same way, and a job says the same only once
    errors = [heard[2] for heard in (*first, *second) if heard[0] and heard[2]]
    assert sorted(errors) == sorted({heard[2] for heard in alone if heard[0]})
    assert all(other[0] == one[0] for other, one in zip(second, alone, strict=True))
    assert [code for code, _, _ in alone] == [1, 1, 1, 1, 0, 1, 1, 2, 0, 1, 0, 0]
    records = [json.loads(line) for line in first[0][1].splitlines()]
    assert [Path(record["input"]).stem for record in records] == [str(i) for i in range(7)] * 2
    assert [i for i, record in enumerate(records) if record["error"]] == [3]
    assert b"2 of 40 inputs have no prediction" in first[3][2] + second[3][2]


@pytest.mark.distributed
def test_two_processes_write_the_files_of_one(together: tuple[Calls, Said, list[Said]], folder: Path) -> None:
    assert [code for code, _, _ in together[1]].count(0) == 4
    for name in ("rows.csv", "texts.jsonl", "images.npy"):
        assert (folder / f"joint-{name}").read_bytes() == (folder / f"alone-{name}").read_bytes()
    joint, alone = (pyarrow.parquet.read_table(folder / f"{name}-texts.parquet") for name in ("joint", "alone"))
    assert joint.equals(alone) and joint.num_rows == 90


@pytest.mark.slow
def test_a_pipe_is_read_once_and_one_failure_is_counted_once(
    torchrun: Callable[..., subprocess.CompletedProcess[str]], folder: Path
) -> None:
    paths = sorted((folder / "photos" / "val").glob("*/*.png"))
    done = torchrun("predict", str(folder / "images"), "-", input="".join(f"{path}\n" for path in paths))
    assert done.returncode == 1
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["input"] for record in records] == list(map(str, paths))
    assert [record["input"] for record in records if record["error"]] == [str(paths[3])]
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == [
        f"error: 1 of 14 inputs has no prediction; it is {paths[3]}: cannot identify image file {str(paths[3])!r}"
    ]


@pytest.mark.distributed
def test_a_rank_that_fails_ends_the_job_with_its_own_error(
    job: Callable[..., AbstractContextManager[subprocess.Popen[str]]], folder: Path
) -> None:
    (folder / "failing.py").write_text(_FAILING)
    model = f"model={{name: '{folder / 'failing.py'}:Failing'}}"
    path = str(folder / "failing")
    assert run(["train", str(folder / "rows.yaml"), "~model.hidden", model, "--trust", "--run-dir", path, "-q"]) == 0
    arguments = ("predict", path, "--rows", str(folder / "rows.csv"), "--trust")
    with job(*arguments, FAILS="1") as started:
        out, err = started.communicate(timeout=600)
    assert (started.returncode, out) == (1, "")
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert sum("no answer for 7 rows" in line for line in errors) == 1
    assert all("no answer for 7 rows" in line or "another process of this job has ended" in line for line in errors)
    assert "rank      : 1" in err[err.index("Root Cause (first observed failure)") :]
