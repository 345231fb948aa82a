"""README.md and the two pages beside what they measure: their commands run, their links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "recipes" / "README.md", ROOT / "tests" / "benchmarks" / "README.md"]
# Blocks that start with `$ ` are transcripts: their commands run in one shell, block by block, in one directory.
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
]
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


def test_every_command_and_recipe_is_there() -> None:
    from dlkit import recipe
    from dlkit.cli.app import app

    text = README.read_text(encoding="utf-8")
    assert len(text.encode()) <= 12_000, "README is an invitation: details go to the other pages, or to --help"
    for name in [entry.name for entry in (*app.registered_commands, *app.registered_groups)]:
        assert f"`dlkit {name}" in text, name
    recipes = PAGES[1].read_text(encoding="utf-8")
    for name in recipe.shipped():
        assert f"[`{name}`]({name}.yaml)" in recipes, name


def anchors(page: Path) -> set[str]:
    """What GitHub lets a link name in a page: its headings in lower case, hyphens for spaces, punctuation left out."""
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    assert targets
    for target in targets:
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_pictures_are_small_and_of_no_machine() -> None:
    svg, png = ROOT / ".github" / "images" / "train.svg", ROOT / ".github" / "images" / "attention.png"
    review = ROOT / ".github" / "images" / "review.png"
    assert svg.stat().st_size < 60_000 and png.stat().st_size < 200_000 and review.stat().st_size < 200_000
    text = re.sub(r"&#160;", " ", svg.read_text(encoding="utf-8"))
    assert "dlkit train digits-resnet20" in text and "test/accuracy" in text
    assert ">/" not in text, "a path of the machine that drew it"


def test_a_terminal_is_read_as_it_looks() -> None:
    """A live view of two lines that is redrawn and then taken away, and a result below it."""
    pictures = script("pictures")
    redrawn, gone = "\r\x1b[2K\x1b[1A\x1b[2K", "\r\x1b[2K\x1b[1A\x1b[2K\x1b[?25h"
    written = f"start\r\n\x1b[?25lepoch 1\r\n\x1b[32mloss 2\x1b[0m{redrawn}epoch 2\r\nloss 1{gone}done\r\n"
    screens = [[line for line in screen if line] for screen in pictures.screens(written)]
    assert screens == [
        ["start", "epoch 1", "\x1b[32mloss 2\x1b[0m"],
        ["start", "epoch 2", "loss 1"],
        ["start", "done"],
    ]


def script(name: str) -> ModuleType:
    """A program of tests/docs as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_of_recipes_are_those_of_their_headers() -> None:
    table = script("recipe_table")
    text = table.PAGE.read_text(encoding="utf-8")
    assert table.updated(text) == text, "run python tests/docs/recipe_table.py"
    assert table.updated(text.replace("0.992", "0.999")) == text


def test_headers_say_what_a_recipe_needs_and_reaches() -> None:
    from dlkit import recipe
    from dlkit.data.registry import DATASETS, GROUPS
    from dlkit.recipe.header import read_header

    for path in recipe.shipped().values():
        header = read_header(path)
        assert header.commands and all("dlkit " in command for command in header.commands[:1]), path
        (needs,), result = header.paragraphs["Needs"], header.paragraphs["Result"]
        measured = bool(re.search(r"\d", result[0]))
        assert measured == ("Measured on" in header.paragraphs), path
        assert measured or result in (["not measured."], ["depends on your data."]), path
        assert not measured or "n = " in " ".join(result), path
        for name in re.findall(r"dlkit download (\w+)", needs):
            assert name in DATASETS or name in GROUPS, path


INLINE = sorted({
    code
    for page in PAGES
    for code in re.findall(r"(?<!`)`(dlkit [a-z][^`\n]+)`", page.read_text(encoding="utf-8").replace("\\|", "|"))
})  # fmt: skip


def test_commands_in_the_text_can_be_given() -> None:
    """Commands that are named outside the blocks: their options exist, and recipes take what is set in them."""
    from typer.main import get_command

    from dlkit import recipe
    from dlkit.cli.app import app

    group: Any = get_command(app)
    for code in INLINE:
        for part in re.split(r" \| | && ", code):
            program, name, *words = shlex.split(part)
            assert program == "dlkit" and name in group.commands, code
            command = group.commands[name]
            command = getattr(command, "commands", {}).get(words[0] if words else "", command)
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if re.match("--?[a-z]", word)} <= options, code
            if name == "train" and words and words[0] in recipe.shipped():
                settings = [word for word in words[1:] if re.match(r"[a-z_.]+=(?!\.)", word)]
                recipe.load(words[0], [word for word in settings if "$" not in word])


def test_python_example_is_that_of_the_package() -> None:
    import dlkit

    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert dlkit.__doc__ is not None
    assert textwrap.indent(example, "    ") in dlkit.__doc__


def test_ci_runs_the_test_command_of_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    command = "python -m pytest -n 2 --dist loadfile"
    assert f'pip install ".[dev]" && {command}\n' in text
    assert "python3 -m venv .venv && . .venv/bin/activate && pip install . && dlkit train digits-resnet20\n" in text
    ci = ROOT / ".ci" / "run"
    assert not ci.exists() or "-n 2 --dist loadfile" in ci.read_text(encoding="utf-8")


def test_the_recipe_that_it_shows_is_good(tmp_path: Path) -> None:
    from dlkit import recipe

    (block,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "shown.yaml").write_text(block)
    assert recipe.load(str(tmp_path / "shown.yaml")).values["model"]["depths"] == [2, 2]
