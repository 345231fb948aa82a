"""A run of several processes: the first one writes its directory; it stops, and goes on in as many, or in others."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlkit import recipe as recipes
from dlkit.app.evaluate import evaluate_run
from dlkit.app.train import train_recipe
from dlkit.app.trained_run import TrainedRun
from dlkit.distributed.process_group import current_world
from dlkit.doctor.samples import write_corpus
from dlkit.errors import DlkitError
from dlkit.training.checkpoint import load_checkpoint
from dlkit.training.events import StepDone

pytestmark = pytest.mark.distributed

STOPPED = 13
_TINY = ("model.layers=2", "model.heads=2", "model.width=16", "model.attention_dropout=0", "tokenizer.name=byte",
         "data.name=text", "data.context=16", "data.batch_size=7", "train.precision=fp32", "train.compile=off",
         "train.epochs=null", "train.steps=24", "train.accumulate=2", "train.clip_norm=0.5", "train.ema=0.9",
         "train.log_every=3", "train.eval_every=12 steps", "train.checkpoint_every=6 steps")  # fmt: skip


def train(folder: Path, name: str, mode: str, dropout: float, stop: int | None = None, **how: Any) -> TrainedRun:
    """Train into `folder/name`, up to a step where one is given."""
    at = 0  # evaluations ask too, so that counting questions would not do
    changes = [*_TINY, f"data.path={folder / 'corpus.txt'}", f"train.parallel={mode}", f"model.dropout={dropout}"]
    recipe = recipes.load("pydoc-gpt", changes)
    work = train_recipe(
        recipe, run_dir=folder / name, should_stop=lambda: stop is not None and at >= stop, device="cpu", **how
    )
    for event in work:
        at = event.step if isinstance(event, StepDone) else at
    return work.result()


def stop_and_go_on(folder: Path) -> list[str]:
    """Runs that are whole, and runs that stop and go on; a copy of each as it was when it stopped is left behind."""
    world = current_world()
    for mode in ("ddp", "fsdp"):
        for dropout in (0.0, 0.2):
            train(folder, f"{mode}-{dropout}", mode, dropout)
            stopped = train(folder, f"{mode}-{dropout}-stopped", mode, dropout, stop=STOPPED)
            assert stopped.stopped and STOPPED <= stopped.steps < 20  # the ranks agree on it a step later
            if world.first:
                shutil.copytree(stopped.path, folder / f"{mode}-{dropout}-copy", symlinks=True)
            train(folder, f"{mode}-{dropout}-stopped", mode, dropout, resume=True)
        train(folder, f"{mode}-begun-by-one", mode, 0.0, resume=True)
    return sorted(path.name for path in folder.iterdir())


def contents(run: Path) -> dict[str, bytes]:
    """The records, and every tensor of the last checkpoint. Parts may lie in any order in their files."""
    tensors = load_checkpoint(run / "checkpoints" / "last").tensors
    saved = {
        f"{file}/{name}": value.numpy().tobytes() for file, held in tensors.items() for name, value in held.items()
    }
    return {"metrics.jsonl": (run / "metrics.jsonl").read_bytes(), **saved}


def losses(run: Path) -> list[float]:
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [value for record in records for name, value in record.items() if name.endswith("loss")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, in_two_processes: Callable[..., list[Any]]) -> Path:
    folder: Path = tmp_path_factory.mktemp("runs")
    write_corpus(folder, 200)
    train(folder, "one", "auto", 0.0)
    for mode in ("ddp", "fsdp"):
        train(folder, f"{mode}-begun-by-one", "auto", 0.0, stop=STOPPED)
    first, second = in_two_processes(stop_and_go_on, folder)
    assert first == second
    return folder


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_write_the_run_of_one(folder: Path, mode: str) -> None:
    assert losses(folder / f"{mode}-0.0") == pytest.approx(losses(folder / "one"), rel=1e-6)
    joint, alone = (load_checkpoint(folder / run / "checkpoints" / "last") for run in (f"{mode}-0.0", "one"))
    for file, held in alone.tensors.items():
        others = {name: value for name, value in joint.tensors[file].items() if ".rank1." not in name}
        assert {name: value.shape for name, value in others.items()} == {name: v.shape for name, v in held.items()}
    parts = [*(folder / f"{mode}-0.0" / "checkpoints" / "last" / "parts").glob("*")]
    assert len(parts) == (2 if mode == "fsdp" else 0)
    assert evaluate_run(folder / f"{mode}-0.0").metrics["loss"] == pytest.approx(
        evaluate_run(folder / "one").metrics["loss"], rel=1e-6
    )
    summary = json.loads((folder / f"{mode}-0.0" / "summary.json").read_text())
    assert summary["processes"] == 2


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_run_goes_on_to_the_bit_in_as_many_processes(folder: Path, mode: str, dropout: float) -> None:
    assert contents(folder / f"{mode}-{dropout}-stopped") == contents(folder / f"{mode}-{dropout}")


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_a_run_goes_on_in_another_number_of_processes(folder: Path, mode: str) -> None:
    whole = losses(folder / "one")
    train(folder, f"{mode}-0.0-copy", mode, 0.0, resume=True)
    assert losses(folder / f"{mode}-0.0-copy") == pytest.approx(whole, rel=1e-6)
    assert losses(folder / f"{mode}-begun-by-one") == pytest.approx(whole, rel=1e-6)


def test_a_part_that_is_damaged_is_named(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(folder / "fsdp-0.0", copy, symlinks=True)
    part = max((copy / "checkpoints" / "last" / "parts").iterdir())
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    with pytest.raises(DlkitError, match=f"damaged checkpoint: .*{part.name}: its sha256"):
        load_checkpoint(copy / "checkpoints" / "last")


def test_the_first_process_speaks_for_all(
    torchrun: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = torchrun("train", "digits-mlp", "train.epochs=1", "model.dropout=0.1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["processes"] == 2 and record["run"] == "runs/digits-mlp-1"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits-mlp-1"]
    assert len([line for line in done.stderr.splitlines() if line.startswith("epoch 1/1")]) == 1
