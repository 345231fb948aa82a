"""What `dlkit doctor` found, as tables for a person."""

from __future__ import annotations

from collections.abc import Sequence
from shutil import get_terminal_size
from typing import Any

from dlkit.cli.narrow import packed
from dlkit.doctor.finding import CheckedFinding
from dlkit.memory import size_text

_STYLES = {"pass": "green", "fail": "bold red", "measured": "cyan", "skipped": "dim"}


def machine(found: dict[str, Any]) -> Any:
    """The machine."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    facts = _facts(found)
    width = max(20, get_terminal_size().columns - max(len(name) for name, _ in facts) - 2)
    for name, value in facts:  # a version stays beside the name of its package
        table.add_row(
            Text(name, style="bold"), Text(value if isinstance(value, str) else "\n".join(packed(value, width)))
        )
    return table


def _facts(found: dict[str, Any]) -> list[tuple[str, str | list[str]]]:
    device = found["device"]
    if found["gpu"]:
        device += f": {found['gpu']}, {size_text(found['gpu_memory_bytes'])}"
    if others := [name for name in found["devices"] if name != found["device"]]:
        device += f" (also here: {', '.join(others)})"
    facts: list[tuple[str, str | list[str]]] = [
        ("dlkit", [found["dlkit"], f"Python {found['python']}"]),
        ("packages", [f"{name} {version}" for name, version in found["packages"].items()]),
        ("processor", [found["processor"], f"{found['cores']} cores", f"{found['threads']} threads"]),
        ("device", device),
    ]
    if found["gpu"]:
        facts.append(("driver", [found["driver"], f"CUDA {found['cuda']}", f"cuDNN {found['cudnn']}"]))
    free = found["memory_free_bytes"]
    reduced = found["precision"]
    auto = "fp32" if reduced == "fp32" else f"{reduced} where a model's steps are clearly faster in it, else fp32"
    return [
        *facts,
        ("memory free", size_text(free) if free is not None else "not known"),
        ("precision auto", auto),
        ("compile", "can" if found["compiles"] else "no C++ compiler or triton was found"),
        ("data folder", [found["data_dir"], f"{size_text(found['disk_free_bytes'])} free"]),
        ("data sets", found["data_sets"] or "none is downloaded; `dlkit download --list` shows them"),
        ("this folder", [found["here"], f"{size_text(found['here_free_bytes'])} free"]),
        ("absent", [f"{name} ({use})" for name, use in found["absent"].items()] or "no package"),
    ]


def results(lines: Sequence[CheckedFinding], verdict: dict[str, Any]) -> Any:
    """Each check with what was expected and what came out, and how many held."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "what", "expected", "got", "verdict", box=None, pad_edge=False)
    before = ""
    for line in lines:
        found = line.finding
        name = "" if line.check == before else line.check
        before = line.check
        style = _STYLES[found.verdict]
        cells = [Text(text) for text in (found.subject, found.expected, found.got)]
        table.add_row(Text(name, style="bold"), *cells, Text(found.verdict, style=style))
    counts = ", ".join(f"{verdict[kind]} {word}" for kind, word in _WORDS.items() if verdict[kind])
    end = "; interrupted" if verdict["interrupted"] else ""
    summary = Text(f"{verdict['verdict']}: {counts or 'nothing'} in {verdict['seconds']:.0f} s{end}")
    summary.stylize(_STYLES[verdict["verdict"]], 0, len(verdict["verdict"]))
    return Group(table, summary)


_WORDS = {"pass": "passed", "fail": "failed", "measured": "measured", "skipped": "skipped"}
