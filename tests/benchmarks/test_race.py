"""A race of 270 runs (6 optimizers, 9 learning rates, 5 seeds) beside a plain loop, and beside a process a run.

    pytest -m benchmark tests/benchmarks/test_race.py -s

The plain loop is a dozen lines of torch around the same models and batches, with torch's fused optimizers (RMSprop has
none: foreach). Losses of stacked runs are checked to equal its losses first; sides then take turns.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit import recipe
from dlkit.app.optimizer_comparison import OptimizerComparison
from dlkit.sweep.engines import engine_choice
from dlkit.sweep.engines.loop import run_in_loop
from dlkit.sweep.engines.stack_members import stack_members
from dlkit.sweep.engines.stacked import run_stacked
from dlkit.sweep.engines.step_times import stacked_step_times
from dlkit.sweep.trials import Trial, TrialResult, parse_learning_rates, trial_grid
from dlkit.training.device import keep_freed_memory
from dlkit.vectorized.stacked_runs import StackedRuns

THREADS = int(os.environ.get("BENCH_THREADS", len(os.sched_getaffinity(0))))
REPEATS = 9
TORCH: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "sgd": (torch.optim.SGD, {"fused": True}, ()),
    "momentum": (torch.optim.SGD, {"fused": True}, ("momentum", "nesterov")),
    "adagrad": (torch.optim.Adagrad, {"fused": True}, ("lr_decay", "eps")),
    "rmsprop": (torch.optim.RMSprop, {"foreach": True}, ("alpha", "eps", "momentum", "centered")),
    "adam": (torch.optim.Adam, {"fused": True}, ("betas", "eps")),
    "adamw": (torch.optim.AdamW, {"fused": True}, ("betas", "eps")),
}
OPTIMIZERS = list(TORCH)
FIXED = ["train.epochs=null", "train.precision=fp32", "train.compile=off", "train.channels_last=off"]
DIGITS, GPT = ["data.validation=0.1"], ["model={name: gpt, layers: 2, heads: 2, width: 64}"]
CASES = {
    "digits-mlp": ("digits-mlp", DIGITS),
    "small CNN": ("digits-mlp", [*DIGITS, "model={name: cnn, channels: [16, 32]}"]),
    "small GPT, 8 windows of 32": ("pydoc-gpt", [*GPT, "data={name: pydoc, batch_size: 8, context: 32}"]),
    "small GPT, 8 windows of 64": ("pydoc-gpt", [*GPT, "data={name: pydoc, batch_size: 8, context: 64}"]),
    "small GPT, 16 windows of 128": ("pydoc-gpt", [*GPT, "data={name: pydoc, batch_size: 16, context: 128}"]),
}


def comparison_of(case: str, *more: str) -> OptimizerComparison:
    name, changes = CASES[case]
    settings = [*FIXED, "train.steps=500", *changes, *more]
    recipes = {o: recipe.load(name, [f"optimizer={{name: {o}}}", *settings]) for o in OPTIMIZERS}
    return OptimizerComparison(recipes, torch.device("cpu"))


def plain_loop(comparison: OptimizerComparison, trial: Trial) -> Iterator[tuple[float, float]]:
    """(seconds, loss) of each step."""
    training = comparison.training(trial)
    kind, extra, names = TORCH[trial.optimizer]
    options = ("weight_decay", *names)
    groups = [
        {"params": group["params"], **{name: group[name] for name in options}}
        for group in training.optimizer.param_groups
    ]
    optimizer = kind(groups, lr=trial.lr, **extra)
    model, task, step = training.model.train(), training.task, 0
    for epoch in itertools.count():
        for batch in training.batches.epoch(epoch):
            started = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = trial.lr * training.schedule(step, training.total_steps)
            loss, _ = task.forward(model, batch)
            loss.backward()
            if training.settings.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), training.settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            value = loss.item()
            yield time.perf_counter() - started, value
            step += 1


def check_equal(comparison: OptimizerComparison) -> None:
    """A dozen steps of a run of each optimizer, stacked and alone."""
    trials = trial_grid(OPTIMIZERS, [1e-3], 1)
    stack = StackedRuns(stack_members(trials, comparison.training))
    together = torch.stack([stack.take_step(step, batch) for step, batch in itertools.islice(stack.batches(), 12)])
    for column, trial in enumerate(trials):
        alone = [loss for _, loss in itertools.islice(plain_loop(comparison, trial), 12)]
        torch.testing.assert_close(together[:, column], torch.tensor(alone), rtol=2e-3, atol=1e-4)


@pytest.mark.benchmark
@pytest.mark.parametrize("case", CASES)
def test_stacks_beside_a_plain_loop(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(THREADS)
    keep_freed_memory()
    comparison = comparison_of(case)
    check_equal(comparison)
    trials = trial_grid(OPTIMIZERS, parse_learning_rates("1e-4:1:9"), 5)
    size = engine_choice.best_stack_size(trials, comparison.training)
    stacks = stacked_step_times(trials[:size], comparison.training)
    loops = [plain_loop(comparison, trial) for trial in trials[20::45]]  # one of each optimizer
    for steps in (stacks, *loops):
        list(itertools.islice(steps, 4))
    together: list[float] = []
    alone: list[float] = []
    for _ in range(REPEATS):
        together.append(statistics.median(itertools.islice(stacks, 3)) / size * len(trials))
        each = [statistics.median(seconds for seconds, _ in itertools.islice(loop, 5)) for loop in loops]
        alone.append(statistics.mean(each) * len(trials))
    ratio = [b / a for a, b in zip(together, alone, strict=True)]
    with capfd.disabled():
        print(f"\n{case}: a step of {len(trials)} runs, {THREADS} threads, median of {REPEATS}")
        print(f"  stacked ({size} at once) {statistics.median(together):7.3f} s")
        print(f"  plain loop            {statistics.median(alone):7.3f} s")
        print(f"  loop / stacked        {statistics.median(ratio):7.2f}   ({min(ratio):.2f} .. {max(ratio):.2f})")


AUTO = {
    **{case: (case, 40) for case in ("digits-mlp", "small CNN", "small GPT, 8 windows of 64")},
    "digits-resnet8": ("digits-mlp", 15),
}


@pytest.mark.benchmark
@pytest.mark.parametrize("case", AUTO)
def test_auto_beside_the_loop(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Whole races of 54 runs; what auto spends on its choice is in its time."""
    torch.set_num_threads(THREADS)
    keep_freed_memory()
    base, steps = AUTO[case]
    more = ["model={name: resnet, depths: [1, 1, 1], widths: [16, 32, 64]}"] if case == "digits-resnet8" else []
    comparison = comparison_of(base, f"train.steps={steps}", f"train.eval_every={steps} steps", *more)
    trials = trial_grid(OPTIMIZERS, parse_learning_rates("1e-3:1e-1:3"), 3)
    ratios: list[float] = []
    chosen = ""
    comparison.training(trials[0])  # reads the data
    for _ in range(3):
        started = time.perf_counter()
        choice = engine_choice.fastest_engine(trials, comparison.training, THREADS)
        chosen = choice.engine
        if chosen == "stacked":
            told = run_stacked(trials, comparison.training, None, choice.size)
        elif chosen == "workers":
            told = comparison.workers(trials, THREADS)
        else:
            told = run_in_loop(trials, comparison.training)
        assert sum(isinstance(event, TrialResult) for event in told) == len(trials)
        middle = time.perf_counter()
        assert sum(isinstance(told, TrialResult) for told in run_in_loop(trials, comparison.training)) == len(trials)
        ratios.append((time.perf_counter() - middle) / (middle - started))
    with capfd.disabled():
        print(f"\n{case}: {len(trials)} runs of {steps} steps, {chosen} by auto, its choice included")
        print(f"  loop / auto {statistics.median(ratios):.2f}   ({min(ratios):.2f} .. {max(ratios):.2f})")


def command(*arguments: str) -> tuple[float, float]:
    """(wall seconds, MiB at most) of a whole process; the memory is the largest of all children so far."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dlkit", *arguments], check=True, capture_output=True)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


@pytest.mark.benchmark
def test_a_whole_race_beside_one_process_a_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Five of the processes stand for 270; of these, n at a time in parallel would take 1/n of the time."""
    common = ["train.epochs=null", "data.validation=0.1", "train.precision=fp32", "train.compile=off"]
    alone: list[float] = []
    for seed in range(5):
        arguments = ["digits-mlp", *common, "train.steps=500", "train.eval_every=25 steps", "--seed", str(seed)]
        alone.append(command("train", "-q", *arguments, "--run-dir", str(tmp_path / str(seed)))[0])
    whole, memory = command("compare-optimizers", "digits-mlp", "--steps", "500", "--out", str(tmp_path / "race"))
    runs = [json.loads(line) for line in (tmp_path / "race" / "runs.jsonl").read_text().splitlines()]
    assert sum(record["kind"] == "run" for record in runs) == 270
    engine = next(record["engine"] for record in runs if record["kind"] == "engine")
    each = statistics.median(alone)
    with capfd.disabled():
        print(f"\n270 runs of 500 steps in one process ({engine}): {whole:.1f} s, {memory:.0f} MiB")
        print(f"  a process a run: {each:.2f} s ({min(alone):.2f} .. {max(alone):.2f}), so {each * 270:.0f} s for all")
        print(f"  {each * 270 / whole:.1f} times; two at a time at best {each * 135 / whole:.1f} times")
