"""Training as a generator of events: another front end than the command, interrupts, and going on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.optim.optimizer import register_optimizer_step_pre_hook

import dlkit
from dlkit.app.events import Work

EIGHT = ("train.epochs=null", "train.steps=8", "train.eval_every=never", "train.checkpoint_every=never",
         "train.log_every=1", "data.batch_size=256")  # fmt: skip


@pytest.fixture(autouse=True)
def in_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without an interruption."""
    path = tmp_path_factory.mktemp("whole") / "run"
    dlkit.train(dlkit.load("digits-mlp", *EIGHT), run_dir=path, device="cpu").result()
    return path


def same_bytes(one: Path, two: Path) -> bool:
    names = ("metrics.jsonl", "checkpoints/last/model.safetensors", "checkpoints/last/optimizer.safetensors")
    return all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_events_come_in_order() -> None:
    events = list(dlkit.train(dlkit.load("digits-mlp", *EIGHT), run_dir="run", device="cpu"))
    kinds = [type(event) for event in events if not isinstance(event, dlkit.Remark)]
    expected = [dlkit.Prepared, dlkit.Started, *[dlkit.StepDone] * 8, dlkit.Evaluated, dlkit.Checkpointed]
    assert kinds == [*expected, dlkit.Finished]


def test_nothing_is_written_before_all_is_prepared() -> None:
    training = dlkit.train(dlkit.load("digits-mlp", *EIGHT), run_dir="run", device="cpu")
    assert isinstance(next(training), dlkit.Prepared)
    training.close()
    assert not Path("run").exists()


def test_a_break_saves_a_checkpoint_and_the_run_goes_on_to_the_same_bytes(whole: Path) -> None:
    for event in dlkit.train(dlkit.load("digits-mlp", *EIGHT), run_dir="run", device="cpu"):
        if isinstance(event, dlkit.StepDone) and event.step == 3:
            break
    assert Path("run/checkpoints/last").resolve().name == "step-00000003"
    run = dlkit.train("run", resume=True, device="cpu").result()
    assert (run.steps, run.stopped) == (8, False)
    assert same_bytes(whole, run.path)


def test_auto_says_how_often_it_saves_and_from_what(whole: Path) -> None:
    events = list(dlkit.train(dlkit.load("digits-mlp", *EIGHT, "train.checkpoint_every=auto"), run_dir="run"))
    saved = [event for event in events if isinstance(event, dlkit.Checkpointed)]
    assert [event.step for event in saved] == [1, 8]  # the first one is timed
    assert saved[0].decided is not None
    assert saved[1].decided is None
    recorded = json.loads(Path("run/summary.json").read_text())["checkpoint_every"]
    w, m = recorded["write_seconds"], recorded["failure_hours"] * 3600
    assert (recorded["devices"], m) == (1, 1.8e8)
    assert 0 < w < 60
    assert recorded["seconds"] == pytest.approx((2 * w * m) ** 0.5 - w, rel=1e-3)
    (remark,) = [event for event in events if isinstance(event, dlkit.Remark) and "a checkpoint every" in event.text]
    assert f"{recorded['seconds']:,.0f} s of training" in remark.text
    assert same_bytes(whole, Path("run"))


def test_work_that_was_closed_has_no_result() -> None:
    with dlkit.train(dlkit.load("digits-mlp", *EIGHT), run_dir="run", device="cpu") as training:
        for event in training:
            if isinstance(event, dlkit.StepDone):
                break
    with pytest.raises(dlkit.DlkitError, match="ended early"):
        training.result()


def test_an_interrupt_leaves_a_run_that_goes_on(whole: Path) -> None:
    """In the midst of a step, where nothing can be saved: it goes on from the last checkpoint, here from the start."""
    steps: list[int] = []

    def interrupt(*_: object) -> None:
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt

    hook = register_optimizer_step_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        dlkit.train(dlkit.load("digits-mlp", *EIGHT), run_dir="run", device="cpu").result()
    hook.remove()
    assert len(steps) == 4
    run = dlkit.train("run", resume=True, device="cpu").result()
    assert same_bytes(whole, run.path)


def test_should_stop_ends_it_after_the_step(whole: Path) -> None:
    seen: list[int] = []
    training = dlkit.train(
        dlkit.load("digits-mlp", *EIGHT), run_dir="run", device="cpu", should_stop=lambda: len(seen) == 5
    )
    for event in training:
        if isinstance(event, dlkit.StepDone):
            seen.append(event.step)
    run = training.result()
    assert (run.stopped, run.steps, run.total_steps) == (True, 5, 8)
    assert not Path("run/summary.json").exists()
    dlkit.train("run", resume=True, device="cpu").result()
    assert same_bytes(whole, Path("run"))


def test_a_run_directory_is_locked_while_its_events_are_read() -> None:
    training = dlkit.train(dlkit.load("digits-mlp", *EIGHT), run_dir="run", device="cpu")
    for event in training:
        if isinstance(event, dlkit.StepDone):
            break
    with pytest.raises(dlkit.DlkitError, match="in use by another dlkit"):
        dlkit.train("run", resume=True, device="cpu").result()
    training.close()
    assert not dlkit.train("run", resume=True, device="cpu").result().stopped


def test_work_gives_its_events_and_its_result() -> None:
    def steps() -> Iterator[int]:
        yield 1
        yield 2
        return "done"

    work: Work[int, str] = Work(steps())  # pyright: ignore
    assert next(work) == 1
    assert work.result() == "done"
    assert list(work) == []
    assert work.result() == "done"
