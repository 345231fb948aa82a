"""A small GPT and a small BERT with random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT

SMALL = {"layers": 2, "heads": 2, "width": 16}


def tokens(*shape: int, vocabulary: int = 40) -> Tensor:
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(1))


def make_gpt(**keys: Any) -> GPT:
    torch.manual_seed(0)
    model = GPT(40, 24, **{**SMALL, **keys}).eval()
    for parameter in model.parameters():  # initial weights are too small to tell differences
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model


def make_bert(outputs: int | None = None, **keys: Any) -> BERT:
    torch.manual_seed(0)
    model = BERT(40, 24, outputs, **{**SMALL, **keys}).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model
