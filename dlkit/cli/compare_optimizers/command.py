"""`dlkit compare-optimizers`: race optimizers over learning rates and seeds, on a recipe or on a surface."""

from __future__ import annotations

import functools
import math
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit import recipe as recipes
from dlkit.annotations import LARGEST_COUNT, LARGEST_SEED, is_list
from dlkit.cli import completion
from dlkit.cli.compare_optimizers import grid
from dlkit.cli.compare_optimizers.view import RaceView
from dlkit.cli.compare_optimizers.work import Race
from dlkit.cli.console import Output
from dlkit.cli.options import Device, Json, Overrides, Quiet
from dlkit.errors import DivergedError, RequestError, VerdictError
from dlkit.storage.atomic_file import require_target
from dlkit.sweep import provenance, race_folder, surfaces
from dlkit.text_input import opened_by_shell


class Engine(StrEnum):
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
        str, typer.Option(metavar="NAME,...", help="Who races.")
    ] = "sgd,momentum,adagrad,rmsprop,adam,adamw",
    lr: Annotated[str, typer.Option(metavar="LOW:HIGH:COUNT", help="Learning rates for each of them.")] = "1e-4:1:9",
    seeds: Annotated[
        int, typer.Option(min=1, max=10**4, help="Runs of each, with weights and data order of their own.")
    ] = 5,
    steps: Annotated[int, typer.Option(min=1, max=LARGEST_COUNT, help="Steps of each run.")] = 500,
    trials: Annotated[
        int | None, typer.Option(min=1, max=10**5, metavar="N", help="N random settings of each instead of the grid.")
    ] = None,
    searched: Annotated[
        list[str] | None,
        typer.Option("--search", metavar="OPTION=LOW:HIGH", help="Draw an option too, as in 1-beta2=1e-4:0.1."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the random trials.")] = 0,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Loss to judge by (default: the held-out one).")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="METRIC=VALUE", help="Count the steps to a target, as in loss=0.2.")
    ] = None,
    claim: Annotated[
        str | None, typer.Option("--assert", metavar="A<=B", help="Exit with 3 if the runs do not support it.")
    ] = None,
    allow_edge: Annotated[
        bool, typer.Option("--allow-edge", help="Let --assert rest on a best learning rate at the edge of those tried.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="How the runs are run.")] = Engine.auto,
    stack: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Runs at once of --engine stacked (default: the fastest).")
    ] = None,
    start: Annotated[str | None, typer.Option(metavar="X,Y", help="Where on a surface to start.")] = None,
    animate: Annotated[
        Path | None, typer.Option(metavar="FILE.gif", help="Draw the ways over a surface as a GIF.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write runs, summary, figures and a page.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the finished runs in --out.")] = False,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Judge and draw the runs in a folder again.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Race optimizers: best learning rates, intervals over seeds, and who can be told apart.

    Every optimizer starts from the same weights and sees the same data in the same order at a seed, and is judged at
    its best learning rate of the same grid. -q prints the winner, or tie. Recipes hold out a tenth of the training
    data to judge by, unless they hold out some already. With --trials, each optimizer gets that many random settings:
    the learning rate from the range of --lr and each --search option from its own, evenly in the logarithm; 1-OPTION
    draws one minus it, and adam.OPTION is for adam only. Ctrl-C stops, and --resume goes on with what is in --out.

    \b
    Examples:
      dlkit compare-optimizers digits-mlp --lr 1e-3:1:7 --seeds 3 --steps 200
      dlkit compare-optimizers digits-mlp --trials 16 --search weight_decay=1e-5:0.1 --search 1-beta2=1e-4:0.1
      dlkit compare-optimizers rosenbrock --animate race.gif
      dlkit compare-optimizers quadratic:1000 --optimizers sgd,momentum --assert 'momentum<=sgd'
    """
    names = grid.optimizers(optimizers)
    if resume and out is None:
        raise RequestError("--resume needs --out", "give the folder of the finished runs")
    if animate is not None:
        require_target("--animate", animate, (".gif",))
    output = Output(as_json, quiet)
    if source is not None:
        if what is not None or out is not None:
            raise RequestError("--from judges finished runs and takes no recipe and no --out", "give one or the other")
        title, kind, outcomes = race_folder.read(source)
        surface, folder = surfaces.find(title), source
    elif what is None:
        raise RequestError("nothing to race on", f"give a recipe, or a surface: {', '.join(surfaces.SURFACES)}")
    else:
        surface, folder = surfaces.find(what), out
        if surface is None:
            _mistyped(what)
        place = Path(what, provenance.RECIPE) if Path(what).is_dir() else Path(what)
        begun = provenance.origin(place) if surface is None else {}  # on the recipe of a race, which has its name
        title = what if surface is not None else _title(place, begun)
        # one that goes on by the command in its own folder has the changes that it was begun with in its recipe
        own = begun if out is not None and os.path.realpath(place.parent) == os.path.realpath(out) else {}
        held = list(map(str, own["changes"])) if is_list(own.get("changes")) else []
        changes = [*held, *(change for change in overrides or [] if change not in held)]
        if surface is None:
            _refuse({"--start": start is not None, "--animate": animate is not None}, "is about a surface")
        else:
            about_recipes = {"KEY=VALUE": bool(overrides), "--engine": engine != "auto", "--stack": stack is not None}
            _refuse(about_recipes, "is about a recipe")
        if stack is not None and engine != "stacked":
            raise RequestError(f"--stack {stack} is about --engine stacked", f"--engine stacked --stack {stack}")
        runs = seeds if surface is None else 1  # where nothing is random, one run says all
        chosen = grid.trials(names, lr, runs, trials, searched or [], seed, surface is None)
        facts = {"title": title, "steps": steps, "changes": changes, "start": start, "metric": metric}
        asked = {
            "race": title, "on": own.get("on", what), "changes": changes, "optimizers": names, "lr": lr, "seeds": seeds,
            "steps": steps, "trials": trials, "search": searched or [], "seed": seed, "metric": metric,
            "target": target, "start": start, "device": device, "directory": str(Path.cwd()),
        }  # fmt: skip
        race = Race(what, overrides or [], asked, chosen, engine.value, stack, _point(start), output)
        if claim:
            _check_claim(claim, names)
        kind, outcomes = race.run(surface, functools.partial(race_folder.Folder, folder, resume, facts), metric)
    from dlkit.sweep import conclusion, verdict

    summaries, exact = verdict.summarize(outcomes, kind), surface is not None
    wanted = verdict.parse_assertion(claim, [s.optimizer for s in summaries]) if claim else None
    result = RaceView(title, kind, outcomes, summaries, verdict.compare(summaries, exact), target, exact)
    if folder is not None:
        result.write(folder, surface)
    if animate is not None:
        if surface is None:
            raise RequestError(f"--animate is about a surface, and {title} is none", "leave it out")
        from dlkit.sweep import figures

        figures.animate(animate, surface, result.best_runs(), title)
    result.emit(output)
    why = conclusion.objection(wanted, summaries, result.pairs, allow_edge) if wanted else None
    if why is not None:
        raise VerdictError(*why)
    if all(summary.best is None for summary in summaries):
        raise DivergedError(result.conclusion.text, "lower the learning rates in --lr, or take fewer --steps")


def _mistyped(what: str) -> None:
    """Raise RequestError if this looks like a surface and is no recipe."""
    near = recipes.closest(what, [*surfaces.SURFACES, "quadratic:1000"])
    if near and what not in recipes.shipped() and not Path(what).exists():
        known = ", ".join([*surfaces.SURFACES, "quadratic:CONDITION"])
        raise RequestError(f"no recipe or surface {what!r}{near}", f"the surfaces are {known}")


def _refuse(given: dict[str, bool], why: str) -> None:
    for option in (name for name, there in given.items() if there):
        raise RequestError(f"{option} {why}", "leave it out")


def _check_claim(claim: str, names: list[str]) -> None:
    """Before anything is run."""
    from dlkit.sweep import verdict

    verdict.parse_assertion(claim, names)


def _point(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise RequestError(f"--start {text}: no point", "write --start=-1.2,1") from None
    if not (math.isfinite(x) and math.isfinite(y)):
        raise RequestError(f"--start {text}: not finite", "write --start=-1.2,1")
    return x, y


def _title(recipe: Path, begun: dict[str, Any]) -> str:
    """What a race on a recipe is called; one on the recipe of another race is called as that."""
    if recipe.name != provenance.RECIPE:
        return "stdin" if str(recipe) == "-" or opened_by_shell(recipe) else recipe.stem
    return str(begun.get("race", recipe.parent.name))
