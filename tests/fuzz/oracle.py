"""What must hold of any command line whatever: how it ends, what it says, what it leaves behind."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What differs between two runs of the same.
VOLATILE = re.compile(r"seconds|per_second|share|path|bytes_out|model_bytes|threads|time")
LEFT = re.compile(r"\.tmp$|\.part$|^tmp|~$")
TORCH_CACHE = re.compile(r"torchinductor_\w+")  # torch's own cache of compiled code, which the next program takes up
BAD_WORDS = ("Traceback", "internal error", "Fatal Python", "terminate called", "Warning: ", "Exception ignored")
# Where stdout may be something else than JSON Lines: with these options, by command.
BINARY = {
    "compress": ("-",), "decompress": ("-",), "recipes": ("list", "show", "schema", "copy"), "review": ("show",),
}  # fmt: skip
# Commands that leave everything they were asked for, or nothing. Others keep what was finished before they failed.
WHOLE = ("compress", "decompress", "export", "recipes")
STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")  # of a terminal
QUIET = {"-q", "--quiet"}


@dataclass
class Ended:
    """How a command ended. `code` is None where it had to be killed, and minus a signal where one killed it."""

    code: int | None
    out: bytes
    err: str
    seconds: float
    worked: float = 0.0  # seconds of the processor
    terminated: bool = False  # whether it had to be asked to end
    environment: str = "plain"
    made: list[Path] = field(default_factory=list)  # relative paths that were not there before
    touched: list[Path] = field(default_factory=list)  # those that were, and have other bytes or none now
    wrong_files: list[str] = field(default_factory=list)  # what was made and is no JSON
    contents: dict[str, str] = field(default_factory=dict)  # SHA-256 of what was made
    temporary: list[str] = field(default_factory=list)  # what it left in the folder for temporary files
    orphans: bool = False  # whether processes that it started were still there


def _reject(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def parse(text: str) -> Any:
    """One JSON value. Raises ValueError where it is none; NaN and Infinity are none."""
    return json.loads(text, parse_constant=_reject)


def records(out: bytes) -> list[Any]:
    """The JSON Lines on stdout. Raises ValueError where they are none, or no UTF-8."""
    return [parse(line) for line in out.decode("utf-8").split("\n") if line]


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
    found = [*_end(ended, arguments), *_words(ended), *_left_behind(ended, arguments)]
    if ended.environment not in ("no stdout", "terminal", "pipe", "full") and not {"-h", "--help"} & {*arguments}:
        found += _quiet(ended) if QUIET & {*arguments} else _records(ended, arguments)
    return found if reference is None else found + _against(ended, reference)


def _against(ended: Ended, reference: Ended) -> list[str]:
    """What a command says of damaged files, beside what it says of the intact ones."""
    if reference.code != 0:
        return [f"the intact files give exit code {reference.code}: {reference.err[-300:]}"]
    if ended.code != 0:
        return []
    try:
        same = alike(plain(records(ended.out)), plain(records(reference.out)))
    except ValueError:
        same = ended.out == reference.out
    files = all(ended.contents.get(path) == known for path, known in reference.contents.items())
    return [] if same and files else ["the damage went unseen, and changed the result"]


def _end(ended: Ended, arguments: list[str]) -> list[str]:
    if ended.code is None:
        return [f"it did not end within {ended.seconds:.0f} s, nor when it was asked to"]
    allowed = {0, 1, 2}
    if {word.partition("=")[0] for word in arguments} & {"--assert", "--target"}:
        allowed.add(3)
    if ended.environment == "pipe":
        allowed.add(141)
    if _aborted(ended):
        allowed |= {127, -6}
    if ended.terminated:
        allowed.add(143)
        if ended.worked < 1:
            return [f"it waited for something, for {ended.seconds:.0f} s"]
        if not (ended.err.strip() or ended.out or QUIET & {*arguments}):
            return [f"it worked for {ended.worked:.0f} s without a word"]
    return [] if ended.code in allowed else [f"exit code {ended.code}"]


def _aborted(ended: Ended) -> bool:
    """Whether C or C++ ended the process where memory was limited, of which no program learns."""
    message = re.search("cannot allocate memory|bad_alloc", ended.err)
    return ended.environment == "little memory" and ended.code in (127, -6) and message is not None


def _words(ended: Ended) -> list[str]:
    if _aborted(ended):
        return []
    found = [f"stderr has {word!r}" for word in BAD_WORDS if word in ended.err]
    if ended.environment == "no stderr":
        return found
    lines = STEERING.sub("", ended.err).split("\n")  # a live view is wiped away before the error is written
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
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


def _quiet(ended: Ended) -> list[str]:
    text = ended.out.decode("utf-8", "replace").strip().lower()
    if ended.code == 0 and text in ("nan", "inf", "-inf", "none", "null"):
        return [f"{text} on stdout, and the exit code is 0"]
    return []


def _records(ended: Ended, arguments: list[str]) -> list[str]:
    if not ended.out or any(word in arguments for word in BINARY.get(arguments[0] if arguments else "", ())):
        return []
    if ended.out.startswith(b"dlkit ") or ended.out.startswith(b"Usage: "):  # --version, and help
        return []
    try:
        parsed = records(ended.out)
    except ValueError as error:
        # a line is cut where the disk is full, and the error says so
        return [] if "cannot write the result" in ended.err else [f"stdout is not JSON Lines: {error}"]
    bad = [f"a record is {record!r}" for record in parsed if not isinstance(record, dict)]
    for record in parsed:
        metrics = record.get("metrics") if isinstance(record, dict) else None
        if isinstance(metrics, dict) and not record.get("diverged") and ended.code in (0, 3):
            bad += [f"{name} is not finite, and the exit code is 0" for name, x in metrics.items() if x is None]
    return bad


def _left_behind(ended: Ended, arguments: list[str]) -> list[str]:
    found = [f"{path} is left behind" for path in ended.made if LEFT.search(path.name)]
    found += [
        f"{name} is left behind in the folder for temporary files"
        for name in ended.temporary
        if not TORCH_CACHE.fullmatch(name)
    ]
    found += ended.wrong_files
    if ended.orphans:
        found.append("processes are left behind")
    # files are whole before their record is printed, which a full stdout then refuses
    unfinished = ended.code == 1 and arguments[0] in WHOLE and ended.environment != "full"
    if ended.code == 2 or unfinished:
        found += [f"{path} was made, and the exit code is {ended.code}" for path in ended.made if path.name != ".lock"]
        found += [f"{path} was changed, and the exit code is {ended.code}" for path in ended.touched]
    return found
