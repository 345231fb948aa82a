"""What holds for every command: help, exit codes, errors, a terminal's tables, optional packages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from dlkit import __version__, recipe

COMMANDS = (
    "download",
    "train",
    "eval",
    "predict",
    "compare-optimizers",
    "inspect-attention",
    "entropy",
    "generate",
    "compress",
    "decompress",
    "import",
    "export",
)


def test_version(here: Any) -> None:
    result = here("--version")
    assert (result.code, result.out, result.err) == (0, f"dlkit {__version__}\n", "")


def test_help_lists_every_command(here: Any) -> None:
    result = here("--help")
    assert result.code == 0
    for command in (*COMMANDS, "recipes"):
        assert f"\n  {command} " in result.out


@pytest.mark.parametrize("command", [(), ("train",), ("eval",), ("recipes",)])
def test_without_arguments_the_help_is_on_stderr(here: Any, command: tuple[str, ...]) -> None:
    result = here(*command)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"Usage: {' '.join(['dlkit', *command])}")


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        "recipes list",
        "recipes show",
        "recipes copy",
        "recipes check",
    ],
)
def test_every_command_has_help(here: Any, command: str) -> None:
    result = here(*command.split(), "-h")
    assert result.code == 0
    assert result.out.startswith(f"Usage: dlkit {command}")
    assert not re.search(r"<(str|int|float|list|path)\b", result.out)  # types are Python's; users have words


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        ("trian", "No such command 'trian'. Did you mean 'train'?", "`dlkit --help`"),
        ("train digits-mlp --nope", "No such option: --nope", "`dlkit train --help`"),
        (
            "train digits-mlp --seed x",
            "Invalid value for '--seed': must be a whole number, got x",
            "`dlkit train --help`",
        ),
        (
            "train digits-mlp --seed -1",
            "'--seed': must be at least 0, got -1",
            "`dlkit train --help`",
        ),
        ("generate RUN --tokens=99999999", "must be at most 10000000, got 99999999", "`dlkit generate --help`"),
        ("entropy --p 1 --code morse", "'--code': 'morse' is not one of 'shannon', ", "`dlkit entropy --help`"),
        ("train digits-mpl", "digits-mpl", "digits-mlp"),
        ("train digits-mlp --device gpu", "no such kind of device: 'gpu'", "--device takes auto, cpu"),
        ("eval runs/none --checkpoint", "'--checkpoint' requires an argument", "--help`"),
        ("recipes show nope", "nope", ""),
        ("recipes lst", "No such command 'lst'. Did you mean 'list'?", "`dlkit recipes --help`"),
    ],
)
def test_wrong_requests_exit_with_2_and_say_why(here: Any, arguments: str, error: str, hint: str) -> None:
    result = here(*arguments.split())
    assert (result.code, result.out) == (2, "")
    first, *rest = result.err.splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert hint in "".join([first, *rest])
    assert all(line.startswith("hint: ") for line in rest)
    assert "Traceback" not in result.err


@pytest.mark.parametrize("option", ["--run-dir", "--out", "--data-dir"])
def test_an_empty_folder_is_no_folder(here: Any, option: str) -> None:
    """Which a shell gives in place of an unset variable; a Path would make the current folder of it."""
    command = ("compare-optimizers", "rosenbrock") if option == "--out" else ("train", "digits-mlp")
    for given in ((option, ""), (f"{option}=",)):
        result = here(*command, *given)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(f"error: {option} is empty\nhint: ")


@pytest.mark.parametrize("how", ["option", "variable"])
def test_debug_shows_the_traceback(program: Any, how: str) -> None:
    arguments, env = (["--debug"], {}) if how == "option" else ([], {"DLKIT_DEBUG": "1"})
    result = program(*arguments, "eval", "nope", env=env)
    assert result.code == 1
    assert "Traceback" in result.err
    assert "no such run: nope" in result.err


# ------------------------------------------------------------------ streams


def test_control_characters_stay_on_their_line(here: Any) -> None:
    result = here("eval", "a\nerror: b\x1b[31m")
    assert result.err.splitlines()[0] == "error: no such run: a\\nerror: b\\x1b[31m"


def on_a_terminal(arguments: list[str], tmp_path: Path, **env: str) -> str:
    """stdout of dlkit on a pseudo-terminal of 80 columns."""
    import pty

    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **env}
    environment.pop("NO_COLOR", None)
    environment |= env
    process = subprocess.Popen(
        [sys.executable, "-m", "dlkit", *arguments], stdout=follower, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(follower)
    read = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        read += part
    os.close(leader)
    assert process.wait() == 0
    return read.decode()


def test_a_terminal_gets_a_table_and_a_pipe_json_lines(here: Any, tmp_path: Path) -> None:
    table = on_a_terminal(["recipes", "list"], tmp_path)
    assert "\x1b[" in table
    assert table.count("digits-resnet20") == 1
    for line in here("recipes", "list").out.splitlines():
        assert {"name", "summary"} <= json.loads(line).keys()


def test_json_and_quiet_on_a_terminal(tmp_path: Path) -> None:
    name = min(recipe.shipped())
    first = on_a_terminal(["recipes", "list", "--json"], tmp_path).splitlines()[0]
    assert json.loads(first)["name"] == name
    assert on_a_terminal(["recipes", "list", "-q"], tmp_path).splitlines()[0] == name


def test_no_color_means_no_color(tmp_path: Path) -> None:
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for arguments in (["recipes", "list"], ["recipes", "show", "digits-mlp"]):
            text = on_a_terminal(arguments, tmp_path, **env)
            assert "\x1b[3" not in text, env
            assert "digits" in text


def test_the_modules_command(program: Any) -> None:
    assert program("--version").out == f"dlkit {__version__}\n"


def commands(group: Any) -> list[Any]:
    """The commands of an application and of its groups."""
    below = getattr(group, "commands", None)
    return [group] if below is None else [found for command in below.values() for found in commands(command)]


def test_no_flag_is_named_by_its_metavar() -> None:
    """Typer 0.27 takes the case of a flag from a metavar that is the same word: `--DEVICE`."""
    import inspect
    import typing

    import typer

    from dlkit.cli.app import app

    seen = 0
    for command in commands(typer.main.get_command(app)):
        flags = [flag for parameter in command.params for flag in parameter.opts if flag.startswith("-")]
        assert flags == [flag.lower() for flag in flags]
        for name, hint in typing.get_type_hints(inspect.unwrap(command.callback), include_extras=True).items():
            for option in getattr(hint, "__metadata__", ()):
                if isinstance(option, typer.models.OptionInfo) and (option.metavar or "").lower() == name:
                    assert option.param_decls or isinstance(option.default, str), (command.name, name)
                    seen += 1
    assert seen > 5


OPTIONAL = ["constriction", "datasets", "httpx2", "platformdirs", "zstandard"]
if not any(needed.startswith("pydantic") for needed in metadata.requires("typer") or ()):  # as it is before Typer 0.29
    OPTIONAL += ["annotated_types"]


@pytest.mark.parametrize(("arguments", "package"), [
    ("entropy {file} --codecs", "zstandard"),
    ("compress {file} --prequential", "constriction"),
    ("train digits-mlp", "scikit-learn"),
])  # fmt: skip
def test_a_package_that_is_absent_is_named(
    here: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: str, package: str
) -> None:
    from dlkit.compression import range_coder

    (tmp_path / "file").write_text("text")
    monkeypatch.chdir(tmp_path)
    range_coder._library.cache_clear()
    module = "sklearn" if package == "scikit-learn" else package
    for loaded in [name for name in sys.modules if name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    result = here(*arguments.format(file=tmp_path / "file").split())
    assert (result.code, result.out) == (2, "")
    error, hint = result.err.splitlines()[-2:]
    assert error == f"error: this needs {package}, which is not installed"
    assert hint == f"hint: pip install {package}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.slow
def test_every_command_works_without_optional_packages(tmp_path: Path) -> None:
    """In a process of its own, which has not imported any of them."""
    script = f"""
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from dlkit.cli.app import run
for line in sys.stdin:
    print(run(line.split()), line.strip(), file=sys.stderr)
"""
    few = "train.epochs=null train.steps=2 -q"
    lines = [
        "--help",
        "recipes list",
        "download --list",
        f"train digits-mlp {few} --run-dir rows",
        f"train repeats-gpt {few} model.layers=1 model.width=12 data.characters=9000 --run-dir gpt",
        "eval rows -q",
        "generate gpt ab --tokens 2 -q",
        "inspect-attention gpt abab --repeats 0",
        "export gpt hub -q",
        "entropy file -q",
        "entropy file --prequential",
        "entropy file --model gpt -q",
        f"compare-optimizers digits-mlp --optimizers sgd,adam --lr 0.1:0.1:1 --engine loop {few}",
        "doctor --help",
    ]
    (tmp_path / "file").write_text("text of a file")
    done = subprocess.run(
        [sys.executable, "-c", script], input="\n".join(lines), capture_output=True, text=True, cwd=tmp_path
    )
    ended = [line for line in done.stderr.splitlines() if line[:2] in ("0 ", "1 ", "2 ")]
    assert ended == [f"0 {line}" for line in lines], done.stderr
