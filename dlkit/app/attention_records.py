"""What was seen in a model's attention as records: heads, layers, the check, and how a score rose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dlkit.app.attention import Side
from dlkit.attention import flow
from dlkit.attention.intervals import above, interval
from dlkit.attention.request import MEASURES, Request
from dlkit.errors import DlkitError


def records(side: Side, request: Request) -> Iterator[dict[str, Any]]:
    """Heads, then layers where they were asked for, then the check."""
    about = {"run": str(side.reader.path), "step": side.reader.step}
    seen = side.survey
    intervals = {name: interval(values) for name, values in seen.scores.items()}
    compared = len(side.layers) * len(side.heads) * len(MEASURES)
    higher = {
        name: np.logical_and.reduce([above(values, null[name], comparisons=compared) for null in seen.nulls.values()])
        for name, values in seen.scores.items()
        if seen.nulls
    }
    for layer in side.layers:
        for head in side.heads:
            at = (layer, head)
            record: dict[str, Any] = {"kind": "head", **about, "layer": layer, "head": head}
            record |= {name: _number(intervals[name].mean[at]) for name in MEASURES}
            if side.rises:
                record |= {"ablation": _number(side.rises["rises"][at]), "ablation_of": side.rises["of"]}
            bounds = {name: [_number(i.low[at]), _number(i.high[at])] for name, i in intervals.items() if i.n[at] > 1}
            if bounds:
                record["interval"] = bounds
            for name, null in seen.nulls.items():
                record[f"null_{name}"] = {key: _number(interval(null[key]).mean[at]) for key in MEASURES}
            if higher:
                record["above"] = [name for name in MEASURES if higher[name][at]]
            yield record
    if side.look is not None and side.look.stack is not None:
        yield from _stack_records(side, request, about)
    agrees = [text.agrees for text in side.texts]
    yield {
        "kind": "check",
        **about,
        "difference": _number(seen.difference),
        "precision": "fp32",  # which a device is set to when it is picked
        "texts": len(side.texts),
        "tokens": sum(map(len, side.texts)),
        "cut": sum(text.cut for text in side.texts),
        "offsets_agree": None if None in agrees else all(agrees),
    }


def _stack_records(side: Side, request: Request, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    assert side.look is not None
    stack = side.look.stack
    assert stack is not None
    text = side.texts[0]
    target = request.target if request.target is not None else (len(text) - 1 if side.reader.causal else 0)
    flows = flow.flow(stack.shares, target) if stack.shares else None
    for layer in side.layers:
        yield {
            "kind": "layer",
            **about,
            "layer": layer,
            "rollout": {name: _number(values[layer]) for name, values in stack.rollout.items()},
            "effect": {name: _number(values[layer]) for name, values in stack.effect.items()},
            "target": target,
            "tokens": text.labels,
            "sources": [_number(value) for value in stack.sources[layer]],
            "flow": None if flows is None else [_number(value) for value in flows[layer]],
        }


def _number(value: Any) -> float:
    return float(f"{float(value):.6g}")


def jump_of(side: Side, steps: list[int], values: np.ndarray, measure: str) -> dict[str, Any]:
    """Between which two checkpoints the head with the greatest score at the end rose most."""
    last = np.nan_to_num(values[-1], nan=-np.inf)
    row, column = np.unravel_index(int(last.argmax()), last.shape)
    course = values[:, row, column]
    at = int(np.nan_to_num(np.diff(course), nan=-np.inf).argmax())
    return {
        "kind": "jump",
        "run": str(side.reader.path),
        "measure": measure,
        "layer": side.layers[row],
        "head": side.heads[column],
        "from_step": steps[at],
        "to_step": steps[at + 1],
        "before": float(course[at]),
        "after": float(course[at + 1]),
        "last": float(course[-1]),
    }


def greatest(side: Side, measure: str) -> str:
    """LAYER.HEAD of the greatest score."""
    values = side.shown(measure)
    if np.isnan(values).all():
        raise DlkitError(f"{measure} is not defined for this text", "no token has such a place to look at")
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return f"{side.layers[row]}.{side.heads[column]}"
