"""The list of commands is complete and true, though it imports none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dlkit.cli.app import COMMANDS, SUMMARIES

PROGRAM = "import sys; from dlkit.__main__ import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"


def test_the_list_says_what_each_command_says_of_itself() -> None:
    assert list(SUMMARIES) == list(COMMANDS)
    for name, summary in SUMMARIES.items():
        assert " ".join((COMMANDS[name].help or "").split()).startswith(summary), name


def test_the_list_of_commands_imports_none_of_them() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for arguments, more in (
        (["--help"], {}),
        ([], {"_DLKIT_COMPLETE": "complete_bash", "COMP_WORDS": "dlkit ", "COMP_CWORD": "1"}),
    ):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], env={**environment, **more}, capture_output=True, text=True
        )
        assert "compare-optimizers" in done.stdout
        modules = done.stderr.split()
        assert "dlkit.cli.app" in modules
        assert not [module for module in modules if module.endswith(".command")], done.stdout
        assert "filelock" not in modules
