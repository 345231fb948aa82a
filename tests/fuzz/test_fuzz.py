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
from collections import Counter
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


@pytest.fixture(scope="session", params=list(SEEDS))
def results(request: pytest.FixtureRequest, subjects: Path) -> tuple[int, list[dict[str, Any]]]:
    """A seed, and what the workers say of all its cases: each worker has its part of each kind."""
    seed, count = SEEDS[request.param], CASES // (len(KINDS) * len(SEEDS))
    bounds = [count * part // PROCESSES for part in range(PROCESSES + 1)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    workers: list[subprocess.Popen[str]] = []
    for first, last in itertools.pairwise(bounds):
        jobs = [str(x) for kind in KINDS for x in (kind, seed, first, last)]
        command = [sys.executable, str(HERE / "worker.py"), str(subjects), *jobs]
        workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    lines = [line for worker in workers for line in worker.communicate()[0].splitlines()]
    assert [worker.returncode for worker in workers] == [0] * len(workers)
    return seed, [json.loads(line) for line in lines]


@pytest.mark.parametrize("kind", KINDS)
def test_no_input_makes_a_command_end_badly(results: tuple[int, list[dict[str, Any]]], kind: str) -> None:
    seed, found = results
    of_kind = [result for result in found if result["kind"] == kind]
    codes = sum((Counter(result["codes"]) for result in of_kind if "codes" in result), Counter[str]())
    print(f"{kind}, seed {seed}: exit codes {dict(codes)}")
    assert codes.total() == CASES // (len(KINDS) * len(SEEDS))
    print("once only:", json.dumps([result for result in of_kind if "once" in result], indent=1, ensure_ascii=False))
    wrong = [result for result in of_kind if "wrong" in result]
    shown = json.dumps(wrong[:20], indent=1, ensure_ascii=False)
    assert not wrong, f"{len(wrong)} cases fail; DLKIT_FUZZ_SEED={seed} repeats them all\n{shown}"
