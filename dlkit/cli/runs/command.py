"""`dlkit runs`: list, compare, draw and prune what was trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dlkit.cli import completion
from dlkit.cli.console import Output, note
from dlkit.cli.lazy import default_command
from dlkit.cli.options import Json, Quiet, Written
from dlkit.cli.progress import preparing
from dlkit.cli.runs import view
from dlkit.errors import RequestError
from dlkit.memory import size_text
from dlkit.plotting import require_figure
from dlkit.runs.comparison import diff_runs
from dlkit.runs.listed_run import ListedRun
from dlkit.runs.listing import list_runs
from dlkit.runs.pruning import prunable_runs, remove_run
from dlkit.runs.selection import Condition, condition, select_runs, sort_runs
from dlkit.storage.run_reference import resolve_run

app = typer.Typer(
    cls=default_command("list"),
    help="List, compare, draw and prune runs.",
    epilog="`dlkit runs [DIR] --sort test/accuracy` lists them: its options are those of `dlkit runs list --help`.",
    rich_markup_mode=None,
    add_completion=False,
)

_FOLDER = Path("runs")
Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="DIR", help="Folders of runs, or runs (default: runs).", autocompletion=completion.runs),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="COND", help="Only runs with recipe='digits*', state!=done, val/loss<0.5; repeatable."
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="KEY",
        autocompletion=completion.run_keys,
        help="Go by test/accuracy (best first), seconds, changed, optimizer.lr...",
    ),
]
Several = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs.", autocompletion=completion.runs)]


def _listed(folders: Sequence[Path] | None, quiet: bool) -> list[ListedRun]:
    unread: list[OSError] = []
    with preparing(quiet):
        found = [run for folder in folders or [_FOLDER] for run in list_runs(folder, unread.append)]
    if unread:
        more = f", nor can {len(unread) - 1} more" if len(unread) > 1 else ""
        note(f"{unread[0].filename} cannot be read ({unread[0].strerror}){more}: runs in there are not listed")
    return list({run.path: run for run in found}.values())


def _conditions(where: Sequence[str] | None) -> list[Condition]:
    return [condition(text) for text in where or ()]


@app.command("list")
def list_command(
    folders: Folders = None,
    sort: Sort = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Turn the order of --sort around.")] = False,
    where: Where = None,
    form: Written = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List runs: recipe, state, step, metrics, time, size.

    The state is done, running, resumable, diverged or damaged (its problem says why). Races of compare-optimizers are
    listed too, as kind=race. KEY is a field of the record, a metric or a key of the recipe. -q prints the paths.

    \b
    Examples:
      dlkit runs --sort test/accuracy
      dlkit runs --where 'recipe=digits*' --where optimizer.lr=0.1
      dlkit runs --sort test/accuracy -q | head -1 | dlkit eval -
      dlkit runs --sort test/accuracy --table latex > runs.tex
    """
    if reverse and sort is None:
        raise RequestError(
            "--reverse turns an order around, and there is no --sort", "dlkit runs --sort changed --reverse"
        )
    output = Output(as_json, quiet, form)
    conditions = _conditions(where)
    everything = _listed(folders, quiet)
    runs = select_runs(everything, conditions)
    if sort is not None:
        runs = sort_runs(runs, sort, reverse)
    if not runs:
        output.say(f"none of {len(everything)} runs is like that" if everything else "no runs here")
    elif output.form is not None:
        output.write(view.written_listing(runs))
    elif output.tables:
        output.emit({}, None, lambda: view.listing(runs, sort))
    else:
        for run in runs:
            output.emit(run.record(), run.path, lambda: None)


@app.command("diff")
def diff_command(runs: Several, form: Written = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """What differs between runs: recipe, metrics, environment.

    -q prints the keys of the recipe that differ.

    \b
    Example:
      dlkit runs diff runs/digits-mlp-1 runs/digits-mlp-2
    """
    output = Output(as_json, quiet, form)
    paths = _resolved(runs, 2, "diff")
    record = diff_runs(paths)
    if output.form is not None:
        output.write(*view.written_comparison(record))
    else:
        output.emit(record, "\n".join(record["recipe"]) or None, lambda: view.comparison(record))


@app.command("plot")
def plot_command(
    runs: Several,
    target: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The figure: .svg, .png or .pdf.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="NAME", help="accuracy, val/loss, lr... (default: loss, accuracy); repeatable."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw the learning curves of runs in one figure.

    Training is a thin line; evaluations are dots on a thick one. -q prints the file.

    \b
    Example:
      dlkit runs plot runs/digits-mlp-1 runs/digits-mlp-2 -o curves.svg
    """
    require_figure("-o", target)
    paths = _resolved(runs, 1, "plot")
    from dlkit.runs.curves import plot_runs

    drawn = plot_runs(paths, target, metric or ())
    record = {"path": str(target), "runs": [str(path) for path in paths], "metrics": drawn}
    Output(as_json, quiet).emit(record, target, lambda: f"{target}: {', '.join(drawn)} of {len(paths)} runs")


@app.command("prune")
def prune_command(
    folders: Folders = None,
    where: Where = None,
    keep: Annotated[
        int | None, typer.Option("--keep", min=0, metavar="N", help="Of each recipe let the first N by --sort stay.")
    ] = None,
    sort: Sort = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them; without it they are only listed.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete runs: those that diverged or are damaged, or what is asked for.

    Lists what would go, and deletes it with --yes. Runs that are running stay, and so do races, other files in a run's
    folder, and what links lead to. -q prints the paths.

    \b
    Examples:
      dlkit runs prune
      dlkit runs prune --keep 3 --sort test/accuracy
      dlkit runs prune --where 'recipe=digits*' --where state=resumable --yes
    """
    if sort is not None and keep is None:
        raise RequestError(
            f"--sort {sort} says which runs --keep keeps, and it is not given", f"add --keep 1 --sort {sort}"
        )
    if keep is not None and sort is None:
        raise RequestError(f"--keep {keep}: which of them?", f"dlkit runs prune --keep {keep} --sort test/accuracy")
    conditions = _conditions(where)
    listed = _listed(folders, quiet)
    runs = prunable_runs(listed, conditions, keep, sort)
    output = Output(as_json, quiet)
    if runs and output.tables:
        output.emit({}, None, lambda: view.listing(runs, sort))
    for run in runs:
        left = remove_run(run) if yes else []
        if left:
            note(f"{run.path} holds what is not the run's, which stays: {', '.join(left)}")
        if not output.tables:
            output.emit({**run.record(), "removed": yes, **({"left": left} if left else {})}, run.path, lambda: None)
    if folders or conditions:
        for run in select_runs(listed, conditions):
            if run.kind == "race" or run.state == "running":
                output.say(f"{run.path} stays: it is {'a race' if run.kind == 'race' else 'running'}")
    output.say(_outcome(runs, yes))


def _outcome(runs: Sequence[ListedRun], deleted: bool) -> str:
    if not runs:
        return "no run to delete"
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}, {size_text(sum(run.size for run in runs))}"
    return f"deleted: {count}" if deleted else f"nothing is deleted yet: {count}; --yes deletes"


def _resolved(references: Sequence[str], least: int, command: str) -> list[Path]:
    if len(references) < least:
        raise RequestError(
            f"one run, {references[0]}, has nothing to differ from", f"dlkit runs {command} {references[0]} RUN"
        )
    return [resolve_run(reference).path for reference in references]
