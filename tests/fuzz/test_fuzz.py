"""Thousands of hostile inputs, from a fixed seed and from a fresh one: whatever comes in, no command ends badly.

DLKIT_FUZZ_CASES is how many (default: 2,000), DLKIT_FUZZ_SEED the fresh seed, to have it again.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.fuzz

HERE = Path(__file__).parent
CASES = int(os.environ.get("DLKIT_FUZZ_CASES", "2000"))
SEEDS = {"fixed": 15, "fresh": int(os.environ.get("DLKIT_FUZZ_SEED", secrets.randbelow(2**31)))}
KINDS = ("recipes", "commands", "damage")
PROCESSES = min(8, len(os.sched_getaffinity(0)))


@pytest.fixture(scope="session")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the cases open."""
    folder = tmp_path_factory.mktemp("subjects")
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    subprocess.run([sys.executable, HERE / "subjects.py", folder], check=True, env=environment)
    return folder


def failures(subjects: Path, kind: str, seed: int, count: int) -> list[dict[str, Any]]:
    """Run `count` cases of a kind, in parts beside each other; those that fail."""
    bounds = [count * part // PROCESSES for part in range(PROCESSES + 1)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    workers = [
        subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), str(subjects), kind, str(seed), str(first), str(last)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for first, last in itertools.pairwise(bounds)
    ]
    found: list[dict[str, Any]] = []
    for worker in workers:
        *failed, end = [json.loads(line) for line in (worker.communicate()[0]).splitlines()]
        assert worker.returncode == 0
        print(f"{kind}, seed {seed}: exit codes {end['done']}")
        found += failed
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", list(SEEDS))
def test_no_input_makes_a_command_end_badly(subjects: Path, which: str, kind: str) -> None:
    seed = SEEDS[which]
    found = failures(subjects, kind, seed, CASES // (len(KINDS) * len(SEEDS)))
    shown = json.dumps(found[:20], indent=1, ensure_ascii=False)
    assert not found, f"{len(found)} cases fail; DLKIT_FUZZ_SEED={seed} repeats them all\n{shown}"
