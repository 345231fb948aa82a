"""The work of `dlkit inspect-attention`: open models, look at texts, print records, write files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit import runs
from dlkit.attention import flow
from dlkit.attention.induction import Repeats, repeats
from dlkit.attention.look import Look, look, matrices
from dlkit.attention.page import Page
from dlkit.attention.record import layers_of
from dlkit.attention.statistics import above, interval
from dlkit.attention.survey import Survey, places_of, survey
from dlkit.attention.texts import TokenizedText, tokenize
from dlkit.build.language import Reader, open_reader
from dlkit.cli._attention_ablation import ablation
from dlkit.cli._attention_request import MEASURES, Request, selected, token_range
from dlkit.cli._console import Output, escaped, note
from dlkit.errors import DlkitError, RequestError
from dlkit.train import machine

_LOOSE = 1e-3  # a difference of the check, relative to the largest output, that deserves a remark


@dataclass(frozen=True)
class Side:
    """One model, its texts, and what was seen. `scores` holds (n, L, H) by measure, nulls likewise."""

    reader: Reader
    texts: list[TokenizedText]
    layers: list[int]
    heads: list[int]
    tokens: tuple[int, int]
    survey: Survey
    look: Look | None = None
    rises: dict[str, Any] | None = None

    def means(self) -> dict[str, np.ndarray]:
        """(L, H) by measure, over texts; the change without each head is one where it was asked for."""
        means = {name: interval(values).mean for name, values in self.survey.scores.items()}
        return means | ({"ablation": self.rises["rises"]} if self.rises else {})


def open_side(request: Request, reference: str, texts: list[str], checkpoint: str | None, alone: bool) -> Side:
    """Open a model and look at the texts; `alone` keeps what the views of a single text need."""
    device = machine.pick_device(request.device)
    reader = open_reader(reference, device, checkpoint)
    attention = layers_of(reader.model)
    layers = selected("--layers", request.layers, len(attention))
    heads = selected("--heads", request.heads, attention[0].heads)
    context: int = reader.model.context  # pyright: ignore[reportAssignmentType]
    tokenized = [_tokenized(reader, request, text, number, context, alone) for number, text in enumerate(texts)]
    shortest = min((len(text) for text in tokenized), default=0)
    tokens = token_range(request.tokens, shortest or None)
    causal = reader.causal
    copies: list[Repeats] = []
    if request.repeats:
        copies = repeats(
            reader.tokenizer, context, request.repeats, request.seed, causal=causal, alphabet=request.random_from
        )
    if not tokenized:  # repeated random tokens alone
        tokenized = [
            TokenizedText(each.numbers, [""] * len(each.numbers), each.special, [None] * len(each.numbers))
            for each in copies
        ]
    wants_null = request.null if request.null is not None else not alone
    seen = survey(
        reader.model, tokenized, copies, causal=causal, start=tokens[0], stop=tokens[1] or None,
        by_value=request.by_value, untrained=reader.untrained(request.seed) if wants_null else None, seed=request.seed,
    )  # fmt: skip
    kept = rises = None
    if alone and tokenized:
        kept = _kept(reader, request, tokenized[0])
    if request.ablate:
        rises = ablation(reader, tokenized, request.seed)
    return Side(reader, tokenized, layers, heads, tokens, seen, kept, rises)


def _tokenized(reader: Reader, request: Request, text: str, number: int, context: int, alone: bool) -> TokenizedText:
    try:
        return tokenize(reader.tokenizer, text, context, causal=reader.causal, pair=request.pair, cut=request.cut)
    except RequestError as error:
        raise error if alone else RequestError(f"text {number + 1}: {error.message}", error.hint) from error


def _kept(reader: Reader, request: Request, text: TokenizedText) -> Look:
    """A look at a single text that keeps queries and keys, and follows a token down where that is asked for."""
    target = None
    if request.stack:
        target = request.target if request.target is not None else (len(text) - 1 if reader.causal else 0)
        if not 0 <= target < len(text):
            raise RequestError(f"--target {target}: the text has {len(text)} tokens", f"0 to {len(text) - 1}")
    pipes = len(layers_of(reader.model)) * len(text) ** 2
    flows = target is not None and pipes <= flow.MOST_PIPES
    if target is not None and not flows:
        note(f"flow is left out: {len(text)} tokens are too many for it, rollout is there")
    places = places_of(text.numbers, text.special, reader.causal)
    return look(
        reader.model, text.numbers, places, segments=text.segments, keep=True, target=target, shares=flows
    )  # fmt: skip


def one_text(request: Request, text: str, output: Output) -> None:
    """A single text, in one model or in two that are compared."""
    sides = [open_side(request, request.run, [text], request.checkpoint, True)]
    if request.compare is not None:
        sides.append(open_side(request, request.compare, [text], None, True))
        _comparable(*sides)
    page = _page(sides)
    measure = request.measure or "entropy"
    if output.quiet:
        output.line(_greatest(sides[0], measure))
    elif output.tables:
        _show(sides, page, measure, request)
    else:
        for side in sides:
            for record in _records(side, request):
                output.emit(record, None, dict)
    _write(request, sides, page)


def over_lines(request: Request, texts: list[str], output: Output) -> None:
    """Many texts: means with intervals, beside chance."""
    for option in ("--html", "--png", "--svg", "--npz"):
        if option in request.files:
            raise RequestError(f"{option} shows one text, --lines is many", "give a TEXT")
    if request.stack:
        raise RequestError("--stack is for one text, --lines is many", "give a TEXT")
    sides = [open_side(request, request.run, texts, request.checkpoint, False)]
    if request.compare is not None:
        sides.append(open_side(request, request.compare, texts, None, False))
        _comparable(*sides)
    measure = request.measure or "entropy"
    if output.quiet:
        output.line(_greatest(sides[0], measure))
    elif output.tables:
        _show(sides, _page(sides), measure, request)
    else:
        for side in sides:
            for record in _records(side, request):
                output.emit(record, None, dict)


def over_steps(request: Request, texts: list[str], output: Output) -> None:
    """Every checkpoint of a run, from the first on."""
    for option in ("--html", "--npz"):
        if option in request.files:
            raise RequestError(f"{option} is for one checkpoint, not for --steps", "draw the steps with --png or --svg")
    run = runs.resolve(request.run)
    found = sorted((run.path / "checkpoints").glob("step-*"))
    if len(found) < 2:
        raise DlkitError(f"{run.path} has {len(found)} checkpoints", "train with train.checkpoint_every=100 steps")
    measure = request.measure or "induction"
    if measure == "ablation":
        raise RequestError("--measure ablation is not for --steps", f"take one of {', '.join(MEASURES)}")
    steps: list[int] = []
    scores: list[np.ndarray] = []
    side: Side | None = None
    for path in found:
        side = open_side(request, str(path), texts, None, False)
        steps.append(side.reader.step or 0)
        scores.append(side.means()[measure][side.layers][:, side.heads])
        if not output.quiet and not output.tables:
            for record in _records(side, request):
                output.emit(record, None, dict)
    assert side is not None
    values = np.stack(scores)  # (S, layers, heads)
    jump = _jump(side, steps, values, measure)
    if output.tables:
        from rich.console import Console

        Console().print(_steps_table(side, steps, values, measure, jump))
    else:
        output.emit(jump, jump["to_step"], dict)
    for option in ("--png", "--svg"):
        if option in request.files:
            from dlkit.attention.figures import draw_steps

            draw_steps(request.files[option], steps, {measure: values})


def _jump(side: Side, steps: list[int], values: np.ndarray, measure: str) -> dict[str, Any]:
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


def _comparable(one: Side, two: Side) -> None:
    if [text.numbers for text in one.texts] != [text.numbers for text in two.texts]:
        raise RequestError(
            f"{one.reader.path} and {two.reader.path} read the text as different tokens",
            "--compare takes two models with one tokenizer, such as two checkpoints of a run",
        )
    if one.layers != two.layers or one.heads != two.heads:
        raise RequestError(
            f"{one.reader.path} has other layers or heads than {two.reader.path}", "choose --layers and --heads"
        )


def _greatest(side: Side, measure: str) -> str:
    """LAYER.HEAD of the greatest score."""
    values = side.means()[measure][side.layers][:, side.heads]
    if np.isnan(values).all():
        raise DlkitError(f"{measure} is not defined for this text", "no token has such a place to look at")
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return f"{side.layers[row]}.{side.heads[column]}"


def _records(side: Side, request: Request) -> Iterator[dict[str, Any]]:
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


def _page(sides: list[Side]) -> Page:
    first = sides[0]
    start, stop = first.tokens
    text = first.texts[0]
    stop = stop or len(text)
    names = [str(side.reader.path) for side in sides]
    if len(set(names)) < len(names):
        names = [f"{name} at step {side.reader.step}" for name, side in zip(names, sides, strict=True)]
    scores = {
        name: np.stack([side.means()[name][side.layers][:, side.heads] for side in sides]) for name in first.means()
    }
    notes: dict[str, str] = {}
    for name, side in zip(names, sides, strict=True):
        step = "" if side.reader.step is None else f" step {side.reader.step},"
        notes[name] = f"{side.reader.task},{step} largest difference of the check {side.survey.difference:.2g}"
    notes["tokens"] = f"{len(text)}" if (start, stop) == (0, len(text)) else f"{start} to {stop - 1} of {len(text)}"
    if (start, stop) != (0, len(text)):
        notes["rows"] = "what a row lacks to 1 goes to tokens that are not shown"
    split = None if text.split is None or not start < text.split < stop else text.split - start
    title = "".join(text.labels[:40])
    return Page(
        title, text.labels[start:stop], first.layers, first.heads, first.reader.causal, names, scores, notes, split
    )  # fmt: skip


def _weights(request: Request, sides: list[Side], start: int, stop: int) -> Iterator[np.ndarray]:
    for side in sides:
        assert side.look is not None
        chosen = [side.look.layers[layer] for layer in side.layers]
        yield from matrices(chosen, side.heads, by_value=request.by_value, start=start, stop=stop)


def _write(request: Request, sides: list[Side], page: Page) -> None:
    start = sides[0].tokens[0]
    stop = start + len(page.tokens)
    for option, path in request.files.items():
        weights = _weights(request, sides, start, stop)
        if option == "--html":
            from dlkit.attention import page as pages

            size = pages.write(path, page, weights)
            note(f"{path}: {size / 1e6:.1f} MB")
        elif option == "--npz":
            from dlkit.attention.arrays import write

            write(path, page, sides[0].texts[0].numbers[start:stop], weights)
        else:
            from dlkit.attention import figures

            figures.draw(path, page, weights, request.measure)


def _show(sides: list[Side], page: Page, measure: str, request: Request) -> None:
    from rich.console import Console, Group
    from rich.text import Text

    from dlkit.cli import _attention_view as view

    first = sides[0]
    parts: list[Any] = []
    if len(sides) == 1 and len(page.layers) == 1 and len(page.heads) == 1 and first.look is not None:
        start = first.tokens[0]
        (weights,) = _weights(request, sides, start, start + len(page.tokens))
        parts.append(view.head(page.tokens, weights, f"layer {page.layers[0]} head {page.heads[0]}", page.split))
        parts.append(_facts({name: float(values[0, 0, 0]) for name, values in page.scores.items()}))
    else:
        parts.append(view.grid(page, measure))
    for side in sides:
        if side.look is not None and side.look.stack is not None:
            parts.append(_stack_table(side))
        loose = f"largest difference of the check {side.survey.difference:.2g}"
        parts.append(Text(f"{escaped(str(side.reader.path))}: {loose}", style="dim"))
    Console().print(Group(*parts))


def _facts(scores: dict[str, float]) -> Any:
    from rich.text import Text

    shown = [f"{name} {value:.3f}" for name, value in scores.items() if not np.isnan(value)]
    return Text("  ".join(shown))


def _stack_table(side: Side) -> Any:
    from rich.table import Table

    assert side.look is not None
    stack = side.look.stack
    assert stack is not None
    table = Table("layer", "rollout: entropy", "sink", "distance", "effect: entropy", "sink", "distance", box=None)
    for layer in side.layers:
        cells = [
            f"{part[name][layer]:.3f}"
            for part in (stack.rollout, stack.effect)
            for name in ("entropy", "sink", "distance")
        ]
        table.add_row(str(layer), *cells)
    return table


def _steps_table(side: Side, steps: list[int], values: np.ndarray, measure: str, jump: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    order = np.argsort(-np.nan_to_num(values[-1], nan=-np.inf), axis=None)[:6]
    places = [np.unravel_index(int(index), values.shape[1:]) for index in order]
    table = Table("step", *(f"{side.layers[a]}.{side.heads[b]}" for a, b in places), box=None, pad_edge=False)
    for number, step in enumerate(steps):
        table.add_row(f"{step:,}", *(f"{values[number, a, b]:.3f}" for a, b in places))
    for column in table.columns:
        column.justify = "right"
    told = (
        f"{measure} of {side.reader.path}: head {jump['layer']}.{jump['head']} rises most from step "
        f"{jump['from_step']:,} ({jump['before']:.3f}) to {jump['to_step']:,} ({jump['after']:.3f})"
    )
    return Group(table, Text(escaped(told)))
