"""Completion: the shipped scripts are current, and the shells offer what fits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlkit import recipe
from dlkit.cli.completion import SCRIPTS, script

FOLDER = Path(__file__).parents[2] / "completions"


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_shipped_script_is_current(shell: str) -> None:
    current = (FOLDER / SCRIPTS[shell]).read_text()
    assert current == script(shell), "run python -m dlkit.cli.completion completions"


def complete(tmp_path: Path, line: str) -> list[str]:
    """What bash offers at the end of the line, asked through the shipped script and readline's word breaks."""
    words = line.replace("=", " = ").split(" ") if "=" in line else line.split(" ")
    binary = tmp_path / "bin"
    binary.mkdir(exist_ok=True)
    program = binary / "dlkit"
    code = "from dlkit.__main__ import main; main()"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'dlkit'\n{code}\n")
    program.chmod(0o755)
    quoted = " ".join(f"'{word}'" for word in words)
    commands = (
        f"source {FOLDER / 'dlkit.bash'}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
        "_dlkit_completion dlkit; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    environment = {**os.environ, "PATH": f"{binary}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    result = subprocess.run(["bash", "-c", commands], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.stderr == ""
    return result.stdout.split()


def test_commands(tmp_path: Path) -> None:
    assert {"train", "eval", "recipes"} <= set(complete(tmp_path, "dlkit "))
    assert {"list", "show", "copy", "check", "schema"} <= set(complete(tmp_path, "dlkit recipes "))


def test_recipe_names_and_files(tmp_path: Path) -> None:
    (tmp_path / "digits-mine.yaml").write_text("")
    (tmp_path / "notes.txt").write_text("")
    offered = complete(tmp_path, "dlkit train digits-")
    assert set(offered) == {name for name in recipe.shipped() if name.startswith("digits-")} | {"digits-mine.yaml"}


def test_runs_has_commands_and_takes_folders_without_one(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a-1").mkdir(parents=True)
    (tmp_path / "runs" / "a-1" / "recipe.yaml").write_text("")
    assert complete(tmp_path, "dlkit runs ") == ["list", "diff", "plot", "prune", "bin/", "runs/"]
    assert complete(tmp_path, "dlkit runs runs/") == complete(tmp_path, "dlkit runs diff runs/") == ["runs/a-1"]
    assert complete(tmp_path, "dlkit runs --so") == ["--sort"]
    assert {"recipe", "state", "step"} <= set(complete(tmp_path, "dlkit runs --sort "))


def test_kinds_and_names_of_components(tmp_path: Path) -> None:
    assert complete(tmp_path, "dlkit components ada") == ["adagrad", "adam", "adamw"]
    assert complete(tmp_path, "dlkit components optim") == ["optimizer"]


def test_runs_for_eval(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a-1").mkdir(parents=True)
    (tmp_path / "runs" / "a-1" / "recipe.yaml").write_text("")
    assert complete(tmp_path, "dlkit eval runs/") == ["runs/a-1"]


def test_override_keys_and_catalog_names(tmp_path: Path) -> None:
    offered = complete(tmp_path, "dlkit train digits-resnet20 optimizer.")
    assert {"optimizer.lr=", "optimizer.momentum=", "optimizer.nesterov=", "optimizer.name="} <= set(offered)
    assert "optimizer.betas=" not in offered  # the recipe uses momentum
    names = complete(tmp_path, "dlkit train digits-resnet20 optimizer.name=a")
    assert set(names) == {"adagrad", "adam", "adamw"}
    assert "resnet110" in complete(tmp_path, "dlkit train digits-resnet20 model.name=res")


def test_options(tmp_path: Path) -> None:
    assert {"--run-dir", "--resume", "--device"} <= set(complete(tmp_path, "dlkit train digits-mlp --"))


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_recipes_with_their_summaries(tmp_path: Path) -> None:
    complete(tmp_path, "dlkit ")  # makes the program
    commands = f"source {FOLDER / 'dlkit.fish'}; complete -C 'dlkit train digits-'"
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    result = subprocess.run(["fish", "-c", commands], capture_output=True, text=True, env=environment, cwd=tmp_path)
    offered = dict(line.partition("\t")[::2] for line in result.stdout.splitlines())
    assert offered["digits-resnet20"] == recipe.summary(recipe.shipped()["digits-resnet20"])


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_their_script(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    result = subprocess.run([program, "-n", str(FOLDER / SCRIPTS[shell])], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
