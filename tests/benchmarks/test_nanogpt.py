"""nanoGPT on a CPU, and `text-gpt` beside it.

python -m pytest -m benchmark -s tests/benchmarks/test_nanogpt.py
DLKIT_WHOLE=1 DLKIT_TEXT=tinyshakespeare.txt python -m pytest -m benchmark -s tests/benchmarks/test_nanogpt.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.benchmarks import nanogpt
from tests.benchmarks.nanogpt import (
    BATCH,
    CONTEXT,
    HEADS,
    LAYERS,
    RATE,
    WHOLE,
    WIDTH,
    NanoGPT,
    batch_of,
    optimizer_of,
    rate_at,
    train,
    written,
)  # fmt: skip

pytestmark = pytest.mark.benchmark
ROUNDS = 7
STEPS = 60  # of a round


def twin_of(model: NanoGPT) -> Any:
    """dlkit's GPT with the same weights; biases that the other has not are zero."""
    from dlkit.models.gpt import GPT

    names = {"wte": "tokens", "wpe": "positions", "ln_f": "norm", "lm_head": "head", "h": "blocks"}
    parts = {"ln_1": "attention_norm", "ln_2": "mlp_norm", "attn.c_attn": "attention.qkv", "mlp.c_fc": "mlp.0"}
    parts |= {"attn.c_proj": "attention.out", "mlp.c_proj": "mlp.2"}
    vocabulary = model.wte.weight.shape[0]
    ours = GPT(vocabulary, CONTEXT, layers=LAYERS, heads=HEADS, width=WIDTH, activation="gelu")
    state = {name: torch.zeros_like(value) for name, value in ours.state_dict().items()}
    for name, value in model.state_dict().items():
        first, _, rest = name.partition(".")
        rest = next((rest.replace(a, b) for a, b in parts.items() if a in rest), rest)
        assert f"{names[first]}.{rest}" in state
        state[f"{names[first]}.{rest}"] = value
    ours.load_state_dict(state)
    return ours


def run(model: Any, batches: Any, steps: int) -> Any:
    """dlkit's training of the same kind: nanoGPT's optimizer, schedule and clipping."""
    from dlkit.losses import CrossEntropy
    from dlkit.optim.adamw import AdamW
    from dlkit.optim.groups import parameter_groups
    from dlkit.tasks.language_modelling import CausalLM
    from dlkit.training.loop import Training
    from dlkit.training.settings import TrainSettings

    settings = TrainSettings(
        steps=steps, precision="fp32", compile="off", channels_last="off", clip_norm=1.0, log_every=1,
        eval_every="never",  # type: ignore[arg-type]
    )  # fmt: skip
    return Training(
        model=model, task=CausalLM(CrossEntropy()), batches=batches, evaluations={}, settings=settings,
        optimizer=AdamW(parameter_groups(model), lr=RATE, betas=(0.9, 0.99), weight_decay=0.1),
        schedule=lambda step, total: rate_at(step, WHOLE) / RATE, device=torch.device("cpu"),
    )  # fmt: skip


class Given:
    """Batches made before, as dlkit takes them."""

    samples, batch_size = BATCH, BATCH

    def __init__(self, made: list[tuple[Tensor, Tensor]]) -> None:
        self.made = made

    def __len__(self) -> int:
        return len(self.made)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        from dlkit.data.batch import CausalBatch

        return (CausalBatch(x, y.flatten()) for x, y in self.made[start:])


def test_the_same_losses_step_by_step(tmp_path: Path) -> None:
    """With biases on both sides, the same weights and the same batches."""
    from dlkit.training.events import StepDone
    from dlkit.training.loop import fit

    torch.manual_seed(0)
    files = written(np.arange(20_000) * 7 % 65, tmp_path)
    made = [batch_of(files["train"]) for _ in range(20)]
    model = NanoGPT(65, bias=True)
    ours = twin_of(model)
    optimizer = optimizer_of(model, fused=False)
    theirs: list[float] = []
    for step, (x, y) in enumerate(made):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, WHOLE)
        _, loss = model(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        theirs.append(loss.item())
    events = fit(run(ours, Given(made), len(made)))
    got = [event.metrics["train/loss"] for event in events if isinstance(event, StepDone) and event.metrics]
    assert theirs[-1] < theirs[0] - 0.3
    assert got == pytest.approx(theirs, abs=2e-5)


def test_steps_beside_nanogpt(tmp_path: Path) -> None:
    from dlkit.data.text.windows import TokenWindows
    from dlkit.training.loop import fit

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    tokens = torch.randint(65, (100_000,)).numpy()
    files = written(tokens, tmp_path)
    batches = TokenWindows(tokens.astype(np.uint16), torch.device("cpu"), 0, True, batch_size=BATCH, context=CONTEXT)
    start = NanoGPT(65)
    training = run(twin_of(start), batches, STEPS)

    def ours() -> None:
        for _ in fit(training):
            pass

    def other(fused: bool) -> Callable[[], Any]:
        model = NanoGPT(65)
        model.load_state_dict(start.state_dict())
        optimizer = optimizer_of(model, fused)
        return lambda: train(model, optimizer, files, STEPS, every=None)

    sides = {"dlkit": ours, "fused": other(True), "loop": other(False)}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            spent[name].append(time.perf_counter() - began)
    first = spent["dlkit"][1:]
    for name in ("fused", "loop"):
        ratios = sorted(b / a for a, b in zip(first, spent[name][1:], strict=True))
        print(f"steps beside nanoGPT's loop and model, AdamW {name}: {STEPS / statistics.median(first):.1f} and "
              f"{STEPS / statistics.median(spent[name][1:]):.1f} steps/s, {statistics.median(ratios):.2f}x "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f}), n = {ROUNDS}")  # fmt: skip


@pytest.mark.skipif("DLKIT_WHOLE" not in os.environ, reason="takes minutes: DLKIT_WHOLE=1, or more for more rounds")
def test_whole_runs_beside_nanogpt(tmp_path: Path) -> None:
    """Wall time of the processes from their start: dlkit's to its end, the stand-in's to the end of its training."""
    if "DLKIT_TEXT" in os.environ:
        file = Path(os.environ["DLKIT_TEXT"]).resolve()
    else:
        from dlkit.data.text.pydoc import pydoc

        file = tmp_path / "pydoc.txt"
        file.write_bytes("".join(text.read() for text in pydoc().splits.values()).encode("ascii", "replace"))
    free = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}  # all cores
    for number in range(int(os.environ["DLKIT_WHOLE"])):
        began = time.perf_counter()
        command = [sys.executable, "-m", "dlkit", "train", "text-gpt", f"data.path={file}", "--seed", str(number)]
        command += ["--run-dir", str(tmp_path / f"run-{number}"), "--json"]
        record = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=free).stdout)
        ours = time.perf_counter() - began
        began = time.perf_counter()
        stand_in = [sys.executable, nanogpt.__file__, str(file)]
        with subprocess.Popen(stand_in, stdout=subprocess.PIPE, text=True, env=free) as process:
            assert process.stdout is not None
            estimate = json.loads(process.stdout.readline())["estimate"]
            theirs = time.perf_counter() - began
            loss = json.loads(process.stdout.readline())["loss"]
        print(f"{file.name}, {WHOLE} steps: dlkit {ours:.1f} s ({record['seconds']:.1f} s of training), loss "
              f"{record['metrics']['val/loss']:.4f}; nanoGPT {theirs:.1f} s, loss {loss:.4f} (its last estimate "
              f"{estimate:.4f}); {theirs / ours:.2f}x")  # fmt: skip
