"""Measure what each head of a BERT or GPT attends to: `dlkit.inspect_attention`.

Files are written before records are yielded, so that they are complete even if the caller stops iterating.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.app.events import Remark, Work
from dlkit.app.required_files import require_language_run
from dlkit.attention.request import InspectionRequest
from dlkit.errors import DlkitError, RequestError
from dlkit.storage import run_reference

if TYPE_CHECKING:
    import numpy as np

    from dlkit.app.attention import InspectedModel
    from dlkit.attention.page import AttentionPage


@dataclass(frozen=True, slots=True)
class AttentionRecord:
    """What was measured of a head or of a layer, or how far the recomputed weights are from the model's own."""

    record: dict[str, Any]


@dataclass
class AttentionInspection:
    """What an inspection found.

    Args:
        models: the model, and the one that it was compared with; of the steps of a run the last one.
        measure: the score of the views.
        records: of each head and layer and of the check, as `dlkit inspect-attention` prints them.
        page: what views of a text show; None for the steps of a run.
        steps: the steps of the run's checkpoints.
        scores: the measure at each of them, (steps, layers, heads).
        jump: the two steps between which the head with the highest last score rose most.
    """

    models: list[InspectedModel]
    measure: str
    records: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    page: AttentionPage | None = None
    steps: list[int] = field(default_factory=list[int])
    scores: np.ndarray | None = None
    jump: dict[str, Any] | None = None

    def top_head(self) -> str:
        """The head with the highest score, as LAYER.HEAD. Raises DlkitError where the score is not defined."""
        from dlkit.app.attention_records import highest_head

        return highest_head(self.models[0], self.measure)


InspectionEvent = Remark | AttentionRecord


def inspect_attention(
    run: str | os.PathLike[str],
    *texts: str,
    pair: str | None = None,
    layers: str | None = None,
    heads: str | None = None,
    tokens: str | None = None,
    measure: str | None = None,
    by_value: bool = False,
    stack: bool = False,
    target: int | None = None,
    ablate: bool = False,
    null: bool | None = None,
    repeats: int = 4,
    random_from: str | None = None,
    compare: str | os.PathLike[str] | None = None,
    steps: bool = False,
    checkpoint: str | None = None,
    html: str | os.PathLike[str] | None = None,
    png: str | os.PathLike[str] | None = None,
    svg: str | os.PathLike[str] | None = None,
    npz: str | os.PathLike[str] | None = None,
    cut: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> Work[InspectionEvent, AttentionInspection]:
    """Yields a record for each head, with its metrics, and one of the check; the result has all of them.

    Args:
        run: a run, a checkpoint, or a Hugging Face directory.
        texts: what the model reads; of several, the metrics are means with intervals.
        pair: the second text of a pair, for a BERT.
        layers: only these, as `0,3-5`.
        heads: only these of each layer.
        tokens: only what these tokens attend to, as `0:64`.
        measure: the score of views; None for entropy, or over steps for induction.
        by_value: weigh attention by the norms of the values (Kobayashi et al. 2020, arXiv 2004.10102).
        stack: a record for each layer too: rollout, flow, effect of the whole layer.
        target: the token that `stack` follows; None for the last, or of a BERT the first.
        ablate: measure how much the loss rises without each head.
        null: measure shuffled tokens and an untrained twin too; None for several texts alone.
        repeats: repeated random sequences that induction is measured on.
        random_from: a text whose tokens they are drawn from; None for the whole vocabulary.
        compare: another model beside it, with the same tokens and heads.
        steps: inspect every checkpoint of the run; without texts on the random sequences alone.
        checkpoint: `last`, `best` or a step; None for the best by validation data, or else the last.
        html: write a page with everything.
        png: draw the heads, or the steps, into this file (.png, .svg or .pdf).
        svg: draw the same into another one.
        npz: write weights and scores as NumPy arrays.
        cut: shorten a text that is longer than the model's context.
        seed: of random tokens, shuffling, masks and the untrained twin.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        RequestError: there is no such run, layer or head, or no text.
        DlkitError: the weights are damaged.
    """
    if not texts and not steps:
        raise RequestError("no text", "give a text, or several")
    request = InspectionRequest(
        run=os.fspath(run), lines=len(texts) > 1, pair=pair, layers=layers, heads=heads, tokens=tokens, measure=measure,
        by_value=by_value, stack=stack, target=target, ablate=ablate, null=null, repeats=repeats,
        random_from=random_from, compare=None if compare is None else os.fspath(compare), steps=steps,
        checkpoint=checkpoint, html=_path(html), png=_path(png), svg=_path(svg), npz=_path(npz), cut=cut, seed=seed,
        device=device,
    )  # fmt: skip
    return run_inspection(request, texts)


def _path(path: str | os.PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def run_inspection(
    request: InspectionRequest, texts: Sequence[str], keep_layers: bool = False, records: bool = True
) -> Work[InspectionEvent, AttentionInspection]:
    """Inspect a model, two that are compared, or every checkpoint of a run.

    Args:
        request: what to measure, and the files to write.
        texts: to read; none for repeated random tokens alone, over steps.
        keep_layers: keep what the views of a text's weights need.
        records: whether the records are wanted.
    """
    if request.steps and not texts and not request.repeats:
        raise RequestError("`steps` has neither a text nor random sequences", "give a TEXT, or leave `repeats` out")
    for reference in (request.run, request.compare):
        if reference is not None:
            require_language_run(reference)
    steps = _over_steps(request, list(texts), records) if request.steps else None
    return Work(steps or _on_texts(request, list(texts), keep_layers, records))


def _on_texts(
    request: InspectionRequest, texts: list[str], keep_layers: bool, wants_records: bool
) -> Generator[InspectionEvent, None, AttentionInspection]:
    """A model, and the one that it is compared with; of many texts means with intervals, beside chance."""
    from dlkit.app.attention import attention_page, inspect_model, require_comparable
    from dlkit.app.attention_files import write_page_files

    keep_layers = not request.lines and (keep_layers or bool(request.files) or request.stack)
    sides = [inspect_model(request, request.run, texts, request.checkpoint, not request.lines, keep_layers)]
    yield from map(Remark, sides[0].remarks)
    if request.compare is not None:
        sides.append(inspect_model(request, request.compare, texts, None, not request.lines, keep_layers))
        yield from map(Remark, sides[1].remarks)
        require_comparable(*sides)
    page = attention_page(sides)
    yield from write_page_files(request, sides, page)
    found = AttentionInspection(sides, request.shown_measure, page=page)
    if wants_records:
        for side in sides:
            yield from _recorded(side, request, found.records)
    return found


def _recorded(
    side: InspectedModel, request: InspectionRequest, records: list[dict[str, Any]]
) -> Iterator[AttentionRecord]:
    """The records of a model as events; `records` takes them in."""
    from dlkit.app.attention_records import inspection_records

    for record in inspection_records(side, request):
        records.append(record)
        yield AttentionRecord(record)


def _over_steps(
    request: InspectionRequest, texts: list[str], wants_records: bool
) -> Generator[InspectionEvent, None, AttentionInspection]:
    """Every checkpoint of a run, from the first on, on the same texts."""
    import numpy as np

    from dlkit.app.attention import inspect_model
    from dlkit.app.attention_files import draw_steps
    from dlkit.app.attention_records import largest_jump

    steps: list[int] = []
    scores: list[np.ndarray] = []
    records: list[dict[str, Any]] = []
    held: list[AttentionRecord] = []  # until the files are there
    side: InspectedModel | None = None
    for path in kept_checkpoints(request):
        side = inspect_model(request, str(path), texts, None, False, False)
        yield from map(Remark, side.remarks)
        steps.append(side.language_model.step or 0)
        scores.append(side.shown(request.shown_measure))
        for record in _recorded(side, request, records) if wants_records else ():
            if request.files:
                held.append(record)
            else:
                yield record
    assert side is not None
    values = np.stack(scores)  # (steps, layers, heads)
    draw_steps(request, steps, values)
    yield from held
    jump = largest_jump(side, steps, values, request.shown_measure)
    return AttentionInspection([side], request.shown_measure, records, steps=steps, scores=values, jump=jump)


def kept_checkpoints(request: InspectionRequest) -> list[Path]:
    """The checkpoints of a run, in the order of their steps. Raises DlkitError where it has kept fewer than two."""
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
    return found
