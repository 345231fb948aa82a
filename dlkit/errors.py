"""The errors that a user sees, each with its exit code.

They are those of functions as well as of commands: an argument stands in backquotes, as `run_dir`, and the command line
prints it as its option, --run-dir.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass


class DlkitError(Exception):
    """The work failed: missing data, divergence, a corrupt file, a full disk. Exit code 1.

    Args:
        message: what is wrong, with the offending value.
        hint: what to do about it.
        override: KEY=VALUE that would do it, which the command line shows as a whole command.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None, override: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.override = override


class RequestError(DlkitError):
    """The request is wrong: usage, recipe or override. Exit code 2."""

    exit_code = 2


class DivergedError(DlkitError):
    """A loss, a metric or the weights are no longer finite. Exit code 1."""


class NotFiniteError(DlkitError):
    """A weight, an output or a metric is NaN or infinite. Exit code 1."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        usual = "the weights or the data hold numbers that are not finite: use an earlier checkpoint, or train anew"
        super().__init__(message, hint or usual)


class VerdictError(DlkitError):
    """An asserted verdict does not hold. Exit code 3."""

    exit_code = 3


@dataclass(frozen=True, order=True)
class Problem:
    """One problem of a recipe: `where` is `file.yaml:LINE` or the override, `key` is dotted."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


class RecipeError(RequestError):
    """A recipe is invalid; `problems` lists everything that is wrong with it, or with `what` it is instead."""

    def __init__(self, problems: list[Problem], hint: str | None = None, what: str = "the recipe") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint)
        self.problems = problems
        self.what = what


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise RequestError unless the value of an option is one of its choices."""
    if value not in choices:
        raise RequestError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def shell_word(value: object) -> str:
    """A path or a value as one word of a command that can be pasted into a shell."""
    return shlex.quote(str(value))


def error_line(error: BaseException) -> str:
    """The message of an error from elsewhere on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200]
