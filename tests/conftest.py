"""Settings of every test: one thread a process, so that suites beside each other do not starve their thread pools."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

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


class Killed(BaseException):
    """Ends a command where it is."""


_CHANGES = ("fsync", "mkdir", "rename", "replace", "rmdir", "symlink", "truncate", "unlink")


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], bool]:
    """killed(n, command) calls it and ends it behind n changes on the disk by this thread: whether it had not ended."""
    here = threading.current_thread()

    def watched(original: Callable[..., Any], left: Iterator[int]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread() is here and next(left, None) is None:
                raise Killed
            return original(*arguments, **options)

        return change

    def call(changes: int, command: Callable[[], object]) -> bool:
        left = iter(range(changes))
        with monkeypatch.context() as patch:
            for name in _CHANGES:
                patch.setattr(os, name, watched(getattr(os, name), left))
            try:
                command()
            except Killed:
                return True
        return False

    return call
