"""How many operations a step of an optimizer is made of: on CUDA each is a launch or a few, however many tensors."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit.doctor.launches import Operators
from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.adamw import AdamW
from dlkit.optim.base import Optimizer
from dlkit.optim.momentum import Momentum
from dlkit.optim.muon import Muon
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD

# what is no launch: memory that is only taken, and counts of steps that lie on the host
NOTHING = ("profiler.", "aten.empty", "aten._unsafe_view", "aten._local_scalar_dense", "aten.unbind")

CASES: list[tuple[type[Optimizer], dict[str, Any], int]] = [  # the third: at most so many operations
    (SGD, {}, 1),
    (SGD, {"weight_decay": 0.1}, 1),
    (Momentum, {}, 1),
    (Momentum, {"momentum": 0.0, "weight_decay": 0.1}, 6),
    (Adagrad, {}, 5),
    (Adagrad, {"lr_decay": 0.1, "weight_decay": 0.1, "maximize": True}, 7),
    (RMSprop, {}, 3),
    (RMSprop, {"momentum": 0.9, "centered": True, "weight_decay": 0.1}, 11),
    (Adam, {}, 2),
    (AdamW, {}, 2),
    (Muon, {"ns_steps": 5}, 26),
    (Muon, {"ns_steps": 5, "hidden": False}, 2),
]


@pytest.mark.parametrize(("kind", "options", "most"), CASES, ids=[f"{k.__name__}-{'-'.join(o)}" for k, o, _ in CASES])
def test_operations_do_not_grow_with_the_tensors(
    kind: Any, options: dict[str, Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "cuda" not in kind.fused_devices:
        monkeypatch.setattr(kind, "fused_devices", ())
    monkeypatch.setattr(kind, "foreach_devices", ("cpu",))  # as on CUDA
    counts: list[int] = []
    operators = Operators()
    for tensors in (2, 40):
        params: list[Tensor] = [torch.randn(4, 3, requires_grad=True) for _ in range(tensors)]
        hidden = {"hidden": options["hidden"]} if "hidden" in options else {}
        own = {name: value for name, value in options.items() if name != "hidden"}
        optimizer = kind([{"params": params, **hidden}], lr=0.01, **own)
        for _ in range(2):
            for parameter in params:
                parameter.grad = torch.randn_like(parameter)
            with (operators := Operators()):
                optimizer.step()
        called = [name for name, _ in operators.called if not name.startswith(NOTHING)]
        counts.append(len(called))
    assert counts[0] == counts[1] <= most, Counter(called)
