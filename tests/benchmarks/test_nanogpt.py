"""nanoGPT on a CPU, and `text-gpt` beside it.

    python -m pytest -m benchmark -s tests/benchmarks/test_nanogpt.py
    DLKIT_WHOLE=1 DLKIT_TEXT=tinyshakespeare.txt python -m pytest -m benchmark -s tests/benchmarks/test_nanogpt.py

The stand-in does what nanoGPT does (Karpathy, github.com/karpathy/nanoGPT: model.py, train.py) with its README's
settings for a CPU: 4 layers, 4 heads, width 128, batches of 12 x 64, 2,000 steps, fp32, AdamW of two groups without
biases in the model, clipped gradients, a loss read at every step, losses of 20 batches of each split every 250. It
writes no checkpoints and prints nothing, and takes the fused AdamW, which nanoGPT has on CUDA only: all in its favour.

Shapes: B windows, T tokens, W numbers a token, H heads, V vocabulary.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytestmark = pytest.mark.benchmark
ROUNDS = 7
STEPS = 60  # of a round
LAYERS, HEADS, WIDTH, CONTEXT, BATCH, WHOLE = 4, 4, 128, 64, 12, 2000
RATE, LEAST, WARMUP = 1e-3, 1e-4, 100


class Norm(nn.Module):
    """Layer norm whose bias can be left out."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))
        self.bias = nn.Parameter(torch.zeros(WIDTH)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.c_attn = nn.Linear(WIDTH, 3 * WIDTH, bias=bias)
        self.c_proj = nn.Linear(WIDTH, WIDTH, bias=bias)
        self.resid_dropout = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = (
            part.view(rows, length, HEADS, width // HEADS).transpose(1, 2)  # (B, H, T, W / H)
            for part in self.c_attn(x).split(width, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).contiguous().view(rows, length, width)))


class Perceptron(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.c_fc = nn.Linear(WIDTH, 4 * WIDTH, bias=bias)
        self.gelu = nn.GELU()
        self.c_proj = nn.Linear(4 * WIDTH, WIDTH, bias=bias)
        self.dropout = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.gelu(self.c_fc(x))))


class Block(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = Norm(bias), Attention(bias), Norm(bias), Perceptron(bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class NanoGPT(nn.Module):
    """Tokens (B, T) and targets (B, T) to logits (B, T, V) and the mean loss."""

    def __init__(self, vocabulary: int, bias: bool = False) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.drop = nn.Dropout(0.0)
        self.h = nn.ModuleList(Block(bias) for _ in range(LAYERS))
        self.ln_f = Norm(bias)
        self.lm_head = nn.Linear(WIDTH, vocabulary, bias=False)
        self.wte.weight = self.lm_head.weight
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS))

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.arange(0, tokens.shape[1], dtype=torch.long)
        x = self.drop(self.wte(tokens) + self.wpe(places))  # (B, T, W)
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


def optimizer_of(model: nn.Module, fused: bool) -> torch.optim.AdamW:
    """Matrices decay, vectors do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99), **({"fused": True} if fused else {}))


def batch_of(file: Path) -> tuple[Tensor, Tensor]:
    """Random windows, and the tokens behind each of theirs; the file is opened each time, as train.py does."""
    data = np.memmap(file, dtype=np.uint16, mode="r")
    places = torch.randint(len(data) - CONTEXT, (BATCH,))
    x = torch.stack([torch.from_numpy(data[i : i + CONTEXT].astype(np.int64)) for i in places])
    y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + CONTEXT].astype(np.int64)) for i in places])
    return x, y


@torch.no_grad()
def estimate_loss(model: NanoGPT, files: dict[str, Path], batches: int = 20) -> dict[str, float]:
    model.eval()
    told: dict[str, float] = {}
    for split, file in files.items():
        losses = torch.zeros(batches)
        for i in range(batches):
            losses[i] = model(*batch_of(file))[1].item()
        told[split] = losses.mean().item()
    model.train()
    return told


def rate_at(step: int, total: int) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    if step < WARMUP:
        return RATE * (step + 1) / (WARMUP + 1)
    share = (step - WARMUP) / (total - WARMUP)
    return LEAST + 0.5 * (1 + math.cos(math.pi * min(1, share))) * (RATE - LEAST)


def train(
    model: NanoGPT, optimizer: torch.optim.AdamW, files: dict[str, Path], steps: int, every: int | None = 250
) -> dict[str, float]:
    """The loop of train.py; the last estimate of both losses."""
    told: dict[str, float] = {}
    model.train()
    x, y = batch_of(files["train"])
    for step in range(steps + 1 if every else steps):  # its last step comes behind the last estimate
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, WHOLE)
        if every and step % every == 0:
            told = estimate_loss(model, files)
        _, loss = model(x, y)
        x, y = batch_of(files["train"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
    return told


# ------------------------------------------------------------------ side by side in one process


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


def written(tokens: np.ndarray, folder: Path) -> dict[str, Path]:
    """train.bin and val.bin, the last tenth."""
    border = int(len(tokens) * 0.9)
    files = {"train": folder / "train.bin", "val": folder / "val.bin"}
    tokens[:border].astype(np.uint16).tofile(files["train"])
    tokens[border:].astype(np.uint16).tofile(files["val"])
    return files


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


# ------------------------------------------------------------------ whole runs, a process each


def whole(file: Path) -> None:
    """Train the stand-in on a text: a line when it has trained, then one with the loss on its whole last tenth."""
    torch.manual_seed(1337)
    text = file.read_text(encoding="utf-8")
    numbers = {character: number for number, character in enumerate(sorted(set(text)))}
    with tempfile.TemporaryDirectory() as folder:
        files = written(np.array([numbers[character] for character in text]), Path(folder))
        model = NanoGPT(len(numbers))
        told = train(model, optimizer_of(model, fused=True), files, WHOLE)
        print(json.dumps({"estimate": told["val"]}), flush=True)
        held = torch.from_numpy(np.fromfile(files["val"], dtype=np.uint16).astype(np.int64))
    model.eval()
    windows = held[: (len(held) - 1) // CONTEXT * CONTEXT]
    x, y = windows.view(-1, CONTEXT), held[1 : len(windows) + 1].view(-1, CONTEXT)
    with torch.no_grad():
        parts = zip(x.split(256), y.split(256), strict=True)
        loss = sum(model(a, b)[1].item() * len(a) for a, b in parts) / len(x)
    print(json.dumps({"loss": loss}), flush=True)


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
        stand_in = [sys.executable, __file__, str(file)]
        with subprocess.Popen(stand_in, stdout=subprocess.PIPE, text=True, env=free) as process:
            assert process.stdout is not None
            estimate = json.loads(process.stdout.readline())["estimate"]
            theirs = time.perf_counter() - began
            loss = json.loads(process.stdout.readline())["loss"]
        print(f"{file.name}, {WHOLE} steps: dlkit {ours:.1f} s ({record['seconds']:.1f} s of training), loss "
              f"{record['metrics']['val/loss']:.4f}; nanoGPT {theirs:.1f} s, loss {loss:.4f} (its last estimate "
              f"{estimate:.4f}); {theirs / ours:.2f}x")  # fmt: skip


if __name__ == "__main__":
    whole(Path(sys.argv[1]))
