"""The finding of a benchmark: dlkit's speed beside that of its twin."""

from __future__ import annotations

from typing import Any

from dlkit.doctor.bench import Bench
from dlkit.doctor.benchmarks.timing import Timing
from dlkit.doctor.finding import Finding

GB = 1e9


def compare_with_twin(
    bench: Bench, subject: str, times: dict[str, Timing], amount: float, unit: str, goal: float, **numbers: Any
) -> Finding:
    """The finding for work that processes `amount` of `unit` per call.

    Args:
        bench: on which it was measured.
        subject: of the finding.
        times: of "dlkit" and of its twins; dlkit is compared with the fastest twin.
        amount: per call.
        unit: of the speed, such as images/s.
        goal: the least acceptable share of the twin's speed on a GPU; on a CPU there is no goal.
        numbers: more fields of the record; MFU is also shown.
    """
    speeds = {name: 1e3 * amount / each.median for name, each in times.items()}
    best = max((name for name in speeds if name != "dlkit"), key=lambda name: speeds[name])
    ratio = speeds["dlkit"] / speeds[best]
    peak = times["dlkit"].peak_bytes
    memory = "" if peak is None else f", {peak / GB:.3g} GB beside {(times[best].peak_bytes or 0) / GB:.3g}"
    extra = "".join(f", {name} {value:.3f}" for name, value in numbers.items() if name == "MFU")
    return Finding(
        subject,
        f">= {goal:g} of {best}" if bench.on_gpu else "",
        f"{speeds['dlkit']:,.4g} {unit}, {ratio:.2f} of {speeds[best]:,.4g}{extra}{memory}",
        ("pass" if ratio >= goal else "fail") if bench.on_gpu else "measured",
        {
            "unit": unit,
            "speed": speeds["dlkit"],
            "ratio": ratio,
            "goal": goal if bench.on_gpu else None,
            "times": {name: {"speed": speeds[name], **each.numbers()} for name, each in times.items()},
            **numbers,
        },
    )
