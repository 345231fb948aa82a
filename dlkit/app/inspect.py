"""Measure what each head of a BERT or GPT attends to: `dlkit.inspect_attention`, and the steps of a run one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.attention.request import METRICS, InspectionRequest
from dlkit.errors import DlkitError, RequestError
from dlkit.storage import run_reference

if TYPE_CHECKING:
    from dlkit.app.attention import InspectedModel


def inspect_attention(
    run: str | os.PathLike[str],
    *texts: str,
    pair: str | None = None,
    layers: str | None = None,
    heads: str | None = None,
    tokens: str | None = None,
    by_value: bool = False,
    ablate: bool = False,
    null: bool | None = None,
    repeats: int = 4,
    random_from: str | None = None,
    checkpoint: str | None = None,
    cut: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """A record for each head, with its metrics, and one of the check: the recomputed weights against the model's own.

    Args:
        run: a run, a checkpoint, or a Hugging Face directory.
        texts: what the model reads; of several, the metrics are means with intervals.
        pair: the second text of a pair, for a BERT.
        layers: only these, as `0,3-5`.
        heads: only these of each layer.
        tokens: only what these tokens attend to, as `0:64`.
        by_value: weigh attention by the norms of the values (Kobayashi et al. 2020, arXiv 2004.10102).
        ablate: measure how much the loss rises without each head.
        null: measure shuffled tokens and an untrained twin too; None for several texts alone.
        repeats: repeated random sequences that induction is measured on.
        random_from: a text whose tokens they are drawn from; None for the whole vocabulary.
        checkpoint: `last`, `best` or a step; None for the best by validation data, or else the last.
        cut: shorten a text that is longer than the model's context.
        seed: of random tokens, shuffling, masks and the untrained twin.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        RequestError: there is no such run, layer or head, or no text.
        DlkitError: the weights are damaged.
    """
    if not texts:
        raise RequestError("no text", "give a text, or several")
    request = InspectionRequest(
        os.fspath(run), pair, layers, heads, tokens, None, by_value, False, None, ablate, null, repeats, random_from,
        None, False, checkpoint, {}, cut, seed, device,
    )  # fmt: skip
    request.check()
    run_reference.require_reference(os.fspath(run))

    from dlkit.app.attention import inspect_model
    from dlkit.app.attention_records import inspection_records

    model = inspect_model(request, request.run, list(texts), checkpoint, len(texts) == 1)
    return list(inspection_records(model, request))


def kept_checkpoints(request: InspectionRequest) -> list[Path]:
    """The checkpoints of a run, in the order of their steps.

    Raises:
        RequestError: the metric cannot be followed over steps.
        DlkitError: the run has kept fewer than two.
    """
    run = run_reference.resolve_run(request.run)
    folder = run.path / "checkpoints"
    found = [
        folder / run_reference.checkpoint_name(step)
        for step, whole in run_reference.step_folders(folder).items()
        if whole
    ]
    if len(found) < 2:
        raise DlkitError(
            f"{run.path} keeps {len(found)} checkpoint",
            "dlkit train RECIPE train.keep_checkpoints=true 'train.checkpoint_every=100 steps'",
        )
    if request.measure == "ablation":
        raise RequestError("--measure ablation is not for --steps", f"take one of {', '.join(METRICS)}")
    return found


def inspect_steps(request: InspectionRequest, texts: list[str]) -> Iterator[InspectedModel]:
    """Every checkpoint of a run, inspected on the same texts; without texts on repeated random tokens alone."""
    from dlkit.app.attention import inspect_model

    for path in kept_checkpoints(request):
        yield inspect_model(request, str(path), texts, None, False, False)


def inspect_side_by_side(
    request: InspectionRequest, texts: list[str], alone: bool, keep_layers: bool
) -> Iterator[InspectedModel]:
    """The model of a request, and then the one that it is compared with, if there is one.

    Raises RequestError if they read other tokens or have other heads.
    """
    from dlkit.app.attention import inspect_model, require_comparable

    first = inspect_model(request, request.run, texts, request.checkpoint, alone, keep_layers)
    yield first
    if request.compare is not None:
        second = inspect_model(request, request.compare, texts, None, alone, keep_layers)
        yield second
        require_comparable(first, second)
