"""What `dlkit doctor` found, as tables for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlkit.doctor.finding import CheckedFinding
from dlkit.memory import size_text

_STYLES = {"pass": "green", "fail": "bold red", "measured": "cyan", "skipped": "dim"}


def machine(found: dict[str, Any]) -> Any:
    """The machine."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _facts(found):
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    device = found["device"]
    if found["gpu"]:
        device += f": {found['gpu']}, {size_text(found['gpu_memory_bytes'])}"
    if others := [name for name in found["devices"] if name != found["device"]]:
        device += f" (also here: {', '.join(others)})"
    facts = [
        ("dlkit", f"{found['dlkit']}, Python {found['python']}"),
        ("packages", packages),
        ("processor", f"{found['processor']}, {found['cores']} cores, {found['threads']} threads"),
        ("device", device),
    ]
    if found["gpu"]:
        facts.append(("driver", f"{found['driver']}, CUDA {found['cuda']}, cuDNN {found['cudnn']}"))
    free = found["memory_free_bytes"]
    reduced = found["precision"]
    auto = "fp32" if reduced == "fp32" else f"{reduced} where a model's steps are clearly faster in it, else fp32"
    return [
        *facts,
        ("memory free", size_text(free) if free is not None else "not known"),
        ("precision auto", auto),
        ("compile", "can" if found["compiles"] else "no C++ compiler or triton was found"),
        ("data folder", f"{found['data_dir']}, {size_text(found['disk_free_bytes'])} free"),
        ("data sets", ", ".join(found["data_sets"]) or "none is downloaded; `dlkit download --list` shows them"),
        ("this folder", f"{found['here']}, {size_text(found['here_free_bytes'])} free"),
        ("absent", ", ".join(f"{name} ({use})" for name, use in found["absent"].items()) or "no package"),
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
