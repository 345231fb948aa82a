"""A bench on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlkit.doctor.bench import CPU, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(CPU, tmp_path, quick=True)
