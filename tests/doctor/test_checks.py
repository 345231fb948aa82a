"""The table of checks: all hold on the CPU; one that raises has failed, and the others go on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dlkit.catalog import MODELS, OPTIMIZERS, TASKS, import_object
from dlkit.data.batch import MaskedBatch
from dlkit.data.dataset import Split, make_dataset
from dlkit.doctor import kernel_launches, runner
from dlkit.doctor.bench import CPU, Bench
from dlkit.doctor.benchmarks import cifar10, timing
from dlkit.doctor.benchmarks.comparison import compare_with_twin
from dlkit.doctor.benchmarks.timing import Timing, time_in_turns
from dlkit.doctor.checks import loaders, models, waits
from dlkit.doctor.finding import Finding, judged
from dlkit.doctor.registry import ALL, BENCHMARKS, CHECKS
from dlkit.doctor.twins.optimizers import TWINS


def test_each_entry_is_a_function() -> None:
    assert all(callable(import_object(entry.target)) for entry in ALL.values())
    assert not CHECKS.keys() & BENCHMARKS.keys()


def test_every_optimizer_every_task_and_every_family_has_its_case() -> None:
    assert TWINS.keys() == OPTIMIZERS.keys() - {"lion"}  # torch has no Lion
    assert set(TASKS) <= {name.split(" ")[0].rstrip(",") for name in waits.TASKS}
    kinds = {entry.target.split(":")[0] for entry in MODELS.values()}
    names = {"mlp", "cnn", "resnet", "fast_cnn", "convnext", "gpt", "bert"}
    assert {kind.rsplit(".", 1)[1] for kind in kinds} == names == {name.split(",")[0] for name in models.MODELS}


@pytest.mark.parametrize("name", ["loaders", "waits", "resume"])  # those that the tests of sabotage see only a part of
def test_checks_hold_on_the_cpu(bench: Bench, name: str) -> None:
    found = list(runner.run_checks({name: CHECKS[name]}, bench))
    assert found
    assert [line.finding for line in found if line.finding.verdict != "pass"] == []
    assert {line.check for line in found} == {name}
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", CHECKS)
def test_checks_hold_on_a_gpu(tmp_path: Path, name: str) -> None:
    found = list(runner.run_checks({name: CHECKS[name]}, Bench(torch.device("cuda"), tmp_path)))
    assert [line.finding for line in found if line.finding.verdict not in ("pass", "skipped")] == []


@pytest.mark.slow
def test_all_checks_hold_in_under_a_minute(bench: Bench) -> None:
    started = time.perf_counter()
    found = list(runner.run_checks(CHECKS, bench))
    assert [line.finding for line in found if line.finding.verdict not in ("pass", "skipped")] == []
    assert {line.check for line in found} == set(CHECKS)
    assert time.perf_counter() - started < 60


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_measure_on_the_cpu(bench: Bench, name: str) -> None:
    found = [line.finding for line in runner.run_checks({name: BENCHMARKS[name]}, bench)]
    assert found
    assert {finding.verdict for finding in found} <= {"measured", "pass", "skipped"}
    measured = [finding for finding in found if finding.verdict == "measured"]
    assert all(finding.numbers["ratio"] > 0 for finding in measured)
    assert all(times["n"] >= 3 for finding in measured for times in finding.numbers["times"].values())


def test_a_check_that_raises_has_failed_and_the_others_go_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Bench) -> Iterator[Finding]:
        yield judged("first", "1", "1", True)
        raise RuntimeError("\n  CUDA error: no kernel image\nfor this device")

    def whole(_: Bench) -> Iterator[Finding]:
        yield judged("second", "1", "1", True)

    monkeypatch.setattr(runner, "import_object", {CHECKS["loaders"].target: broken, CHECKS["waits"].target: whole}.get)
    begun: list[str] = []
    chosen = {name: CHECKS[name] for name in ("loaders", "waits")}
    found = list(runner.run_checks(chosen, bench, begun.append))
    assert [(line.check, line.finding.verdict) for line in found] == [
        ("loaders", "pass"), ("loaders", "fail"), ("waits", "pass"),
    ]  # fmt: skip
    assert found[1].finding.got == "RuntimeError: CUDA error: no kernel image"
    assert begun == ["loaders", "waits"]


def test_work_takes_turns_behind_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    ways = {name: lambda name=name: lambda: called.append(name) for name in ("a", "b")}
    durations = iter([3.0, 1.0, 5.0, 1.0, 4.0, 2.0])

    def timed(work: timing.Work) -> float:
        work()
        return next(durations)

    monkeypatch.setattr(timing, "_by_clock", timed)
    found = time_in_turns(ways, CPU, rounds=3, warm_up=2)
    assert "".join(called) == "aabb" + "ab" * 3
    assert found["a"].milliseconds == [3.0, 5.0, 4.0]
    assert found["a"].numbers() | {"warm_up_seconds": 0} == {
        "milliseconds": 4.0, "n": 3, "spread": 0.5, "warm_up_seconds": 0, "peak_bytes": None,
    }  # fmt: skip


def test_the_fastest_twin_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {name: Timing([value], 0.0, None) for name, value in {"dlkit": 10.0, "one": 8.0, "other": 20.0}.items()}
    bench = Bench(CPU, tmp_path)
    found = compare_with_twin(bench, "work", times, 4, "things/s", goal=0.9)
    assert (found.verdict, found.expected, found.numbers["ratio"], found.numbers["speed"]) == ("measured", "", 0.8, 400)
    monkeypatch.setattr(Bench, "on_gpu", True)
    assert compare_with_twin(bench, "work", times, 4, "things/s", goal=0.9).verdict == "fail"
    assert compare_with_twin(bench, "work", times, 4, "things/s", goal=0.8).verdict == "pass"


def test_operators_are_counted_without_views() -> None:
    x = torch.ones(4, 4)
    assert kernel_launches.kernel_launches(lambda: (x.T.T + 1).view(16).mul_(2), CPU) == 2


@pytest.mark.slow
def test_whole_runs_are_compared(bench: Bench) -> None:
    """On a few images of noise, of which nothing can be learned: both are about as good as chance."""
    generator = torch.Generator().manual_seed(0)
    splits = {
        name: Split(
            torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8),
            torch.randint(10, (count,), generator=generator),
        )
        for name, count in {"train": 32, "test": 16}.items()
    }
    found = cifar10.compare_runs(bench, make_dataset("cifar10", splits, tuple("0123456789")), runs=1)
    assert found.numbers["n"] == 1
    assert all(len(runs) == 1 and all(0 <= right < 0.8 for _, right in runs) for runs in found.numbers["runs"].values())
    assert next(cifar10.benchmark_cifar10(bench)).verdict == "skipped"


def test_what_an_absent_package_keeps_from_being_checked_is_skipped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(_: Bench) -> Iterator[Finding]:
        raise ModuleNotFoundError("No module named 'constriction'", name="constriction")
        yield

    monkeypatch.setattr(runner, "import_object", lambda target: check)
    monkeypatch.delitem(sys.modules, "constriction", raising=False)
    (found,) = runner.run_checks({"compress": CHECKS["compress"]}, bench)
    assert found.finding.verdict == "skipped"
    assert found.finding.got == "constriction is not installed: pip install constriction"


def test_what_fills_a_batch_up_is_no_part_of_it() -> None:
    """As on a GPU, where masked words come in batches of one shape."""
    inputs, targets, positions = torch.arange(6).view(2, 3), torch.tensor([4, 5]), torch.tensor([1, 2])
    filled = (torch.cat((targets, torch.tensor([-100]))), torch.cat((positions, torch.tensor([0]))))
    batch, other = (MaskedBatch(inputs, targets, chosen) for chosen in (positions, positions + 1))
    assert loaders.batch_difference(MaskedBatch(inputs, *filled, 2), batch) == ("", 0.0)
    assert loaders.batch_difference(MaskedBatch(inputs, *filled, 2), other)[0]
    with pytest.raises(ValueError, match="padding"):
        loaders.batch_difference(MaskedBatch(inputs, filled[0] + 101, filled[1], 2), batch)


def test_memory_of_graphs_counts_though_torch_calls_it_free(monkeypatch: pytest.MonkeyPatch) -> None:
    segments = [
        {"device": 0, "segment_pool_id": (0, 0), "total_size": 100, "allocated_size": 10},  # everybody's
        {"device": 0, "segment_pool_id": (0, 1), "total_size": 70, "allocated_size": 20},
        {"device": 0, "segment_pool_id": (1, 0), "total_size": 8, "allocated_size": 8},
        {"device": 1, "segment_pool_id": (0, 1), "total_size": 500, "allocated_size": 0},
    ]
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: segments)
    assert timing.graph_bytes(torch.device("cuda")) == 50
