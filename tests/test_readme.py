"""Every command that README shows is run, in the order in which it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
# Blocks that start with `$ ` are transcripts: their commands run in one shell, block by block, in one directory.
BLOCKS = re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
COMMANDS = [re.findall(r"^\$ (.*?)$", block.replace("\\\n", " "), flags=re.MULTILINE) for block in BLOCKS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def test_readme_shows_commands() -> None:
    flat = " ".join(command for commands in COMMANDS for command in commands)
    for command in ("dlkit train", "dlkit eval", "dlkit recipes"):
        assert command in flat


def run_block(commands: list[str], program: list[str], folder: Path) -> None:
    prelude = f'set -eo pipefail; dlkit() {{ {shlex.join(program)} "$@"; }}; python() {{ {sys.executable} "$@"; }}\n'
    environment = {**os.environ, "PYTHONPATH": str(README.parent)}
    script = prelude + "\n".join(commands)
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=folder, env=environment)
    absent = re.search(r"error: this needs (\S+), which is not installed", result.stderr)
    if result.returncode == 2 and absent is not None and find_spec(absent[1]) is None:
        pytest.skip(absent[0])
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr


def shortened(command: str) -> str:
    """The command with an epoch of training where it says nothing of how long."""

    def short(train: re.Match[str]) -> str:
        words = train[0].rstrip()
        return train[0] if "train." in words else f"{words} train.epochs=1 "

    return re.sub(r"dlkit train [^|&;)]*", short, command)


blocks = pytest.mark.parametrize("commands", COMMANDS, ids=lambda commands: commands[0][:60])


@blocks
def test_commands_of_a_block(folder: Path, commands: list[str], warm: list[str]) -> None:
    run_block([shortened(command) for command in commands], warm, folder)


@pytest.mark.slow
@blocks
def test_commands_of_a_block_as_they_stand(folder: Path, commands: list[str]) -> None:
    run_block(commands, [sys.executable, "-m", "dlkit"], folder)


def test_every_command_and_recipe_is_in_the_readme() -> None:
    from dlkit import recipe

    text = README.read_text(encoding="utf-8")
    for name in recipe.shipped():
        assert f"`{name}`" in text
    for command in ("download", "train", "eval", "compare-optimizers", "entropy", "recipes"):
        assert f"`dlkit {command}" in text


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target


def test_the_recipe_that_it_shows_is_good(tmp_path: Path) -> None:
    from dlkit import recipe

    (block,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "shown.yaml").write_text(block)
    assert recipe.load(str(tmp_path / "shown.yaml")).values["model"]["depths"] == [2, 2]
