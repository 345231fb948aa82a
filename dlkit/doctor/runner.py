"""Run checks one after another. One that raises counts as failed, and the others still run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch

from dlkit.catalog import import_object
from dlkit.doctor.bench import Bench
from dlkit.doctor.finding import CheckedFinding, Finding, skipped
from dlkit.doctor.registry import Check
from dlkit.doctor.system import PACKAGES
from dlkit.guarded_import import package_to_install
from dlkit.training.device import choose_kernels
from dlkit.training.precision import set_matmul_precision


def run_checks(
    checks: Mapping[str, Check], bench: Bench, begin: Callable[[str], None] = lambda _: None
) -> Iterator[CheckedFinding]:
    """Findings as they come. `begin` is called with the name of each check before it runs.

    A check may leave the device unusable; later checks then fail.
    """
    for name, entry in checks.items():
        begin(name)
        started = time.perf_counter()
        for finding in _guarded(entry, bench):
            now = time.perf_counter()
            yield CheckedFinding(name, finding, now - started)
            started = now
        _tidy(bench)


def _guarded(entry: Check, bench: Bench) -> Iterator[Finding]:
    try:
        found: Iterable[Finding] = import_object(entry.target)(bench)
        yield from found
    except Exception as error:  # whatever a kernel, a compiler or a driver raises
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        package = package_to_install(absent)
        if package is not None and absent in PACKAGES:
            yield skipped("", entry.help, f"{package} is not installed: pip install {package}")
        else:
            yield Finding("", entry.help, f"{type(error).__name__}: {first_line(error)}", "fail")


def first_line(error: Exception) -> str:
    """The first non-empty line of an error's message, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"


def _tidy(bench: Bench) -> None:
    """Reset compiled code, cached memory and global switches before the next check."""
    torch.compiler.reset()
    torch.set_flush_denormal(False)
    set_matmul_precision("fp32")
    choose_kernels(deterministic=False, benchmark=False)
    if bench.on_gpu:
        torch.cuda.empty_cache()
