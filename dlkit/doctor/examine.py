"""Run checks one after the other; one that raises has failed, and the others go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch

from dlkit.catalog import import_object
from dlkit.doctor.bench import Bench
from dlkit.doctor.finding import Examined, Finding, skipped
from dlkit.doctor.machine import PACKAGES
from dlkit.doctor.registry import Entry
from dlkit.train.device import choose_kernels
from dlkit.train.precision import set_matmul_precision
from dlkit.tried_import import package_of


def examine(
    checks: Mapping[str, Entry], bench: Bench, begin: Callable[[str], None] = lambda _: None
) -> Iterator[Examined]:
    """What each check finds, as it is found. `begin` hears of each check before it runs.

    A check may leave the device unusable; those behind it then fail, and say so.
    """
    for name, entry in checks.items():
        begin(name)
        started = time.perf_counter()
        for finding in _guarded(entry, bench):
            now = time.perf_counter()
            yield Examined(name, finding, now - started)
            started = now
        _tidy(bench)


def _guarded(entry: Entry, bench: Bench) -> Iterator[Finding]:
    try:
        found: Iterable[Finding] = import_object(entry.target)(bench)
        yield from found
    except Exception as error:  # whatever a kernel, a compiler or a driver raises is a finding
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        package = package_of(absent)
        if package is not None and absent in PACKAGES:
            yield skipped("", entry.help, f"{package} is not installed: pip install {package}")
        else:
            yield Finding("", entry.help, f"{type(error).__name__}: {first_line(error)}", "fail")


def first_line(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"


def _tidy(bench: Bench) -> None:
    """Leave nothing to the next check: compiled code, cached memory, switches of the process."""
    torch.compiler.reset()
    torch.set_flush_denormal(False)
    set_matmul_precision("fp32")
    choose_kernels(deterministic=False, benchmark=False)
    if bench.on_gpu:
        torch.cuda.empty_cache()
