"""dlkit eval: what a RUN may be, what it reports, and what can go wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


def test_the_record(here: Any, trained: Path) -> None:
    result = here("eval", str(trained))
    assert result.code == 0, result.err
    record = result.record
    assert (record["run"], record["data"], record["split"], record["n"]) == (str(trained), "digits", "test", 360)
    assert set(record["metrics"]) == {"loss", "accuracy", "ece"}
    assert record["precision"] == "fp32"  # so small a model is measured at no other
    assert [row["class"] for row in record["per_class"]] == [str(digit) for digit in range(10)]
    assert sum(row["n"] for row in record["per_class"]) == 360
    hits = sum(row["recall"] * row["n"] for row in record["per_class"])
    assert hits / 360 == pytest.approx(record["metrics"]["accuracy"])
    assert here("eval", str(trained), "-q").out == f"{record['metrics']['accuracy']}\n"


def test_quiet_prints_the_metric_that_is_asked_for(here: Any, trained: Path) -> None:
    metrics = here("eval", str(trained)).record["metrics"]
    assert here("eval", str(trained), "-q", "--metric", "ece").out == f"{metrics['ece']}\n"
    lines = here("eval", str(trained), "--ood", "noise").out.splitlines()
    auroc = json.loads(lines[1])["metrics"]["msp/auroc"]
    assert here("eval", str(trained), "--ood", "noise", "-q", "--metric", "msp/auroc").out == f"{auroc}\n"
    refused = here("eval", str(trained), "-q", "--metric", "acuracy")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.splitlines() == [
        "error: --metric: no metric 'acuracy' here (did you mean accuracy?)", "hint: it takes loss, accuracy, ece",
    ]  # fmt: skip


def test_how_far_it_is(here: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlkit.cli.progress._LINE_EVERY_SECONDS", 0.0)
    told = here("eval", str(trained), "data.batch_size=120", "--ood", "noise").err.splitlines()
    assert [line.partition(" in ")[0] for line in told] == [f"evaluating batches: {n} of 3" for n in (1, 2, 3)] * 3
    assert here("eval", str(trained), "-q", "--ood", "noise").err == ""


def test_the_training_splits_and_checkpoints(here: Any, trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    val = here("eval", str(trained), "--split", "val", "--checkpoint", "last").record
    assert val["metrics"]["accuracy"] == pytest.approx(summary["metrics"]["val/accuracy"])
    assert val["n"] == 144
    assert here("eval", str(trained), "--split", "train").record["n"] == 1437 - 144
    step = val["step"]
    assert here("eval", str(trained / "checkpoints" / f"step-{step:08d}")).record["step"] == step
    assert here("eval", str(trained / "checkpoints" / "last")).record["step"] == step


def test_an_averaged_network_with_batch_norm_is_what_training_evaluated(here: Any, tmp_path: Path) -> None:
    """The average is of floating-point tensors; a batch norm also counts its batches."""
    changes = ["train.epochs=null", "train.steps=6", "train.ema=0.5", "model={name: resnet, depths: [1], widths: [8]}"]
    run = tmp_path / "averaged"
    trained = here("train", "digits-mlp", *changes, "--run-dir", str(run))
    assert trained.code == 0, trained.err
    result = here("eval", str(run))
    assert result.code == 0, result.err
    assert result.record["metrics"]["loss"] == pytest.approx(trained.record["metrics"]["test/loss"], rel=1e-5)


@pytest.mark.parametrize("form", ["path", "record"])
def test_a_run_from_standard_input(here: Any, trained: Path, stdin: Any, form: str) -> None:
    text = f"{trained}\n" if form == "path" else json.dumps({"run": str(trained)}) + "\n"
    stdin(text)
    assert here("eval", "-").record["run"] == str(trained)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no run on standard input"),
        ("{}\n", "has no field 'run'"),
        ('{"run": 3}\n', "is not a path"),
        ("{\n", "no field"),
    ],
)
def test_nothing_of_use_on_standard_input(here: Any, stdin: Any, text: str, expected: str) -> None:
    stdin(text)
    result = here("eval", "-")
    assert result.code == 2
    assert expected in result.err.splitlines()[0]


def test_the_confusion_matrix_is_drawn(here: Any, trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "matrix.svg"
    assert here("eval", str(trained), "--confusion", str(target)).code == 0
    assert target.read_text().startswith("<?xml")
    for wrong in ("matrix.jpg", "no/such/folder/matrix.svg"):
        assert here("eval", str(trained), "--confusion", str(tmp_path / wrong)).code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--split", "dev"], 2, "digits has no split 'dev'"),
        (["--checkpoint", "step-3"], 1, "step-3"),
        (["model.hidden=[3]"], 2, "eval changes only the data"),
        (["data.batch_size=0"], 2, "data.batch_size"),
    ],
)
def test_wrong_requests(here: Any, trained: Path, arguments: list[str], code: int, expected: str) -> None:
    result = here("eval", str(trained), *arguments)
    assert (result.code, result.out) == (code, "")
    assert expected in result.err


def test_what_is_no_run(here: Any, tmp_path: Path) -> None:
    assert here("eval", str(tmp_path / "none")).code == 1
    result = here("eval", str(tmp_path))
    assert (result.code, "is neither a run directory nor a checkpoint" in result.err) == (2, True)


def test_a_damaged_checkpoint_is_named(here: Any, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy, symlinks=True)
    file = (copy / "checkpoints" / "last").resolve() / "model.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-5] ^= 64
    file.write_bytes(damaged)
    result = here("eval", str(copy), "--checkpoint", "last")
    assert result.code == 1
    assert "model.safetensors" in result.err.splitlines()[0]


def test_other_data_is_refused_by_its_classes(here: Any, trained: Path, tmp_path: Path) -> None:
    result = here("eval", str(trained), "data.batch_size=7")
    assert result.record["n"] == 360
