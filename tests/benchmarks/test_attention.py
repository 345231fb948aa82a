"""Recording attention beside a plain forward pass, and its memory at 4,096 tokens."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

import pytest
import torch

from dlkit.attention.capture import CapturedLayer, capture_attention
from dlkit.attention.head_scores import token_positions
from dlkit.attention.inspect import hidden_states, inspect_text
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT

pytestmark = pytest.mark.benchmark
ROUNDS = 7


@pytest.mark.parametrize("family", ["bert", "gpt"])
def test_recording_beside_a_forward_pass(family: str) -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    keys: dict[str, Any] = {"layers": 12, "heads": 12, "width": 768}
    model = (BERT(30_522, 512, None, **keys) if family == "bert" else GPT(50_257, 512, **keys)).eval()
    token_ids = torch.randint(30_000, (512,)).tolist()
    where = token_positions(token_ids, [False] * 512, family == "gpt")

    def plain() -> None:
        with torch.inference_mode():
            hidden_states(model, token_ids)

    def recorded() -> None:
        """All weights, a block at a time, and the check of each."""

        def visit(layer: CapturedLayer) -> None:
            for start, weights in layer.blocks():
                differences.append(layer.reconstruction_error(start, weights))

        with torch.inference_mode(), capture_attention(model, visit):
            hidden_states(model, token_ids)

    def measured() -> None:
        """And every measure of them."""
        differences.append(inspect_text(model, token_ids, where).reconstruction_error)

    differences: list[float] = []
    times: dict[str, list[float]] = {"forward": [], "recorded": [], "measured": []}
    for number in range(ROUNDS + 1):
        for name, side in (("forward", plain), ("recorded", recorded), ("measured", measured)):
            began = time.perf_counter()
            side()
            if number:
                times[name].append(time.perf_counter() - began)
    assert max(differences) <= 1e-5
    base = times["forward"]
    print(f"\n{family}, 512 tokens x 12 layers x 12 heads, {torch.get_num_threads()} threads, n = {ROUNDS}")
    for name, spent in times.items():
        ratios = sorted(a / b for a, b in zip(spent, base, strict=True))
        print(f"{name}: {statistics.median(spent):.3f} s, {statistics.median(ratios):.2f}x the forward pass "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f})")  # fmt: skip
    for name in ("recorded", "measured"):
        ratios = [a / b for a, b in zip(times[name], base, strict=True)]
        assert statistics.median(ratios) <= 2.5, name


@pytest.mark.parametrize("family", ["bert", "gpt"])
def test_memory_at_4096_tokens(family: str) -> None:
    code = f"""
import resource, torch
from dlkit.attention.head_scores import token_positions
from dlkit.attention.inspect import inspect_text
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
torch.set_num_threads(2)
keys = dict(layers=12, heads=12, width=768)
model = BERT(30_522, 4096, None, **keys) if {family == "bert"} else GPT(50_257, 4096, **keys)
token_ids = torch.randint(30_000, (4096,)).tolist()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seen = inspect_text(model.eval(), token_ids, token_positions(token_ids, [False] * 4096, {family == "gpt"}))
assert seen.reconstruction_error <= 1e-5, seen.reconstruction_error
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    began = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    before, peak = (int(part) / 2**20 for part in done.stdout.split())
    print(f"\n{family}, 4,096 tokens x 12 layers x 12 heads: {peak:.2f} GiB at most, {before:.2f} of it before, "
          f"{time.perf_counter() - began:.0f} s")  # fmt: skip
    assert peak <= 2.0
