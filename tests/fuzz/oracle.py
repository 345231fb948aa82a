"""What must hold of any command line whatever: how it ends, what it says, what it leaves behind."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CODES = frozenset([0, 1, 2, 3, 130, 143])
# What differs between two runs of the same, and what is not finite for a good reason.
VOLATILE = re.compile(r"seconds|per_second|share|path|bytes_out|model_bytes|threads|time")
LEFT = re.compile(r"\.tmp$|\.part$|^tmp|~$")


@dataclass
class Ended:
    """How a command ended. `code` is None where it had to be killed, and minus a signal where one killed it."""

    code: int | None
    out: str
    err: str
    seconds: float
    made: list[Path]  # relative paths that were not there before


def _reject(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def records(out: str) -> list[Any]:
    """The JSON Lines on stdout. Raises ValueError where they are none."""
    return [json.loads(line, parse_constant=_reject) for line in out.split("\n") if line]


def plain(value: Any) -> Any:
    """A record without what differs from run to run."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if not VOLATILE.search(key)}
    return [plain(item) for item in value] if isinstance(value, list) else value


def alike(one: Any, other: Any) -> bool:
    """Whether two records say the same, up to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5)
    return one == other


def complaints(ended: Ended, arguments: list[str], reference: Ended | None = None) -> list[str]:
    """Everything that is wrong with how a command ended; nothing where all is well."""
    found = [*_end(ended), *_words(ended), *_left_behind(ended)]
    if "".join(arguments[:1]) not in ("recipes", "") and not {"-q", "--quiet", "-h", "--help"} & {*arguments}:
        found += _records(ended)
    if reference is not None and ended.code == 0 and reference.code == 0:
        try:
            same = alike(plain(records(ended.out)), plain(records(reference.out)))
        except ValueError:
            same = ended.out == reference.out
        if not same:
            found.append("the damage went unseen, and changed the result")
    return found


def _end(ended: Ended) -> list[str]:
    if ended.code is None:
        return [f"it did not end within {ended.seconds:.0f} s, nor when it was asked to"]
    return [] if ended.code in CODES else [f"exit code {ended.code}"]


def _words(ended: Ended) -> list[str]:
    found = [f"stderr has {word!r}" for word in ("Traceback", "internal error", "Fatal Python") if word in ended.err]
    errors = [line for line in ended.err.split("\n") if line.startswith("error: ")]
    hints = [line for line in ended.err.split("\n") if line.startswith("hint: ")]
    usage = ended.err.startswith("Usage: ")
    if ended.code in (1, 2) and not usage and len(errors) != 1:
        found.append(f"{len(errors)} lines begin with `error: `")
    if ended.code in (1, 2) and len(hints) > 1:
        found.append(f"{len(hints)} hints")
    if any(len(line) > 4000 for line in errors):
        found.append("an error of more than 4,000 characters")
    if ended.code == 0 and errors:
        found.append("exit code 0 after an error")
    return found


def _records(ended: Ended) -> list[str]:
    if ended.code not in (0, 3):
        return []
    try:
        parsed = records(ended.out)
    except ValueError as error:
        binary = "�" in ended.out or not ended.out.lstrip().startswith("{")
        return [] if binary else [f"stdout is not JSON Lines: {error}"]
    bad: list[str] = []
    for record in parsed:
        metrics = record.get("metrics") if isinstance(record, dict) else None
        if isinstance(metrics, dict) and not record.get("diverged"):
            bad += [f"{name} is not finite, and the exit code is 0" for name, x in metrics.items() if x is None]
    return bad


def _left_behind(ended: Ended) -> list[str]:
    found = [f"{path} is left behind" for path in ended.made if LEFT.search(path.name)]
    if ended.code == 2:
        found += [f"{path} was made for a wrong request" for path in ended.made if path.name != ".lock"]
    return found
