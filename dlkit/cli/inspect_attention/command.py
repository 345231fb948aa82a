"""`dlkit inspect-attention`: look inside the attention of a BERT or a GPT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlkit.annotations import LARGEST_SEED
from dlkit.app.inspect import run_inspection
from dlkit.attention.request import InspectionRequest
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.inspect_attention.input import read_lines, read_text
from dlkit.cli.options import Device, Json, Quiet, Trust
from dlkit.errors import RequestError


def inspect_attention_command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run, a checkpoint, a Hugging Face directory, or - for either from a pipe.",
            autocompletion=completion.runs,
        ),
    ],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What the model reads; - or nothing takes standard input.")
    ] = None,
    pair: Annotated[str | None, typer.Option(metavar="TEXT", help="The second text of a pair, for a BERT.")] = None,
    lines: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Many texts, one a line: means with intervals. - is stdin.")
    ] = None,
    layers: Annotated[str | None, typer.Option(metavar="LIST", help="Only these, as 0,3-5.")] = None,
    heads: Annotated[str | None, typer.Option(metavar="LIST", help="Only these of each layer.")] = None,
    tokens: Annotated[
        str | None, typer.Option(metavar="A:B", help="Only these tokens as queries, as 0:64; views show no others.")
    ] = None,
    measure: Annotated[
        str | None, typer.Option(metavar="NAME", help="The score of views and of -q (default: entropy).")
    ] = None,
    by_value: Annotated[
        bool, typer.Option("--by-value", help="Weigh attention by the norms of the values that it fetches.")
    ] = False,
    stack: Annotated[
        bool, typer.Option("--stack", help="Add a record for each layer: rollout, flow, effect of the whole layer.")
    ] = False,
    target: Annotated[
        int | None,
        typer.Option(metavar="N", help="The token that --stack follows (default: last; of a BERT the first)."),
    ] = None,
    ablate: Annotated[
        bool,
        typer.Option("--ablate", help="Ablate each head: how much does the loss rise, or the class's logit fall?"),
    ] = False,
    null: Annotated[
        bool | None,
        typer.Option(
            "--null/--no-null", help="Measure shuffled tokens and an untrained twin too (default: with --lines)."
        ),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(min=0, max=1000, metavar="N", help="Random sequences that induction is measured on; 0 for none."),
    ] = 4,
    random_from: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Draw their tokens from this text's (default: the whole vocabulary)."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="RUN2", help="Another model beside it, with the same tokens and heads.")
    ] = None,
    steps: Annotated[
        bool, typer.Option("--steps", help="Every checkpoint of the run, on TEXT or on the random sequences alone.")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one offline page with everything.")] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the heads, or the steps (.png, .svg or .pdf).")
    ] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="The same once more, as .svg, .png or .pdf.")] = None,
    npz: Annotated[Path | None, typer.Option(metavar="FILE", help="Write weights and scores as NumPy arrays.")] = None,
    cut: Annotated[bool, typer.Option("--cut", help="Shorten a text that is longer than the model's context.")] = False,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=LARGEST_SEED, metavar="N", help="Seed of random tokens, shuffling, masks and the untrained twin."
        ),
    ] = 0,
    device: Device = "auto",
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what each head attends to, and show it.

    The weights are recomputed from the inputs of the model's own kernel, and checked against the kernel's output.
    Prints a record for each head and one of the check; -q prints the head with the greatest score, as LAYER.HEAD, or
    with --steps the step at which it rose most.

    \b
    Examples:
      echo "with open(path) as file" | dlkit inspect-attention runs/pydoc-gpt-1
      dlkit inspect-attention runs/pydoc-gpt-1 "def f(x): def f(" --html f.html
      dlkit inspect-attention runs/repeats-gpt-1 --steps --png steps.png
      dlkit inspect-attention runs/sst2-bert-1 --lines texts.txt -q
    """
    request = InspectionRequest(
        run=run, lines=lines is not None, pair=pair, layers=layers, heads=heads, tokens=tokens, measure=measure,
        by_value=by_value, stack=stack, target=target, ablate=ablate, null=null, repeats=repeats,
        random_from=random_from, compare=compare, steps=steps, checkpoint=checkpoint, html=html, png=png, svg=svg,
        npz=npz, cut=cut, seed=seed, device=device,
    )  # fmt: skip
    if lines is not None and text is not None:
        raise RequestError("both a TEXT and --lines", "leave one of them out")
    if lines is not None:
        texts = read_lines(lines, run)
    elif steps and text is None:
        texts = []  # scores on repeated random tokens need no text
    else:
        texts = [read_text(text, run)]
    output = Output(as_json, quiet)
    printed = not quiet and not output.tables
    inspecting = run_inspection(request, texts, keep_layers=output.tables, records=printed)
    for event in output.without_remarks(inspecting):
        output.emit(event.record, None, dict)
    found = inspecting.result()
    if output.tables:
        from dlkit.cli.inspect_attention.output import show_inspection

        show_inspection(found, request)
    elif found.jump is not None:
        output.emit(found.jump, found.jump["to_step"], dict)
    elif quiet:
        output.line(found.top_head())
