"""Training on streamed images through the command line: damaged files are named; no worker process outlives it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dlkit.data.epochs import hashed_seed

SMALL = ["data.size=32", "data.resize=36", "data.batch_size=16", "model={name: resnet, depths: [1], widths: [8]}"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((200, 180)).save(stream, "JPEG")
    for split, count in (("train", 400), ("val", 8)):
        for label in "ab":
            folder = tmp_path / "tree" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.jpg").write_bytes(stream.getvalue())
    return tmp_path / "tree"


def test_damaged_images_are_named_and_counted(here: Any, tree: Path, tmp_path: Path) -> None:
    for i in range(6):
        (tree / "train" / "a" / f"{i}.jpg").write_bytes(b"")
    cut = tree / "val" / "b" / "3.jpg"
    cut.write_bytes(cut.read_bytes()[:700])
    command = ["train", "imagenet-resnet50", f"data.path={tree}", *SMALL, "train.epochs=1", "data.workers=0"]
    result = here(*command, "--run-dir", str(tmp_path / "run"))
    assert result.code == 0, result.err
    assert result.record["damaged"] == 7
    lines = (tmp_path / "run" / "damaged.txt").read_text().splitlines()
    assert sorted(line.split(": ")[0] for line in lines) == sorted(
        [*(str(tree / "train" / "a" / f"{i}.jpg") for i in range(6)), str(cut)]
    )
    named = [line for line in result.err.splitlines() if line.startswith("left out, damaged: ")]
    assert len(named) == 6 and named[-1].endswith(f"all 7 of them: {tmp_path / 'run' / 'damaged.txt'}")
    again = here("train", str(tmp_path / "run"), "--resume")  # which reads none of them: all is done
    assert (again.record["damaged"], again.record["recipe"]) == (7, "imagenet-resnet50")
    assert (tmp_path / "run" / "damaged.txt").read_text().splitlines() == lines
    result = here("eval", str(tmp_path / "run"), "--ood", f"images:{tree / 'val' / 'b'}")
    inside, other = result.records
    assert (inside["n"], inside["damaged"], other["n"], other["damaged"]) == (15, 1, 7, 1)
    assert f"left out, damaged: {cut}: " in result.err
    refused = here(*command, "data.damaged=refuse", "--run-dir", str(tmp_path / "other"))
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines()[-2].startswith(f"error: cannot decode the image {tree / 'train' / 'a'}")


def test_a_last_batch_of_damaged_images_alone(here: Any, tree: Path, tmp_path: Path) -> None:
    files = sorted((tree / "train").glob("?/*.jpg"))
    for file in files[12:]:
        file.unlink()
    (tree / "val" / "a" / "0.jpg").rename(tree / "train" / "b" / "0.jpg")
    rows = sorted((tree / "train").glob("?/*.jpg"))
    last = int(torch.randperm(len(rows), generator=torch.Generator().manual_seed(hashed_seed(0, 0)))[-1])
    rows[last].write_bytes(b"")
    options = ["data.batch_size=1", "data.workers=0", "train.epochs=1", "--run-dir", str(tmp_path / "run")]
    result = here("train", "imagenet-resnet50", f"data.path={tree}", *SMALL, *options)
    assert result.code == 0, result.err
    assert (result.record["steps"], result.record["damaged"]) == (len(rows), 1)


# ---------------------------------------------------------------------- processes


class Training:
    """A run in a session of its own, once it trains, with its two workers."""

    def __init__(self, tree: Path, run: Path) -> None:
        command = [sys.executable, "-m", "dlkit", "train", "imagenet-resnet50", f"data.path={tree}", *SMALL]
        command += ["data.workers=2", "train.epochs=2000", "train.log_every=1", "train.eval_every=never"]
        self.run = run
        self.process = subprocess.Popen(
            [*command, "train.checkpoint_every=never", "--run-dir", str(run)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        metrics = run / "metrics.jsonl"
        deadline = time.monotonic() + 90
        while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.stderr
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """Both, as soon as an epoch has them; none once the run is over."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while self.process.poll() is None:
            with contextlib.suppress(OSError):
                found = [int(child) for child in children.read_text().split()]
                if len(found) >= 2:
                    return found
            time.sleep(0.001)
        return []

    def ends(self, code: int) -> list[str]:
        """The lines of stderr of a run that ends with this code; none of its processes is left."""
        out, err = self.process.communicate(timeout=60)
        assert (self.process.returncode, out) == (code, ""), err
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            # the group's number is the session's
            left = subprocess.run(["ps", "-o", "pid=", "-s", str(self.process.pid)], capture_output=True, text=True)
            if not left.stdout.split():
                break
            time.sleep(0.2)
        assert not left.stdout.split()
        assert "Traceback" not in err
        return err.splitlines()


@pytest.fixture
def training(tree: Path, tmp_path: Path) -> Iterator[Callable[[], Training]]:
    started: list[Training] = []

    def start() -> Training:
        started.append(Training(tree, tmp_path / f"run-{len(started)}"))
        return started[-1]

    yield start
    for trained in started:
        if trained.process.poll() is None:
            os.killpg(trained.process.pid, signal.SIGKILL)
            trained.process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_of_the_whole_group(number: signal.Signals, training: Callable[[], Training]) -> None:
    trained = training()
    trained.workers()
    os.killpg(trained.process.pid, number)
    lines = trained.ends(128 + number)
    assert lines[-1].startswith("stopped at step") and lines[-1].endswith("--resume")
    assert (trained.run / "checkpoints" / "last" / "manifest.json").exists()


@pytest.mark.slow
def test_a_worker_that_is_killed(training: Callable[[], Training]) -> None:
    trained = training()
    while trained.process.poll() is None:  # one that has done its work already may be killed without a word
        for worker in trained.workers()[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        time.sleep(0.3)
    error, hint = trained.ends(1)[-2:]
    assert error.startswith("error: a process that decodes images died: ") and "--resume" in hint


@pytest.mark.slow
def test_two_interrupts_leave_no_worker(training: Callable[[], Training]) -> None:
    trained = training()
    trained.workers()
    for _ in range(2):
        os.kill(trained.process.pid, signal.SIGINT)
        time.sleep(0.01)
    trained.ends(130)


@pytest.mark.slow
def test_a_folder_that_vanishes(tree: Path, training: Callable[[], Training]) -> None:
    trained = training()
    tree.rename(tree.parent / "elsewhere")
    error, hint = trained.ends(1)[-2:]
    assert "images cannot be decoded, the first" in error and hint == "hint: is the data whole?"
