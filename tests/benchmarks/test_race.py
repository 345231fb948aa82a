"""The whole grid of a comparison by each engine: 6 optimizers, 9 learning rates, 5 seeds.

    pytest -m benchmark tests/benchmarks/test_race.py -s

The seconds of a step of all runs, stacked and one after the other with torch's fused kernels behind dlkit's optimizers,
in turns; equality of the engines is tested in tests/compare/test_engines.py.
"""

from __future__ import annotations

import os
import statistics

import pytest
import torch

from dlkit import build, recipe
from dlkit.compare import race
from dlkit.compare.runs import grid, rates
from dlkit.train import stacked
from dlkit.train.machine import keep_freed_memory

THREADS = int(os.environ.get("BENCH_THREADS", len(os.sched_getaffinity(0))))
REPEATS = 7
OPTIMIZERS = ["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"]
FIXED = ["data.validation=0.1", "train.epochs=null", "train.steps=500", "train.precision=fp32", "train.compile=off"]
CASES = {
    "digits-mlp": ("digits-mlp", []),
    "small CNN": ("digits-mlp", ["model={name: cnn, channels: [16, 32]}"]),
    "small GPT": (
        "pydoc-gpt",
        ["model={name: gpt, layers: 2, heads: 2, width: 64}", "data={name: pydoc, batch_size: 8, context: 64}"],
    ),
}


@pytest.mark.benchmark
@pytest.mark.parametrize("case", CASES)
def test_engines(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(THREADS)
    keep_freed_memory()
    name, changes = CASES[case]
    settings = [*FIXED, "train.channels_last=off", "train.clip_norm=null", *changes]
    if name == "pydoc-gpt":
        settings.remove("data.validation=0.1")
    recipes = {o: recipe.load(name, [f"optimizer={{name: {o}}}", *settings]) for o in OPTIMIZERS}
    contest = build.Contest(recipes, torch.device("cpu"))
    contenders = grid(OPTIMIZERS, rates("1e-4:1:9"), 5)
    size, _ = race.best_size(contenders, contest.training)
    members = race.members_of(contenders[:size], contest.training)
    together: list[float] = []
    alone: list[float] = []
    for _ in range(REPEATS):
        together.append(stacked.seconds_a_step(members) * len(contenders) / size)
        # one run of each optimizer stands for its 45
        alone.append(sum(race._seconds_a_step(contest.training(c)) for c in contenders[::45]) * 45)
    ratio = [b / a for a, b in zip(together, alone, strict=True)]
    with capfd.disabled():
        print(f"\n{case}: a step of {len(contenders)} runs, {THREADS} threads, median of {REPEATS}")
        print(f"  stacked ({size} at once) {statistics.median(together):7.3f} s")
        print(f"  loop                  {statistics.median(alone):7.3f} s")
        print(f"  loop / stacked        {statistics.median(ratio):7.2f}   ({min(ratio):.2f} .. {max(ratio):.2f})")
