"""Settings of every test: one thread a process, so that suites beside each other do not starve their thread pools."""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.pop("DLKIT_DEBUG", None)
