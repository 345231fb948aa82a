"""Settings of every test: one thread a process, so that suites beside each other do not starve their thread pools."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.pop("DLKIT_DEBUG", None)


@pytest.fixture(autouse=True)
def small_numbers_again() -> Iterator[None]:
    """Training in this process sets the processor's own flush-to-zero mode, which every later test would inherit."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)
