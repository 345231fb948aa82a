"""`dlkit doctor`: what this machine can do; and whether dlkit computes here what it should, and how fast."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit import recipe
from dlkit.cli.console import Output
from dlkit.cli.doctor import view
from dlkit.cli.options import DataDir, Device, Json, Quiet
from dlkit.doctor.registry import ALL, BENCHMARKS, CHECKS, Check
from dlkit.errors import DlkitError, RequestError
from dlkit.storage.atomic_file import require_target, write_text
from dlkit.strict_json import json_text

if TYPE_CHECKING:
    from dlkit.doctor.finding import CheckedFinding


def doctor_command(
    check: Annotated[
        bool, typer.Option("--check", help="Compare what dlkit computes here with twins in bare torch.")
    ] = False,
    benchmark: Annotated[bool, typer.Option("--benchmark", help="Time it beside twins in bare torch.")] = False,
    only: Annotated[
        str | None, typer.Option(metavar="NAMES", help=f"Only these, separated by commas: {', '.join(ALL)}.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Shorter measurements.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Also write all of it to a file; alone, it runs --check and --benchmark."
        ),
    ] = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Say what this machine can do, and try it.

    Without options it tries nothing, and answers at once on any machine. --check takes about a minute, --benchmark some
    minutes on a GPU (on a CPU it times small models, and promises no speed). Each line gives a check, what was
    expected, what was found, and the verdict. -q prints pass or fail, or the device if nothing was tried. Exit code 1
    if a check fails. What was measured before Ctrl-C is kept.

    \b
    Examples:
      dlkit doctor
      dlkit doctor --device cuda --report gpu.json
      dlkit doctor --check --only optimizers,loaders
    """
    chosen = _chosen(check, benchmark, only, report is not None)
    if quick and not chosen:
        raise RequestError("--quick is about what is tried", "dlkit doctor --check --benchmark --quick")
    if report is not None:
        require_target("--report", report, (".json",))

    from dlkit.doctor import system
    from dlkit.training.device import pick_device

    output = Output(as_json, quiet)
    torch_device = pick_device(device)
    found = system.describe_system(torch_device)
    if not chosen:
        output.emit(found, found["device"], lambda: view.machine(found))
        return 0
    if not quiet:
        output.emit(found, None, lambda: view.machine(found))
    _examine(chosen, torch_device, found, output, report, quick)
    return 0


def _chosen(check: bool, benchmark: bool, only: str | None, reported: bool) -> dict[str, Check]:
    """The checks that are asked for. Raises RequestError where there is no such check."""
    if only is None:
        both = reported and not check and not benchmark
        return {**(CHECKS if check or both else {}), **(BENCHMARKS if benchmark or both else {})}
    kinds = {**(CHECKS if check or not benchmark else {}), **(BENCHMARKS if benchmark or not check else {})}
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in kinds:
            known = ", ".join(kinds)
            raise RequestError(f"--only: no check {name!r}{recipe.closest(name, kinds)}", f"these are: {known}")
    return {name: entry for name, entry in kinds.items() if name in names}


def _examine(
    chosen: Mapping[str, Check],
    torch_device: Any,
    found: dict[str, Any],
    output: Output,
    report: Path | None,
    quick: bool,
) -> None:
    """Run the checks, printing and writing down each finding as it comes. Raises DlkitError if one fails."""
    from dlkit.doctor.bench import Bench
    from dlkit.doctor.runner import run_checks

    started, lines = time.perf_counter(), list["CheckedFinding"]()
    interrupted = True
    try:
        with tempfile.TemporaryDirectory(prefix="dlkit-doctor-") as folder:
            for line in run_checks(
                chosen, Bench(torch_device, Path(folder), quick), lambda name: output.say(f"checking {name}")
            ):
                lines.append(line)
                if not output.quiet and not output.tables:
                    output.line(json_text(line.record()))
                _write(report, found, lines, verdict_of(lines, started, True))
        interrupted = False
    finally:  # Ctrl-C, too, leaves what was measured
        verdict = verdict_of(lines, started, interrupted)
        _write(report, found, lines, verdict)
        output.emit(verdict, verdict["verdict"], lambda: view.results(lines, verdict))
    if failed := [line for line in lines if line.finding.verdict == "fail"]:
        again = ",".join(dict.fromkeys(line.check for line in failed))
        raise DlkitError(
            f"{len(failed)} of {len(lines)} checks failed: {verdict['failed'][0]}"
            + (f" and {len(failed) - 1} more" if len(failed) > 1 else ""),
            f"run only what failed: dlkit doctor --only {again}",
        )


def verdict_of(lines: list[CheckedFinding], started: float, interrupted: bool) -> dict[str, Any]:
    """How many checks held; `interrupted` before all were run."""
    counts = {
        kind: sum(line.finding.verdict == kind for line in lines) for kind in ("pass", "fail", "measured", "skipped")
    }
    failed = [f"{line.check}: {line.finding.subject}" for line in lines if line.finding.verdict == "fail"]
    return {
        "kind": "verdict",
        "verdict": "fail" if failed else "pass",
        **counts,
        "failed": failed,
        "interrupted": interrupted,
        "seconds": round(time.perf_counter() - started, 2),
    }


def _write(report: Path | None, found: dict[str, Any], lines: list[CheckedFinding], verdict: dict[str, Any]) -> None:
    """The report as it stands."""
    if report is not None:
        whole = {"machine": found, "checks": [line.record() for line in lines], "verdict": verdict}
        write_text(report, json_text(whole, indent=1) + "\n")
