"""A command as a process: what it imports, and what it does where streams are closed, full or of a plain locale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "numpy", "datasets", "pandas", "pyarrow", "sklearn", "matplotlib")


PROBE = f"""
import sys
from dlkit.cli.app import run
code = run(sys.argv[1:])
print("CODE", code, "HEAVY", *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--version", 0),
        ("--help", 0),
        ("train --help", 0),
        ("eval --help", 0),
        ("recipes list", 0),
        ("recipes show digits-resnet20", 0),
        ("recipes show digits-plain56 --resolved", 0),
        ("recipes check digits-resnet20 optimizer.lr=0.05", 0),
        ("recipes schema", 0),
        ("train", 2),
        ("train digits-mlp --nope", 2),
        ("train digits-mlp optimizer.lr=fast", 2),
        ("train digits-mlp --resume", 2),
        ("train csv-mlp data.path=absent.csv", 1),
        ("train digits-mlp --run-dir /dev/null", 2),
        ("train hub-texts data.path=ann/absent", 1),
        ("import hf:ann/absent", 1),
        ("download ann/absent", 2),
        ("train digits-mlp --run-dir /dev", 2),
        ("import . --model resnet20 --run-dir /dev/null", 2),
        ("eval nope", 1),
        ("eval digits-mlp --confusion m.jpg", 2),
        ("eval nope --ood cifra10", 2),
        ("eval nope --ood cifar10 --data-dir none", 1),
        ("compare-optimizers --help", 0),
        ("compare-optimizers digits-mlp --lr 0", 2),
        ("compare-optimizers digits-mlp --optimizers sdg", 2),
        ("entropy --help", 0),
        ("download --help", 0),
        ("download --list", 0),
        ("download nope", 2),
        ("train digits-resnet20 data.name=cifar10 --data-dir none", 1),
        ("entropy --p 0.5,0.5 --base 1", 2),
        ("entropy absent --model nope", 1),
        ("compress absent --prequential", 1),
        ("decompress absent -o out", 1),
        ("generate nope text", 1),
        ("export nope out", 1),
        ("eval /dev/null", 2),
        ("generate /dev/null text", 2),
        ("export /dev/null out", 2),
        ("inspect-attention /dev/null text", 2),
        ("inspect-attention --help", 0),
        ("inspect-attention nope text", 1),
        ("inspect-attention . text --layers a", 2),
        ("eval images --split nope", 2),
        ("generate images text", 2),
        ("inspect-attention images text", 2),
        ("compress images/recipe.yaml --model images", 2),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(tmp_path: Path, arguments: str, code: int) -> None:
    (tmp_path / "images").mkdir()
    shutil.copy(Path(__file__).parents[2] / "recipes/digits-mlp.yaml", tmp_path / "images/recipe.yaml")  # of a run
    command = [sys.executable, "-c", PROBE, *arguments.split()]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.stderr.splitlines()[-1] == f"CODE {code} HEAVY"


# Each takes a tenth of a short command's time or more; Typer asks pydantic where a value must be converted.
SLOW = ("pydantic", "email", "zipfile", "asyncio", "filelock")
UNREAD = ("yaml", "dlkit.recipe", "dlkit.app.train", "rich")  # by a command that reads no recipe and draws nothing


@pytest.mark.parametrize(
    ("arguments", "code", "unwanted"),
    [
        ("--help", 0, SLOW + UNREAD),
        ("train --help", 0, SLOW + UNREAD),
        ("train digits-mlp --nope", 2, SLOW + UNREAD),
        ("train wrong.yaml", 2, SLOW),
        ("runs --help", 0, SLOW),
    ],
)
def test_a_short_command_imports_no_more_than_it_needs(
    tmp_path: Path, arguments: str, code: int, unwanted: tuple[str, ...]
) -> None:
    (tmp_path / "wrong.yaml").write_text("task: image-classification\noptimizer: {name: adma, lr: fast}\n")
    probe = PROBE.replace(repr(HEAVY), repr(unwanted))
    command = [sys.executable, "-c", probe, *arguments.split()]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.stderr.splitlines()[-1] == f"CODE {code} HEAVY"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_imports_nothing_heavy(shell: str) -> None:
    environment = {**os.environ, "_DLKIT_COMPLETE": f"complete_{shell}", "COMP_WORDS": "dlkit train dig"}
    environment |= {"COMP_CWORD": "2", "_TYPER_COMPLETE_ARGS": "dlkit train dig"}
    environment |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    unwanted = (*HEAVY, *SLOW)
    code = (
        "import atexit, sys; sys.argv[0] = 'dlkit'\n"
        f"atexit.register(lambda: print('HEAVY', *[n for n in {unwanted!r} if n in sys.modules], file=sys.stderr))\n"
        "from dlkit.__main__ import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "digits-resnet20" in result.stdout
    assert result.stderr == "HEAVY\n"


def shell(script: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    prelude = f'set -o pipefail; dlkit() {{ {sys.executable} -m dlkit "$@"; }}\n'
    environment = {**os.environ, **env}
    return subprocess.run(["bash", "-c", prelude + script], capture_output=True, text=True, cwd=cwd, env=environment)


def test_a_pipe_that_nobody_reads_ends_quietly(tmp_path: Path) -> None:
    result = shell("dlkit recipes schema | true; echo ${PIPESTATUS[0]}", tmp_path)
    assert result.stdout == "141\n"  # as a program that SIGPIPE ends
    assert "rror" not in result.stderr


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    result = shell("dlkit recipes schema | head -1", tmp_path)
    assert (result.stdout, result.stderr) == ("{\n", "")


def test_a_full_device_is_one_line(tmp_path: Path) -> None:
    result = shell("dlkit recipes schema > /dev/full", tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == "error: No space left on device"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_result_that_is_cut_is_an_error(unbuffered: str, tmp_path: Path) -> None:
    """A write to a file may take the first bytes alone, and Python's unbuffered streams do not look."""
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    for command in ("recipes list", "entropy bytes", "recipes schema"):
        settings = f"PYTHONUNBUFFERED={unbuffered} PYTHONDONTWRITEBYTECODE=1"  # byte code would be cut as well
        result = shell(f"ulimit -f 1; {settings} dlkit {command} > out", tmp_path)
        size = (tmp_path / "out").stat().st_size
        assert (result.returncode, result.stderr.count("File too large")) == ((1, 1) if size == 1024 else (0, 0))


def test_closed_streams_do_no_harm(tmp_path: Path) -> None:
    assert shell("dlkit --version >&-", tmp_path).returncode == 0
    result = shell("dlkit eval nope 2>&-", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")
    result = shell("dlkit eval - <&-", tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: no run on standard input")


def test_a_plain_locale_gets_escapes(tmp_path: Path) -> None:
    result = shell("dlkit eval ünï; dlkit recipes list > list.json", tmp_path, PYTHONIOENCODING="ascii")
    assert result.stderr.startswith("error: no such run: \\xfcn\\xef\n")
    assert result.returncode == 0
