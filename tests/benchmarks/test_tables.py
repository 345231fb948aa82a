"""The same rows from CSV and from Parquet, a million of 20 columns: time and memory until the training has its data.

    python -m pytest -m benchmark -s tests/benchmarks/test_tables.py

Each run is a process of its own, and the two kinds take turns. n = 7.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

ROWS, COLUMNS, REPEATS = 1_000_000, 20, 7
MOST_SECONDS = 2.0  # that CSV takes longer
READ = """
import json, resource, sys, time
import torch
from dlkit.data.tables import table_data
began = time.perf_counter()
getattr(table_data, sys.argv[1])(path=sys.argv[2], label="kind", validation=0.1)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([time.perf_counter() - began, memory]))
"""


@pytest.mark.benchmark
def test_csv_is_read_nearly_as_fast_as_parquet(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(ROWS, COLUMNS)).round(6)
    columns = {f"x{i}": values[:, i] for i in range(COLUMNS)}
    table = pa.table({**columns, "kind": np.array(["ant", "bee", "cat", "dog"])[draw.integers(0, 4, ROWS)]})
    pyarrow.csv.write_csv(table, tmp_path / "csv", pyarrow.csv.WriteOptions(quoting_style="needed"))
    pyarrow.parquet.write_table(table, tmp_path / "parquet")
    found: dict[str, list[tuple[float, float]]] = {"csv": [], "parquet": []}
    for turn in range(REPEATS):
        for kind in list(found)[:: 1 if turn % 2 else -1]:
            command = [sys.executable, "-c", READ, kind, str(tmp_path / kind)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[kind].append(tuple(json.loads(output)))
    seconds = {kind: statistics.median(one[0] for one in runs) for kind, runs in found.items()}
    memory = {kind: max(one[1] for one in runs) for kind, runs in found.items()}
    print("".join(f"\n{kind}: {seconds[kind]:.2f} s, {memory[kind]:.0f} MB" for kind in found))
    assert seconds["csv"] < seconds["parquet"] + MOST_SECONDS
