"""`dlkit review`: the claims of the deep learning review, run and judged."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Annotated

import typer

from dlkit.app.review import run_review
from dlkit.app.review_events import ClaimJudged, Reviewed
from dlkit.app.review_figures import draw_review_figures
from dlkit.app.review_report import write_review_report
from dlkit.cli import completion
from dlkit.cli.console import Output, note
from dlkit.cli.options import Device, Json, Quiet, ResumeAuto, Trust, Written
from dlkit.cli.review import view
from dlkit.cli.review.progress import ReviewProgress
from dlkit.cli.signals import GracefulStop
from dlkit.distributed.torchrun import is_first_process
from dlkit.errors import DlkitError, RequestError, VerdictError
from dlkit.review.claim import Claim
from dlkit.review.claim_file import read_claim
from dlkit.review.evidence import evidence_of
from dlkit.review.find import find_claims, list_claims, locate_claim
from dlkit.storage.atomic_file import require_target

app = typer.Typer(
    help="Run the claims of the deep learning review, and judge them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command("list")
def list_review(
    section: Annotated[str | None, typer.Argument(metavar="SECTION", help="Only these; its first letters do.")] = None,
    form: Written = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the claims by section of the review.

    \b
    Examples:
      dlkit review list
      dlkit review list attention
    """
    output, claims = Output(as_json, quiet, form), list_claims(section)
    if output.form is not None:
        output.write(view.written_claims(claims))
        return
    if output.tables:
        output.emit({}, None, lambda: view.claim_table(claims))
        return
    for claim in claims:
        output.emit(claim.described(), claim.name, lambda: None)


@app.command("show")
def show_claim(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A claim's name.", autocompletion=completion.claims)],
) -> None:
    """Print a claim as it is written, to begin one of your own from.

    Example: dlkit review show gelu-better > mine.yaml
    """
    claim = read_claim(locate_claim(name))
    Output().line(claim.path.read_text(encoding="utf-8").removesuffix("\n"))


@app.command("figures", no_args_is_help=True)
def draw_figures(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; it is made if it is not there.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw the figures of the review from what dlkit computes, as SVG and PNG.

    Example: dlkit review figures figures
    """
    output = Output(as_json, quiet)
    for drawn in draw_review_figures(folder):
        output.emit(dataclasses.asdict(drawn), drawn.svg, lambda path=drawn.svg: path)


@app.command("run", no_args_is_help=True)
def run_claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|FILE.yaml", help="Claims by name, or files of your own.", autocompletion=completion.claims
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that come with dlkit.")] = False,
    section: Annotated[str | None, typer.Option("--section", metavar="SECTION", help="All of a section.")] = None,
    asserted: Annotated[bool, typer.Option("--assert", help="Exit with 3 unless every claim is supported.")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=2, max=1000, metavar="N", help="Runs of each arm, in place of the claim's own.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="At full size, on data to download: only the claims that have one.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the finished runs and the records.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write an offline page of all verdicts and figures.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the review in --out, or begin it; so does --resume auto.")
    ] = False,
    resume_auto: ResumeAuto = False,
    device: Device = "auto",
    trust: Trust = False,
    form: Written = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run claims and judge them.

    An exact property is checked over random inputs in float64: it is supported where the largest deviation is within
    the tolerance, and else contradicted. An experiment trains every arm from the same seeds and takes the difference
    at each seed. It is supported where the interval of their mean lies on the claimed side of zero and the mean is at
    least the smallest difference that matters; contradicted where both hold of the other side; not supported where no
    difference that matters is left in the interval. Else nobody can tell at this budget, and the record says how many
    seeds it would take. The intervals hold jointly for all experiments of the command (Bonferroni).

    A claim whose data is missing, or that fails on the way, is left without a verdict and the others go on; the exit
    code is 1 then.

    -q prints the verdict of each claim. Ctrl-C keeps the finished runs in --out, and --resume goes on.
    Under torchrun the processes share the runs.

    \b
    Examples:
      dlkit review run gelu-cdf gpt-causal
      dlkit review run --all --out review --report review.html
      dlkit review run mine.yaml --seeds 10 --assert
      dlkit review run --section attention --table latex
    """
    claims = _chosen(names or [], everything, section)
    if report is not None:
        require_target("--report", report, (".html",))
    output = Output(as_json, quiet, form)
    stop = GracefulStop("stopping" + (", keeping what has finished" if out else "") + "; once more stops at once")
    running = run_review(
        claims, seeds=seeds, full=full, out=out, resume=resume or resume_auto, device=device,
        should_stop=lambda: stop.requested is not None,
    )  # fmt: skip
    with stop, ReviewProgress(output.console(), output.say) as progress:
        for event in output.without_remarks(running):
            progress.update(event)
            if isinstance(event, ClaimJudged) and not output.tables and output.form is None:
                output.emit(event.record, event.record.get("verdict", "error"), lambda: None)
    reviewed = running.result()
    if reviewed.stopped:
        note(
            f"{len(reviewed.records)} of {reviewed.claims} claims are judged" + ("; go on with --resume" if out else "")
        )
        raise typer.Exit(128 + (stop.requested or signal.SIGTERM))
    if not is_first_process():
        return  # one that failed by the verdict would end the first, which is still writing
    if report is not None:
        write_review_report(report, reviewed, device)
    _conclude(reviewed, output, asserted)


def _chosen(names: list[str], everything: bool, section: str | None) -> list[Claim]:
    given = [bool(names), everything, section is not None]
    if sum(given) != 1:
        raise RequestError("give names of claims, or --section, or --all", "`dlkit review list` shows the claims")
    return find_claims(names) if names else list_claims(section)


def _conclude(reviewed: Reviewed, output: Output, asserted: bool) -> None:
    summary = reviewed.summary()
    if output.form is not None:
        output.write(view.written_verdicts(reviewed.records))
    else:
        output.emit(summary, None, lambda: view.verdict_table(reviewed.records, summary))
    if reviewed.failed:
        first, more = reviewed.failed[0], f", and {len(reviewed.failed) - 1} more" * (len(reviewed.failed) > 1)
        raise DlkitError(f"{first['claim']}: {first['error']}{more}", first["hint"])
    others = [record for record in reviewed.records if record["verdict"] != "supported"]
    if asserted and others:
        first = f"{others[0]['claim']} is {others[0]['verdict']}: {evidence_of(others[0])}"
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        raise VerdictError(first + more, "without --assert the exit code is 0 whatever the verdict")
