"""`dlkit compare-optimizers`: race optimizers over learning rates and seeds, on a recipe or on a surface."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dlkit.annotations import LARGEST_COUNT, LARGEST_SEED
from dlkit.app.events import Prepared, Work
from dlkit.app.finished_race import FinishedRace, judge_race
from dlkit.app.race import OPTIMIZERS, RaceProgressEvent, RaceStarted, race_optimizers
from dlkit.app.race_grid import parse_optimizers
from dlkit.cli import completion
from dlkit.cli.compare_optimizers.progress import RaceProgress
from dlkit.cli.compare_optimizers.view import show_race
from dlkit.cli.console import Output, note
from dlkit.cli.options import Device, Json, Overrides, Quiet, ResumeAuto, Trust, Written
from dlkit.cli.progress import prepare
from dlkit.cli.signals import GracefulStop
from dlkit.distributed.torchrun import is_first_process
from dlkit.errors import DivergedError, RequestError, VerdictError
from dlkit.sweep import surfaces


class Engine(StrEnum):
    """Values of --engine."""

    auto = "auto"
    stacked = "stacked"
    workers = "workers"
    loop = "loop"


def compare_optimizers_command(
    what: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE|SURFACE", help="What to race on.", autocompletion=completion.races),
    ] = None,
    overrides: Overrides = None,
    optimizers: Annotated[
        str, typer.Option(metavar="NAME,...", help="Which race; FILE.py:NAME, too, with --trust.")
    ] = OPTIMIZERS,
    lr: Annotated[str, typer.Option(metavar="LOW:HIGH:COUNT", help="Learning rates for each of them.")] = "1e-4:1:9",
    seeds: Annotated[
        int,
        typer.Option(
            min=1, max=10**4, metavar="N", help="Runs of each setting, with weights and data order of their own."
        ),
    ] = 5,
    steps: Annotated[int, typer.Option(min=1, max=LARGEST_COUNT, metavar="N", help="Steps of each run.")] = 500,
    trials: Annotated[
        int | None, typer.Option(min=1, max=10**5, metavar="N", help="N random settings of each instead of the grid.")
    ] = None,
    searched: Annotated[
        list[str] | None,
        typer.Option("--search", metavar="OPTION=LOW:HIGH", help="Draw an option too, as in 1-beta2=1e-4:0.1."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, metavar="N", help="Seed of the random trials.")] = 0,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Loss to judge by (default: the held-out one).")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="METRIC=VALUE", help="Count the steps to a target, as in loss=0.2.")
    ] = None,
    verdict: Annotated[
        str | None, typer.Option("--assert", metavar="A<=B", help="Exit with 3 if the runs do not support it.")
    ] = None,
    allow_edge: Annotated[
        bool, typer.Option("--allow-edge", help="Let --assert rest on a best learning rate at the edge of those tried.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="How the runs are computed.")] = Engine.auto,
    stack: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Runs at once of --engine stacked (default: the fastest).")
    ] = None,
    start: Annotated[str | None, typer.Option(metavar="X,Y", help="Where on a surface to start.")] = None,
    animate: Annotated[
        Path | None, typer.Option(metavar="FILE.gif", help="Draw the paths over a surface as a GIF.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write runs, summary, figures and a page.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the race in --out, or begin it; so does --resume auto.")
    ] = False,
    resume_auto: ResumeAuto = False,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Judge and draw the runs in a folder again.")
    ] = None,
    device: Device = "auto",
    trust: Trust = False,
    form: Written = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Race optimizers over learning rates and seeds.

    At each seed all optimizers start from the same weights and see the same data in the same order. Each is judged at
    its best learning rate of the same grid, on a tenth of the training data that is held out (or what the recipe holds
    out). Two are told apart only where the interval of their difference, widened for the number of pairs, excludes
    zero. A best rate at the edge of the grid is part of the verdict. On a surface nothing is random, and the lowest
    loss wins. -q prints the winner, or tie.

    With --trials, each optimizer gets that many random settings: the learning rate from the range of --lr and each
    --search option from its own, evenly in the logarithm. 1-OPTION draws one minus it, and adam.OPTION is for adam
    only. The same --seed gives the same trials, and more trials keep the first ones.

    --engine auto times stacks of models that train at once, processes, and a plain loop, and takes the fastest. muon
    may race too (one run at a time). --out keeps the recipe, the environment, hashes of the data and, in race.json,
    the command that repeats the race. Ctrl-C or a lost connection keeps the finished runs and the stack underway there,
    and --resume goes on to the same numbers. A kill loses the runs underway; of a stack, at most the last 15 seconds,
    or 20 times what saving it takes if that is more.

    \b
    Examples:
      dlkit compare-optimizers digits-mlp --lr 1e-3:1:7 --seeds 3 --steps 200
      dlkit compare-optimizers digits-mlp --trials 16 --search 1-beta2=1e-4:0.1
      dlkit compare-optimizers rosenbrock --animate race.gif
      dlkit compare-optimizers quadratic:1000 --assert 'momentum<=sgd'
      dlkit compare-optimizers --from race --table latex
    """
    alone = source is not None or (what is not None and surfaces.find_surface(what) is not None)
    if alone and not is_first_process():
        return  # nothing is trained
    resume = resume or resume_auto
    output = Output(as_json, quiet, form)
    names = parse_optimizers(optimizers)
    if source is not None:
        if what is not None or out is not None or resume:
            option = "--resume" if resume else "recipe and no --out"
            raise RequestError(f"--from judges finished runs and takes no {option}", "give one or the other")
        race = judge_race(source, target, animate)
    elif what is None:
        raise RequestError("nothing to race on", f"give a recipe, or a surface: {', '.join(surfaces.SURFACES)}")
    else:
        if verdict:
            _check_verdict(verdict, names)
        message = "stopping" + (", keeping what has finished" if out else "") + "; once more stops at once"
        stop = GracefulStop(message)
        running = race_optimizers(
            what, overrides or (), optimizers=optimizers, lr=lr, seeds=seeds, steps=steps, trials=trials,
            search=searched or (), seed=seed, metric=metric, target=target, engine=engine.value, stack=stack,
            start=start, animate=animate, out=out, resume=resume, device=device,
            should_stop=lambda: stop.requested is not None,
        )  # fmt: skip
        with stop:
            race = _follow(running, output)
        if race.stopped:
            kept = f"{len(race.outcomes)} of {race.planned} runs are in {race.folder}; go on with --resume"
            note(kept if race.folder else "stopped; with --out DIR the finished runs would have been kept")
            raise typer.Exit(128 + (stop.requested or signal.SIGTERM))  # another process may have been asked
    if not is_first_process():
        return  # one that failed by the verdict would end the first, which is still writing
    from dlkit.sweep.assertion import assertion_objection, parse_assertion

    summaries = race.summaries
    wanted = parse_assertion(verdict, [s.optimizer for s in summaries]) if verdict else None
    show_race(race.report, output)
    why = assertion_objection(wanted, summaries, race.pairs, allow_edge, race.initial) if wanted else None
    if why is not None:
        raise VerdictError(*why)
    if race.winner is None:
        lower = all(summary.best is None for summary in summaries)
        hint = (
            "lower the learning rates in --lr, or take fewer --steps" if lower else "try other learning rates in --lr"
        )
        raise DivergedError(race.conclusion.text, hint)


def _follow(running: Work[RaceProgressEvent, FinishedRace], output: Output) -> FinishedRace:
    """Show how far a race is, to its end."""
    prepare(running, output)
    with ExitStack() as shown:
        progress: RaceProgress | None = None
        for event in output.without_remarks(running):
            if isinstance(event, RaceStarted):
                progress = RaceProgress(event, output.console(), output.say)
                shown.enter_context(progress)
            elif progress is not None and not isinstance(event, Prepared):
                progress.update(event)
    return running.result()


def _check_verdict(verdict: str, names: Iterable[str]) -> None:
    """Before anything is run."""
    from dlkit.sweep.assertion import parse_assertion

    parse_assertion(verdict, list(names))
