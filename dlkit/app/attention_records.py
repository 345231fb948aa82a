"""The attention of a model as records: of heads, of layers, of the check, and of how a score rose over training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dlkit.app.attention import InspectedModel
from dlkit.attention.flow import attention_flow
from dlkit.attention.intervals import above_null, mean_interval
from dlkit.attention.request import METRICS, InspectionRequest
from dlkit.errors import DlkitError


def inspection_records(side: InspectedModel, request: InspectionRequest) -> Iterator[dict[str, Any]]:
    """A record for each head, then for each layer if --stack was given, then one of the check."""
    about = {"run": str(side.language_model.path), "step": side.language_model.step}
    seen = side.head_scores
    intervals = {name: mean_interval(values) for name, values in seen.scores.items()}
    compared = len(side.layers) * len(side.heads) * len(METRICS)
    higher = {
        name: np.logical_and.reduce(
            [above_null(values, null[name], comparisons=compared) for null in seen.nulls.values()]
        )
        for name, values in seen.scores.items()
        if seen.nulls
    }
    for layer in side.layers:
        for head in side.heads:
            at = (layer, head)
            record: dict[str, Any] = {"kind": "head", **about, "layer": layer, "head": head}
            record |= {name: _number(intervals[name].mean[at]) for name in METRICS}
            if side.rises:
                record |= {"ablation": _number(side.rises["rises"][at]), "ablation_of": side.rises["of"]}
            bounds = {name: [_number(i.low[at]), _number(i.high[at])] for name, i in intervals.items() if i.n[at] > 1}
            if bounds:
                record["interval"] = bounds
            for name, null in seen.nulls.items():
                record[f"null_{name}"] = {key: _number(mean_interval(null[key]).mean[at]) for key in METRICS}
            if higher:
                record["above"] = [name for name in METRICS if higher[name][at]]
            yield record
    if side.inspection is not None and side.inspection.stack is not None:
        yield from _stack_records(side, request, about)
    agrees = [text.offsets_agree for text in side.texts]
    yield {
        "kind": "check",
        **about,
        "difference": _number(seen.reconstruction_error),
        "precision": "fp32",  # which a device is set to when it is picked
        "texts": len(side.texts),
        "tokens": sum(map(len, side.texts)),
        "cut": sum(text.cut for text in side.texts),
        "offsets_agree": None if None in agrees else all(agrees),
    }


def _stack_records(side: InspectedModel, request: InspectionRequest, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    assert side.inspection is not None
    stack = side.inspection.stack
    assert stack is not None
    text = side.texts[0]
    target = request.target if request.target is not None else (len(text) - 1 if side.language_model.causal else 0)
    flows = attention_flow(stack.residual_attention, target) if stack.residual_attention else None
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


def largest_jump(side: InspectedModel, steps: list[int], values: np.ndarray, measure: str) -> dict[str, Any]:
    """The two checkpoints between which the head with the highest final score rose most."""
    last = np.nan_to_num(values[-1], nan=-np.inf)
    row, column = np.unravel_index(int(last.argmax()), last.shape)
    course = values[:, row, column]
    at = int(np.nan_to_num(np.diff(course), nan=-np.inf).argmax())
    return {
        "kind": "jump",
        "run": str(side.language_model.path),
        "measure": measure,
        "layer": side.layers[row],
        "head": side.heads[column],
        "from_step": steps[at],
        "to_step": steps[at + 1],
        "before": float(course[at]),
        "after": float(course[at + 1]),
        "last": float(course[-1]),
    }


def highest_head(side: InspectedModel, measure: str) -> str:
    """The head with the highest score, as LAYER.HEAD."""
    values = side.shown(measure)
    if np.isnan(values).all():
        raise DlkitError(f"{measure} is not defined for this text", "no token has a key of that kind to attend to")
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return f"{side.layers[row]}.{side.heads[column]}"
