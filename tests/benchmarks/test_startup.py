"""How long a command takes before it does anything, beside the smallest Typer program of two commands.

    pytest -m benchmark tests/benchmarks/test_startup.py -s

Each side is a new process, the sides alternate, and the table shows medians of wall time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPEATS = 15
BARE = """
import typer

app = typer.Typer()


@app.command()
def one(name: str) -> None:
    print(name)


@app.command()
def two(name: str, loud: bool = False) -> None:
    print(name)


app()
"""
DLKIT = "from dlkit.__main__ import main; main()\n"


@pytest.mark.benchmark
def test_start_up_beside_a_bare_typer_program(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bare, dlkit = tmp_path / "bare.py", tmp_path / "dlkit"
    bare.write_text(BARE)
    dlkit.write_text(DLKIT)
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text("task: image-classification\noptimizer: {name: adma, lr: fast}\n")
    complete = {"_DLKIT_COMPLETE": "complete_bash", "COMP_WORDS": "dlkit train digits-r", "COMP_CWORD": "2"}
    sides: dict[str, tuple[list[str], dict[str, str], int]] = {
        "bare --help": ([str(bare), "--help"], {}, 0),
        "dlkit --help": ([str(dlkit), "--help"], {}, 0),
        "dlkit train --help": ([str(dlkit), "train", "--help"], {}, 0),
        "dlkit completion": ([str(dlkit)], complete, 0),
        "dlkit usage error": ([str(dlkit), "train", "digits-mlp", "--nope"], {}, 2),
        "dlkit recipe error": ([str(dlkit), "train", str(recipe)], {}, 2),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(REPEATS + 1):
        for name, (arguments, extra, code) in sides.items():
            environment = {**os.environ, **extra}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its byte code
            begin = time.perf_counter()
            done = subprocess.run([sys.executable, *arguments], capture_output=True, env=environment)
            if repeat:
                times[name].append(time.perf_counter() - begin)
            assert done.returncode == code, done.stderr
    median = {name: statistics.median(values) for name, values in times.items()}
    with capfd.disabled():
        print(f"\nstart-up: median of {REPEATS} processes")
        for name, value in median.items():
            print(f"  {name:20} {value:6.3f} s  {value / median['bare --help']:5.2f}x bare")
