"""A step of every optimizer on the tensors of GPT-2 small, beside torch's in each of its forms: launches and time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from dlkit.catalog import OPTIMIZERS, import_object
from dlkit.doctor.bench import Bench
from dlkit.doctor.clock import Work, in_turns
from dlkit.doctor.finding import Finding
from dlkit.doctor.launches import launches
from dlkit.doctor.twins import optimizers as twins
from dlkit.doctor.twins.transformer import GPT

GOAL = 1.05  # times torch's best, at most
_LR = 1e-9  # so that the numbers stay as they are


def measure(bench: Bench) -> Iterator[Finding]:
    """A finding for each optimizer that torch has too."""
    layers, width, vocabulary = bench.sized(gpu=(12, 768, 50_304), cpu=(2, 64, 512))
    shapes = [tuple(p.shape) for p in GPT(vocabulary, width, layers, width // 64, width).to("meta").parameters()]
    for name in twins.TWINS:
        chosen = [shape for shape in shapes if len(shape) == 2] if name == "muon" else shapes
        make = import_object(OPTIMIZERS[name].target)
        # ours first; the twins' tensors are their own, so that all lie in memory side by side
        ways: dict[str, Callable[[], Work]] = {
            "dlkit": _stepping(bench, chosen, lambda ps, make=make: make(ps, lr=_LR))
        }
        for form in twins.TWINS[name][2] or ("loop",):
            ways[form] = _stepping(
                bench, chosen, lambda ps, name=name, form=form: twins.fast_forms(name, ps, _LR)[form]
            )
        times = in_turns(ways, bench.device, rounds=5 if bench.quick else 15)
        counts = {form: launches(way(), bench.device) for form, way in ways.items()}
        best = min((form for form in times if form != "dlkit"), key=lambda form: times[form].median)
        ratio = times["dlkit"].median / times[best].median
        kind = "launches" if bench.on_gpu else "operators"
        yield Finding(
            name,
            f"<= {GOAL:g} of {best}" if bench.on_gpu else "",
            f"{times['dlkit'].median:.3g} ms, {ratio:.2f} of {times[best].median:.3g}; "
            f"{counts['dlkit']} {kind} beside {counts[best]}",
            ("pass" if ratio <= GOAL else "fail") if bench.on_gpu else "measured",
            {
                "unit": "ms",
                "ratio": ratio,
                "best": best,
                "launches": counts,
                "times": {form: each.numbers() for form, each in times.items()},
            },
        )
        if bench.on_gpu:
            torch.cuda.empty_cache()


def _stepping(bench: Bench, shapes: list[tuple[int, ...]], make: Callable[[list[Tensor]], Any]) -> Callable[[], Work]:
    def build() -> Work:
        generator = torch.Generator(bench.device).manual_seed(0)
        draw = {"generator": generator, "device": bench.device}
        parameters = [torch.randn(shape, **draw).requires_grad_() for shape in shapes]
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, **draw).mul_(1e-3)
        return make(parameters).step

    return build
