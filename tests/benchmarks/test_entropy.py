"""Order-0 and order-2 statistics of a long stream beside `ent`.

    pytest -m benchmark tests/benchmarks/test_entropy.py -s

Text is this package's own source, repeated; random bytes are the worst case of order 2, whose table then exceeds every
cache. Sides alternate; the table shows medians of wall time, start-up included, and the peak of memory.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

BYTES = int(os.environ.get("BENCH_BYTES", 1_000_000_000))
REPEATS = 7
MEASURE = (
    "import resource, sys; from dlkit.cli.app import run; code = run(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
)


def contents(kind: str) -> bytes:
    if kind == "random":
        return random.Random(0).randbytes(1 << 24)
    return b"".join(path.read_bytes() for path in sorted((Path(__file__).parents[2] / "dlkit").rglob("*.py")))


@pytest.mark.benchmark
@pytest.mark.skipif(shutil.which("ent") is None, reason="ent is not installed")
@pytest.mark.parametrize("kind", ["text", "random"])
def test_a_long_stream_beside_ent(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, part, left = tmp_path / kind, contents(kind), BYTES
    with path.open("wb") as file:
        while left > 0:
            left -= file.write(part[:left])
    dlkit = [sys.executable, "-c", MEASURE, "entropy", str(path), "--json"]
    sides = {"ent": ["ent", "-t", str(path)], "order 0": dlkit, "order 2": [*dlkit, "--order", "2"]}
    repeats = {"ent": REPEATS, "order 0": REPEATS, "order 2": REPEATS if kind == "text" else 1}
    times: dict[str, list[float]] = {name: [] for name in sides}
    memory: dict[str, float] = {}
    for repeat in range(REPEATS):
        for name, command in sides.items():
            if repeat < repeats[name]:
                begin = time.perf_counter()
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                times[name].append(time.perf_counter() - begin)
                memory[name] = int(done.stderr or 0) / 1024
    median = {name: statistics.median(values) for name, values in times.items()}
    with capfd.disabled():
        print(f"\n{BYTES / 1e6:,.0f} MB of {kind}: medians of {REPEATS}")
        for name, seconds in median.items():
            rates = f"{BYTES / seconds / 1e6:6.0f} MB/s  {median['ent'] / seconds:5.2f}x ent"
            print(f"  {name:8} {seconds:7.2f} s  {rates}  {memory[name]:5.0f} MB")
