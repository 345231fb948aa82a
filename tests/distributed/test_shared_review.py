"""review run under torchrun: one review, as in one process; and a process that joins its job again and again."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.cli.app import run
from dlkit.distributed.process_group import join_world
from dlkit.doctor.samples import write_rows

pytestmark = pytest.mark.distributed

# A stack of multilayer perceptrons, which stays whole, and networks of convolutions, which are dealt out one by one.
_ROWS = """section: Mine
claim: A learning rate of 0.05 learns it, one of a millionth does not.
kind: arms
fixed: everything, before the first run
recipe: csv-mlp
changes: {{data: {{path: {path}, label: label, batch_size: 32}}, model: {{hidden: [8]}}, train: {{epochs: 5}}}}
arms:
  learning: {{optimizer: {{name: adam, lr: 0.05}}}}
  standing: {{optimizer: {{name: adam, lr: 1e-6}}}}
measure: val/accuracy
expect: learning > standing
smallest: 0.05
seeds: 3
"""
_IMAGES = """section: Mine
claim: Three epochs are better than one.
kind: arms
fixed: everything, before the first run
recipe: digits-resnet20
changes: {data: {per_class: 4, batch_size: 16}, model: {name: resnet, widths: [4], depths: [1]}}
arms:
  once: {train: {epochs: 1}}
  often: {train: {epochs: 3}}
measure: test/loss
expect: often < once
smallest: 0.01
seeds: 2
"""


def said(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of a command in this process, and the records that it prints."""
    kept, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO())
    try:
        code = run(arguments)
        sys.stdout.flush()
        return code, [json.loads(line) for line in sys.stdout.buffer.getvalue().splitlines()]  # pyright: ignore
    finally:
        sys.stdout = kept


def review(folder: Path, out: str) -> list[tuple[int, list[dict[str, Any]]]]:
    """Properties and experiments; then again, without some of the runs; a verdict that does not hold; and failures."""
    claims = ("softmax-sigmoid", str(folder / "rows.yaml"), "gelu-cdf", str(folder / "images.yaml"))
    kept = ("--out", str(folder / out), "--device", "cpu")
    found = [said("review", "run", *claims, *kept)]
    runs = folder / out / "runs.jsonl"
    with join_world(torch.device("cpu")) as world:
        if world.first:
            whole = runs.read_text().splitlines(keepends=True)
            runs.write_text("".join(line for line in whole if json.loads(line)["seed"] == 0))
    found.append(said("review", "run", *claims, *kept, "--resume"))
    found.append(said("review", "run", str(folder / "wrong.yaml"), "--seeds", "2", "--assert", "--device", "cpu"))
    # one has no such measure, which shows when it runs; the last shares its runs, but with no process that tries again
    failing = [str(folder / f"{name}.yaml") for name in ("absent", "measured", "rows")]
    found.append(said("review", "run", *failing, "softmax-sigmoid", "--device", "cpu"))
    return found


def joined_thrice(folder: Path) -> tuple[list[list[int]], Any]:
    gathered: list[list[int]] = []
    for turn in range(3):
        with join_world(torch.device("cpu")) as world:
            gathered.append(world.gather_objects(10 * turn + world.rank))
    return gathered, review(folder, "together")


def without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**record, "seconds": 0} for record in records]


def test_a_review_is_that_of_one_process(in_two_processes: Callable[..., list[Any]], tmp_path: Path) -> None:
    rows = _ROWS.format(path=write_rows(tmp_path))
    (tmp_path / "rows.yaml").write_text(rows)
    (tmp_path / "wrong.yaml").write_text(rows.replace("learning > standing", "learning < standing"))
    (tmp_path / "absent.yaml").write_text(rows.replace("path: ", "path: absent-"))
    (tmp_path / "measured.yaml").write_text(rows.replace("val/accuracy", "val/acuracy"))
    (tmp_path / "images.yaml").write_text(_IMAGES)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dlkit.app.review.usable_cores", lambda: 1)  # a worker takes seconds to begin
        alone = review(tmp_path, "alone")
    torch.set_num_threads(threads)
    (first, joint), (second, silent) = in_two_processes(joined_thrice, tmp_path, joined=False)
    assert first == second == [[0, 1], [10, 11], [20, 21]]
    assert [code for code, _ in alone] == [code for code, _ in joint] == [0, 0, 3, 1]
    assert silent == [(0, [])] * 4
    for (_, expected), (_, found) in zip(alone[:3], joint[:3], strict=True):
        assert without_times(found) == without_times(expected)  # to the last bit
    records = joint[0][1]
    assert [record["claim"] for record in records[:-1]] == ["softmax-sigmoid", "rows", "gelu-cdf", "images"]
    assert records[-1]["kind"] == "summary" and records[-1]["claims"] == 4
    errors = [record.get("error", "")[:20] for record in joint[3][1][:-1]]
    assert errors == ["no such file or fold", "no measure val/acura", "it shares a run with", ""]
    assert [record.get("error", "")[:20] for record in alone[3][1][:-1]] == [*errors[:2], "", ""]
    kept = (tmp_path / "together" / "review.jsonl").read_text().splitlines()
    assert without_times([json.loads(line) for line in kept]) == without_times(joint[1][1][:-1])
    for folder in ("alone", "together"):  # no run twice, and each there
        runs = [json.loads(line) for line in (tmp_path / folder / "runs.jsonl").read_text().splitlines()]
        assert len({(record["digest"], record["seed"]) for record in runs}) == len(runs) == 10
