"""`dlkit inspect-attention`: look inside the attention of a BERT or a GPT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlkit.annotations import LARGEST_SEED
from dlkit.attention.request import InspectionRequest
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.inspect_attention.input import check_targets, read_lines, read_text
from dlkit.cli.options import Device, Json, Quiet
from dlkit.errors import RequestError
from dlkit.storage import run_reference


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
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the heads, or the steps.")] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="The same as a vector graphic.")] = None,
    npz: Annotated[Path | None, typer.Option(metavar="FILE", help="Write weights and scores as NumPy arrays.")] = None,
    cut: Annotated[bool, typer.Option("--cut", help="Shorten a text that is longer than the model's context.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of random tokens, shuffling, masks and the untrained twin.")
    ] = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what each head attends to, and show it.

    The weights are recomputed from the inputs of the model's own kernel, and checked against the kernel's output.
    Prints a record for each head and one of the check; -q prints the head with the greatest score, as LAYER.HEAD, or
    with --steps the step at which it rose most.

    \b
    Examples:
      echo "The animal didn't cross the street" | dlkit inspect-attention runs/pydoc-gpt-1
      dlkit inspect-attention runs/pydoc-gpt-1 "def f(x): def f(" --layers 2 --heads 0-1 --html heads.html
      dlkit inspect-attention runs/repeats-gpt-1 --steps --measure induction --png steps.png
      dlkit inspect-attention runs/sst2-bert-1 --lines texts.txt --json | jq 'select(.above | index("previous"))'
    """
    request = InspectionRequest(
        run, pair, layers, heads, tokens, measure, by_value, stack, target, ablate, null, repeats, random_from, compare,
        steps, checkpoint, {"--html": html, "--png": png, "--svg": svg, "--npz": npz}, cut, seed, device,
    )  # fmt: skip
    request.check()
    if lines is not None and text is not None:
        raise RequestError("both a TEXT and --lines", "leave one of them out")
    if lines is not None:
        texts = read_lines(lines, run)
    elif steps and text is None:
        if not repeats:
            raise RequestError("--steps has neither a text nor random sequences", "give a TEXT, or leave --repeats out")
        texts = []  # scores on repeated random tokens need no text
    else:
        texts = [read_text(text, run)]
    check_targets(request.files)
    for reference in (run, compare):
        if reference is not None:
            run_reference.require(reference)

    from dlkit.cli.inspect_attention import work

    output = Output(as_json, quiet)
    if steps:
        work.over_steps(request, texts, output)
    elif lines is not None:
        work.over_lines(request, texts, output)
    else:
        work.one_text(request, texts[0], output)
