"""Muon against torch's twin, the closed form of its iteration, and AdamW for what is no hidden matrix."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlkit import recipe
from dlkit.assemble import assemble_training
from dlkit.errors import RequestError
from dlkit.models.cnn import CNN
from dlkit.models.gpt import GPT
from dlkit.optim import muon
from dlkit.optim.adamw import AdamW
from dlkit.optim.groups import parameter_groups
from dlkit.optim.muon import COEFFICIENTS, Muon, divided, orthogonal
from dlkit.training.events import Evaluated
from dlkit.training.loop import fit
from dlkit.vectorized.stackable import why_not_stackable

SHAPES = [(5, 3), (3, 5), (16, 16), (1, 7), (40, 17), (5, 3), (16, 16), (3, 5), (16, 16), (4, 6)]
CASES: list[dict[str, Any]] = [
    {"lr": 0.02},
    {"lr": 0.02, "momentum": 0.5, "nesterov": False},
    {"lr": 0.1, "weight_decay": 0.3, "ns_steps": 3},
    {"lr": 0.01, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.1},
    {"lr": 0.01, "adjust_lr_fn": "spectral_unclamped", "weight_decay": 0.1},
]


@pytest.fixture(params=["at once", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, where matrices of one shape are stacked, and as on a CPU."""
    monkeypatch.setattr(Muon, "foreach_devices", ("cpu",) if request.param == "at once" else ())


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch's twin multiplies in, whatever this machine can do."""
    monkeypatch.setattr(muon, "working_dtype", lambda theta: torch.bfloat16)


def values(seed: int, shapes: list[tuple[int, ...]], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def run(optimizer: Any, params: list[Tensor], steps: range, shapes: list[tuple[int, ...]] = SHAPES) -> None:
    for step in steps:
        for parameter, gradient in zip(params, values(100 + step, shapes, params[0].dtype), strict=True):
            parameter.grad = gradient.view_as(parameter)
        optimizer.step()


def pair(dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[Tensor]]:
    return tuple([x.requires_grad_() for x in values(0, SHAPES, dtype)] for _ in range(2))  # type: ignore[return-value]


def torchs(params: list[Tensor], options: dict[str, Any]) -> Any:
    try:
        return torch.optim.Muon(params, **{"weight_decay": 0.0, **options})
    except ValueError as error:  # torch 2.11 has no spectral_unclamped
        pytest.skip(str(error))


def test_the_scale_for_a_spectral_norm_of_one(bf16: None) -> None:
    """Without weight decay a step is lr s(m, n) O: the larger one by sqrt(m / n) for lack of a clamp."""
    start = values(0, SHAPES)
    for theta in start:
        rows, columns = theta.shape
        steps = []
        for scale in ("original", "spectral_unclamped"):
            mine = [theta.clone().requires_grad_()]
            run(Muon(mine, lr=0.02, adjust_lr_fn=scale), mine, range(1), [tuple(theta.shape)])
            steps.append(mine[0].detach() - theta)
        torch.testing.assert_close(steps[1], steps[0] * min(1, (rows / columns) ** 0.5), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_twin(bf16: None, options: dict[str, Any], dtype: torch.dtype) -> None:
    mine, reference = pair(dtype)
    run(Muon(mine, **options), mine, range(30))
    run(torchs(reference, options), reference, range(30))
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [*CASES, {"lr": 0.1, "unit_rows": True, "maximize": True}])
def test_matrices_at_once_are_as_one_by_one(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """With products in float64, where the order of their sums does not show."""
    monkeypatch.setattr(muon, "working_dtype", lambda theta: torch.float64)
    monkeypatch.setattr(muon, "_MOST_IN_A_STACK", 600)  # two of the three large ones
    mine, reference = pair(torch.float64)
    run(Muon(reference, **options), reference, range(10))
    monkeypatch.setattr(Muon, "foreach_devices", ("cpu",))
    run(Muon(mine, **options), mine, range(10))
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", CASES)
def test_states_interchange(bf16: None, options: dict[str, Any]) -> None:
    mine, reference = pair()
    one, other = Muon(mine, **options), torchs(reference, options)
    run(other, reference, range(5))
    with torch.no_grad():
        for a, b in zip(mine, reference, strict=True):
            a.copy_(b)
    one.load_state_dict(copy.deepcopy(other.state_dict()))
    run(other, reference, range(5, 10))
    run(one, mine, range(5, 10))
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    run(other, reference, range(10, 15))
    run(one, mine, range(10, 15))
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 5])
def test_closed_form(shape: tuple[int, int], steps: int) -> None:
    """Newton-Schulz maps the singular values by its polynomial and leaves the singular vectors."""
    (matrix,) = values(1, [shape], torch.float64)
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.square().sum().sqrt()
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    torch.testing.assert_close(orthogonal(matrix, steps, COEFFICIENTS, 1e-7), u @ s.diag() @ vt, rtol=1e-10, atol=1e-10)
    if steps == 5:
        assert s.min() > 0.3
        assert s.max() < 1.3


def test_zero_gradient_leaves_weights() -> None:
    (matrix,) = values(2, [(4, 6)])
    parameter = matrix.clone().requires_grad_()
    parameter.grad = torch.zeros_like(parameter)
    Muon([parameter], lr=0.1).step()
    assert torch.equal(parameter, matrix)


@pytest.mark.parametrize("gradients", ["alike", "otherwise"])
def test_kernels_are_matrices_in_any_layout(bf16: None, way: None, gradients: str) -> None:
    shapes = [(6, 4, 3, 3), (6, 4, 3, 3), (5, 1, 3, 3)]
    kernels = values(3, shapes)
    ours = [kernel.clone(memory_format=torch.channels_last).requires_grad_() for kernel in kernels]
    flat = [kernel.flatten(1).requires_grad_() for kernel in kernels]
    mine, theirs = Muon(ours, lr=0.05), torchs(flat, {"lr": 0.05})
    for step in range(10):
        for a, b, gradient in zip(ours, flat, values(100 + step, shapes), strict=True):
            a.grad = gradient.clone(memory_format=torch.channels_last) if gradients == "alike" else gradient
            b.grad = gradient.flatten(1)
        mine.step()
        theirs.step()
    for a, b in zip(ours, flat, strict=True):
        # bf16 products of permuted columns are summed in another order
        torch.testing.assert_close(a.flatten(1), b, rtol=0, atol=1e-2 * 0.05 * 10)


def test_unit_rows(way: None) -> None:
    matrices = values(4, [(8, 20), (8, 20)])
    parameters = [(7 * matrix).requires_grad_() for matrix in matrices]
    for parameter, matrix in zip(parameters, matrices, strict=True):
        parameter.grad = matrix.flip(0)
    Muon(parameters, lr=1e-9, unit_rows=True).step()
    for parameter, matrix in zip(parameters, matrices, strict=True):
        assert parameter.square().sum().item() == pytest.approx(8, rel=1e-5)  # sum of squares = rows
        torch.testing.assert_close(parameter / parameter.norm(), matrix / matrix.norm())


@pytest.mark.parametrize("fused", [True, False])
def test_the_rest_goes_by_adamw(monkeypatch: pytest.MonkeyPatch, fused: bool) -> None:
    if not fused:
        monkeypatch.setattr(AdamW, "fused_devices", ())
    torch.manual_seed(0)
    model = CNN((1, 8, 8), 3, channels=(4, 6))
    twin = copy.deepcopy(model)
    groups = divided(model, parameter_groups(model, bias_factor=2.0), other_factor=0.25)
    hidden = [p for group in groups if group.get("hidden", True) for p in group["params"]]
    assert not hidden  # features is the first stage, fc the last
    reference = torch.optim.AdamW(
        [
            {"params": [p for p in twin.parameters() if p.dim() > 1], "lr": 0.01 * 0.25, "weight_decay": 0.1},
            {"params": [p for p in twin.parameters() if p.dim() == 1], "lr": 0.01 * 0.5, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
        eps=1e-7,
    )
    mine = Muon(groups, lr=0.01, weight_decay=0.1)
    for _ in range(10):
        inputs, targets = torch.randn(8, 1, 8, 8), torch.randint(3, (8,))
        for network, optimizer in ((model, mine), (twin, reference)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs), targets).backward()
            optimizer.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_what_is_hidden() -> None:
    model = GPT(50, 16, layers=2, heads=2, width=8)
    groups = divided(model, parameter_groups(model))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden = {names[id(p)] for group in groups if group.get("hidden", True) for p in group["params"]}
    assert hidden == {
        name for name in names.values() if name.startswith("blocks") and model.get_parameter(name).dim() > 1
    }
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_options_out_of_range() -> None:
    (matrix,) = values(0, [(2, 2)])
    for options in ({"momentum": 1.0}, {"ns_steps": 0}, {"lr": -1.0}, {"ns_steps": 100}):
        with pytest.raises(RequestError):
            Muon([matrix], **options)  # type: ignore[arg-type]


def test_it_learns_from_a_recipe_and_is_not_stacked() -> None:
    changes = ["optimizer={name: muon, lr: 0.05, unit_rows: true}", "train.epochs=3", "train.compile=off"]
    found = assemble_training(recipe.load("digits-resnet20", changes), torch.device("cpu"))
    assert "as a whole" in (why_not_stackable(found.training) or "")
    last = [event for event in fit(found.training) if isinstance(event, Evaluated)][-1]
    assert max(value for name, value in last.metrics.items() if "accuracy" in name) > 0.8


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("digits-resnet20", "resnet20"),
        ("digits-resnet20", "{name: convnext, depths: [1, 1], widths: [4, 8], patch: 1}"),
        ("digits-resnet20", "{name: fast_cnn, widths: [4, 8]}"),
        ("digits-mlp", "mlp"),
        ("pydoc-gpt", "{name: gpt, layers: 1, heads: 2, width: 8}"),
        ("pydoc-bert", "{name: bert, layers: 1, heads: 2, width: 8}"),
    ],
)
def test_every_parameter_is_in_one_group(name: str, model: str) -> None:
    changes = [
        f"model={model if ':' in model else f'{{name: {model}}}'}",
        "optimizer={name: muon, lr: 0.02, other_factor: 0.15}",
    ]
    found = assemble_training(recipe.load(name, changes), torch.device("cpu")).training
    inside = [parameter for group in found.optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in inside} == {id(p) for p in found.model.parameters() if p.requires_grad}
    assert len(inside) == len({id(parameter) for parameter in inside})
    assert any(group["hidden"] for group in found.optimizer.param_groups)
    rates = {group["lr"] for group in found.optimizer.param_groups if not group["hidden"]}
    assert rates == {0.02 * 0.15}


def test_what_it_does_not_know_is_refused() -> None:
    (theta,) = values(0, [(3, 5)])
    with pytest.raises(RequestError, match=r"adjust_lr_fn must be one of original, .*, got 'spectral'"):
        Muon([theta], adjust_lr_fn="spectral")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="decay must be one of weights, all, got 'none'"):
        parameter_groups(nn.Linear(3, 5), decay="none")  # type: ignore[arg-type]
