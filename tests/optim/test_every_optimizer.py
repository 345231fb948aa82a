"""What holds for every optimizer of the catalog, whatever its rule: layouts, bad gradients, state, stacks, launches."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit import catalog
from dlkit.doctor.kernel_launches import RecordedOperators
from dlkit.errors import DlkitError
from dlkit.optim.adamw import AdamW
from dlkit.optim.base import Optimizer

OPTIMIZERS = {name: catalog.import_object(entry.target) for name, entry in catalog.OPTIMIZERS.items()}
every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]),
]
# What is no launch: memory that is only taken, and counts of steps that lie on the host.
NOTHING = ("profiler.", "aten.empty", "aten._unsafe_view", "aten._local_scalar_dense", "aten.unbind")


def parameters(device: str = "cpu", dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (4, 3), (5,), (), (2, 3, 3, 3))
    return [torch.randn(s, generator=generator, dtype=dtype).to(device).requires_grad_() for s in shapes]


def take(optimizer: torch.optim.Optimizer, params: list[Tensor], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(1000 + step)
        for parameter in params:
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter)
        optimizer.step()


@every_optimizer
def test_a_saved_state_goes_on_to_the_bit(kind: Any) -> None:
    whole, halves = parameters(), parameters()
    take(kind(whole), whole, range(20))
    first = kind(halves)
    take(first, halves, range(7))
    second = kind(halves)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    take(second, halves, range(7, 20))
    assert all(torch.equal(a, b) for a, b in zip(whole, halves, strict=True))


@every_optimizer
def test_a_step_goes_down_and_maximize_goes_up(kind: Any) -> None:
    for maximize in (False, True):
        x = torch.full((4, 3), 3.0, requires_grad=True)
        optimizer = kind([x], maximize=maximize)
        for _ in range(3):
            optimizer.zero_grad()
            x.square().sum().backward()
            optimizer.step()
        assert (x.detach().square().sum() > 4 * 3 * 9) == maximize


@every_optimizer
def test_parameters_without_gradient_stay(kind: Any) -> None:
    params = parameters()
    optimizer = kind(params)
    params[0].grad = torch.ones_like(params[0])
    before = [value.detach().clone() for value in params]
    optimizer.step()
    assert not torch.equal(params[0], before[0])
    assert all(torch.equal(a, b) for a, b in zip(params[1:], before[1:], strict=True))
    assert list(optimizer.state) in ([], [params[0]])


@every_optimizer
def test_gradients_laid_out_unlike_their_parameters(kind: Any) -> None:
    a, b = (torch.arange(12.0).reshape(3, 4).requires_grad_() for _ in range(2))
    a.grad = torch.arange(12.0).reshape(4, 3).t()
    b.grad = a.grad.contiguous()
    for parameter in (a, b):
        kind([parameter], lr=0.1).step()
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@every_optimizer
def test_closure(kind: Any) -> None:
    x = torch.tensor([3.0], requires_grad=True)
    optimizer = kind([x], lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (x**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert x.item() < 3.0


@every_optimizer
@pytest.mark.parametrize("layout", ["sparse", "complex"])
def test_gradients_that_no_rule_is_for(kind: Any, layout: str) -> None:
    dtype = torch.complex64 if layout == "complex" else torch.float32
    x = torch.ones(3, dtype=dtype, requires_grad=True)
    x.grad = torch.ones(3, dtype=dtype).to_sparse() if layout == "sparse" else torch.ones(3, dtype=dtype)
    with pytest.raises(DlkitError, match=layout):
        kind([x]).step()
    assert torch.equal(x.detach(), torch.ones(3, dtype=dtype))


@every_optimizer
def test_the_size_of_the_state_is_known_before_it_is_made(kind: Any) -> None:
    params = parameters()
    optimizer = kind(params)
    stated = optimizer.state_bytes()
    take(optimizer, params, range(1))
    made = [value for state in optimizer.state.values() for value in state.values()]
    assert stated == sum(value.numel() * value.element_size() for value in made)


@every_optimizer
def test_operations_do_not_grow_with_the_tensors(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA each operation is a launch or a few, however many tensors it goes over."""
    if "cuda" not in kind.fused_devices:
        monkeypatch.setattr(kind, "fused_devices", ())
    monkeypatch.setattr(kind, "foreach_devices", ("cpu",))  # as on CUDA
    counts: list[Counter[str]] = []
    for tensors in (2, 40):
        params: list[Tensor] = [torch.randn(4, 3, requires_grad=True) for _ in range(tensors)]
        optimizer = kind(params, lr=0.01, weight_decay=0.1)
        take(optimizer, params, range(1))
        for parameter in params:
            parameter.grad = torch.randn_like(parameter)
        with (operators := RecordedOperators()):
            optimizer.step()
        counts.append(Counter(name for name, _ in operators.called if not name.startswith(NOTHING)))
    assert counts[0] == counts[1]


def test_an_optimizer_must_say_whether_it_is_elementwise() -> None:
    """A rule that takes a matrix as a whole would be wrong on a stack of runs, and nothing in it would fail."""
    with pytest.raises(TypeError, match="Whole must state whether it is elementwise"):
        type("Whole", (AdamW,), {})
    assert type("Mine", (AdamW,), {"elementwise": False}).elementwise is False
    assert all(issubclass(kind, Optimizer) for kind in OPTIMIZERS.values())
