"""Errors name an argument as a function has it; the command line names its option."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import dlkit
from dlkit.cli.console import spell_options

PACKAGE = Path(dlkit.__file__).parent
# What only a command can meet.
OF_COMMANDS = ("cli", "download", "doctor")
COMMANDS = re.compile(r"\b(dlkit|compress|compare-optimizers|hf|git)\b|^\? --")  # or one that begins with a value


def error_texts(path: Path) -> list[str]:
    """Every text that an error is made of, with `?` for the values in it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error")):
            continue
        for argument in node.args:
            parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "?" for part in parts))
    return found


def test_no_error_of_a_function_speaks_of_options() -> None:
    found = [
        (str(path.relative_to(PACKAGE)), text)
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in OF_COMMANDS
        for text in error_texts(path)
        if re.search(r"(^|\W)--[a-z]", text) and not COMMANDS.search(text)
    ]
    assert found == []


def test_the_command_line_spells_arguments_as_options() -> None:
    assert spell_options("choose another `run_dir`, or `resume`") == "choose another --run-dir, or --resume"
    assert spell_options("`uniq -c` and `dlkit download --list`") == "`uniq -c` and `dlkit download --list`"


def test_a_function_and_its_command_name_one_thing_in_their_own_ways(capfd: pytest.CaptureFixture[str]) -> None:
    from dlkit.cli.app import run

    with pytest.raises(dlkit.RequestError, match="`resume` needs `out`"):
        dlkit.compare_optimizers("ravine", resume=True)
    assert run(["compare-optimizers", "ravine", "--resume"]) == 2
    assert capfd.readouterr().err.splitlines()[0] == "error: --resume needs --out"
