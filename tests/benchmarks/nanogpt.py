"""A stand-in of nanoGPT, and its training on a text: python tests/benchmarks/nanogpt.py TEXT

It does what nanoGPT does (Karpathy, github.com/karpathy/nanoGPT: model.py, train.py) with its README's settings for a
CPU: 4 layers, 4 heads, width 128, batches of 12 x 64, 2,000 steps, fp32, AdamW of two groups without biases in the
model, clipped gradients, a loss read at every step, losses of 20 batches of each split every 250. It writes no
checkpoints and prints nothing, and takes the fused AdamW, which nanoGPT has on CUDA only: all in its favour.

Shapes: B windows, T tokens, W numbers a token, H heads, V vocabulary.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


def written(tokens: np.ndarray, folder: Path) -> dict[str, Path]:
    """train.bin and val.bin, the last tenth."""
    border = int(len(tokens) * 0.9)
    files = {"train": folder / "train.bin", "val": folder / "val.bin"}
    tokens[:border].astype(np.uint16).tofile(files["train"])
    tokens[border:].astype(np.uint16).tofile(files["val"])
    return files


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


if __name__ == "__main__":
    whole(Path(sys.argv[1]))
