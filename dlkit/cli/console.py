"""Where output goes: results to stdout, everything else to stderr, each in the form that its reader wants.

On a terminal a result is a table; elsewhere, or with `--json`, it is JSON Lines: one object a line, in which a number
that is not finite is null. `--quiet` prints a single value.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from dlkit.app.events import Remark
from dlkit.distributed.torchrun import is_first_process
from dlkit.errors import DlkitError, RecipeError, RequestError
from dlkit.strict_json import json_text

if TYPE_CHECKING:
    from dlkit.cli.written_table import TableForm, WrittenTable

E = TypeVar("E")


def escaped(text: str) -> str:
    """The text on one line: control characters, line breaks and undecodable bytes are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable(text: str) -> str:
    """The text with its line breaks and tabs, but nothing that steers a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def duration(seconds: float) -> str:
    """`75` as `1:15`."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def write_stderr(text: str) -> None:
    """A line on stderr, if there is one to write to."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)


def note(text: str) -> None:
    """A remark on stderr, on one line. Of several processes only the first makes it."""
    if is_first_process():
        write_stderr(escaped(text))


_LONGEST = 2000  # characters of a line
CHECK_PATH = "check the path, its permissions and the space on the disk"


def report(error: DlkitError) -> None:
    """An error and its hint on stderr; the problems of a recipe each on a line of their own before that."""
    if isinstance(error, RecipeError):
        for problem in error.problems:
            write_stderr(_cut(escaped(str(problem))))
        count = len(error.problems)
        write_stderr(f"error: {count} problem{'s' if count > 1 else ''} in {error.what}")
    else:
        write_stderr(f"error: {_cut(escaped(spell_options(error.message)))}")
    hint = error.hint or (CHECK_PATH if isinstance(error.__cause__, OSError) else None)
    if hint:
        write_stderr(f"hint: {_cut(escaped(spell_options(hint)))}")


def spell_options(text: str) -> str:
    """An error's text for the command line, where a function's argument `run_dir` is the option --run-dir."""
    return re.sub(r"`([a-z][a-z_]*)`", lambda argument: "--" + argument[1].replace("_", "-"), text)


def _cut(line: str) -> str:
    """A line short enough to read: of a very long one, the beginning and the end."""
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 200]}...{line[-200:]}"


def is_plain(stream: Any) -> bool:
    """Whether a stream wants plain text: no terminal, a dumb one, or NO_COLOR is set (https://no-color.org)."""
    dumb = os.environ.get("TERM", "dumb") in ("dumb", "")
    return dumb or bool(os.environ.get("NO_COLOR")) or stream is None or not stream.isatty()


def live_console() -> Any:
    """A rich console on stderr for a live view, or None where only plain lines are wanted."""
    if is_plain(sys.stderr) or not is_first_process():
        return None
    from rich.console import Console

    return Console(stderr=True)


def show_tables(shown: Any) -> None:
    """Print tables for a person on stdout, so that no number is cut however narrow the terminal is."""
    from rich.console import Console

    from dlkit.cli.narrow import fit_width

    console = Console()
    console.print(fit_width(shown, console))


class Output:
    """What a command prints: results and progress. Of several processes only the first prints anything.

    Args:
        as_json: JSON Lines even on a terminal.
        quiet: print only the value that the command names, and no progress.
        form: of tables that are to be written instead of records, `markdown` or `latex`.

    Raises:
        RequestError: more than one of them is asked for.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False, form: TableForm | None = None) -> None:
        self.quiet, self.form = quiet, form
        if form is not None and (as_json or quiet):
            other = "--json" if as_json else "--quiet"
            raise RequestError(f"--table {form} and {other} exclude each other", "leave one of them out")
        self.tables = not as_json and not quiet and form is None and sys.stdout.isatty()

    def console(self) -> Any:
        """For a live view, as `live_console`; None where that is not wanted."""
        return None if self.quiet else live_console()

    def say(self, text: str) -> None:
        """A plain line of progress on stderr; none if quiet."""
        if not self.quiet:
            note(text)

    def remark(self, remark: Remark) -> None:
        """A remark on stderr; a routine one only if not quiet."""
        if not (remark.routine and self.quiet):
            note(remark.text)

    def without_remarks(self, events: Iterable[Remark | E]) -> Iterator[E]:
        """The events of a workflow; remarks go to stderr as they come."""
        for event in events:
            if isinstance(event, Remark):
                self.remark(event)
            else:
                yield event

    def emit(self, record: Mapping[str, Any], value: Any, table: Callable[[], Any]) -> None:
        """Print one result: the record, the value that a script wants of it, or the table for a person."""
        if not is_first_process():
            return
        if self.quiet:
            if value is not None:
                self.line(str(value))
        elif self.tables:
            show_tables(table())
        else:
            self.line(json_text(record))

    def write(self, *tables: WrittenTable) -> None:
        """Print tables in the form that was asked for, an empty line between two."""
        assert self.form is not None
        self.line("\n\n".join(table.as_text(self.form) for table in tables))

    def line(self, text: str) -> None:
        """Print a line on stdout at once, so that a reader at the other end of a pipe need not wait.

        It is UTF-8 under any locale; a file name that is not valid UTF-8 is printed as its own bytes.

        Raises DlkitError where there is no room for it, as on a full disk.
        """
        if not is_first_process():
            return
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(as_bytes(text) + b"\n")
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            drop_output()
            raise DlkitError(f"cannot write the result: {error.strerror or error}", "is there room for it?") from error


def drop_output() -> None:
    """Discard what is left in the buffer of stdout, which cannot be written any more.

    Only of the real stdout: an object that a caller has put in its place is left alone.
    """
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout.fileno() == 1:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.close(nowhere)


def as_bytes(text: str) -> bytes:
    """The text in UTF-8, bytes of a file's name as they are, and any other half of a surrogate pair spelled out."""
    with contextlib.suppress(UnicodeEncodeError):
        return text.encode("utf-8", "surrogateescape")
    return text.encode("utf-8", "backslashreplace")
