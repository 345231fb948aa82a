"""`dlkit compare-optimizers`: race optimizers over learning rates and seeds, on a recipe or on a surface."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit import recipe as recipes
from dlkit.catalog import OPTIMIZERS
from dlkit.cli import _completion
from dlkit.cli._console import Output, live_console, note
from dlkit.cli._options import Device, Json, Overrides, Quiet
from dlkit.cli._progress import Progress
from dlkit.cli._race_view import RaceView
from dlkit.compare import store, surfaces
from dlkit.compare.runs import Contender, Outcome, grid, rates
from dlkit.errors import RequestError, VerdictError
from dlkit.recipe import Recipe

if TYPE_CHECKING:
    from dlkit.compare.surfaces import Surface

_HELD_OUT = 0.1


class Engine(StrEnum):
    auto = "auto"
    stacked = "stacked"
    workers = "workers"
    loop = "loop"


def compare_optimizers(
    what: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE|SURFACE", help="What to race on.", autocompletion=_completion.races),
    ] = None,
    overrides: Overrides = None,
    optimizers: Annotated[
        str, typer.Option(metavar="NAME,...", help="Who races.")
    ] = "sgd,momentum,adagrad,rmsprop,adam,adamw",
    lr: Annotated[str, typer.Option(metavar="LOW:HIGH:COUNT", help="Learning rates for each of them.")] = "1e-4:1:9",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, with weights and data order of their own.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each run.")] = 500,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Loss to judge by (default: the held-out one).")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="METRIC=VALUE", help="Count the steps to a target, as in loss=0.2.")
    ] = None,
    claim: Annotated[
        str | None, typer.Option("--assert", metavar="A<=B", help="Exit with 3 if the runs do not support it.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="How the runs are run.")] = Engine.auto,
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
    data to judge by, unless they hold out some already.

    \b
    Examples:
      dlkit compare-optimizers digits-mlp --lr 1e-3:1:7 --seeds 3 --steps 200
      dlkit compare-optimizers rosenbrock --animate race.gif
      dlkit compare-optimizers quadratic:1000 --optimizers sgd,momentum --assert 'momentum<=sgd'
    """
    names = [name.strip() for name in optimizers.split(",")]
    for name in names:
        if name not in OPTIMIZERS:
            raise RequestError(
                f"no optimizer {name!r}{recipes.closest(name, OPTIMIZERS)}", f"there are {', '.join(OPTIMIZERS)}"
            )
    if len(set(names)) < len(names):
        raise RequestError(f"--optimizers {optimizers}: one stands twice", "name each once")
    if resume and out is None:
        raise RequestError("--resume needs --out", "give the folder of the finished runs")
    if animate is not None and (animate.suffix != ".gif" or not animate.parent.is_dir()):
        raise RequestError(f"--animate {animate}: no .gif file in an existing folder", "give a path like race.gif")
    contenders = grid(names, rates(lr), seeds)
    output = Output(as_json, quiet)
    outcomes: list[Outcome] = []
    if source is not None:
        if what is not None or out is not None:
            raise RequestError("--from judges finished runs and takes no recipe and no --out", "give one or the other")
        title, kind, outcomes = store.read(source)
        surface, folder = surfaces.find(title), source
    elif what is None:
        raise RequestError("nothing to race on", f"give a recipe, or a surface: {', '.join(surfaces.SURFACES)}")
    else:
        surface, folder = surfaces.find(what), out
        title = what if surface is not None else Path(what).stem
        kind = metric or ("loss" if surface is not None else None)
        if surface is None:
            _refuse({"--start": start is not None, "--animate": animate is not None}, "is about a surface")
        else:
            contenders = grid(names, rates(lr), 1)
            _refuse({"KEY=VALUE": bool(overrides), "--engine": engine != "auto"}, "is about a recipe")
    from dlkit.compare import verdict

    wanted = verdict.parse_assertion(claim, names) if claim and source is None else None
    if source is None:
        facts = {"title": title, "steps": steps, "changes": overrides or [], "start": start, "metric": kind}
        begun = store.Folder(folder, resume, facts)
        missing = [c for c in contenders if c not in {o.contender for o in begun.outcomes}]
        if surface is not None:
            runs = _on_surface(surface, missing, _point(start) if start else surface.start, steps)
        else:
            assert what is not None
            names_of_metric, runs = _on_recipe(what, overrides or [], names, missing, steps, engine.value, device)
            kind = kind or names_of_metric
        for outcome in _followed(runs, len(missing)):
            begun.add(outcome)
        order = {contender: place for place, contender in enumerate(contenders)}
        outcomes = sorted((o for o in begun.outcomes if o.contender in order), key=lambda o: order[o.contender])
    assert kind is not None
    summaries = verdict.summarize(outcomes, kind)
    if source is not None and claim:
        wanted = verdict.parse_assertion(claim, [s.optimizer for s in summaries])
    result = RaceView(title, kind, outcomes, summaries, verdict.compare(summaries, surface is not None), target)
    if folder is not None:
        result.write(folder, surface)
    if animate is not None:
        if surface is None:
            raise RequestError(f"--animate is about a surface, and {title} is none", "leave it out")
        from dlkit.compare import figures

        figures.animate(animate, surface, result.best_runs(), title)
    result.emit(output)
    if wanted is not None and not verdict.holds(wanted, result.pairs):
        raise VerdictError(f"the runs do not support {claim}", "see the interval of the pair in the verdict")


def _refuse(given: dict[str, bool], why: str) -> None:
    for option in (name for name, there in given.items() if there):
        raise RequestError(f"{option} {why}", "leave it out")


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise RequestError(f"--start {text}: no point", "write --start=-1.2,1") from None
    if not (math.isfinite(x) and math.isfinite(y)):
        raise RequestError(f"--start {text}: not finite", "write --start=-1.2,1")
    return x, y


# ------------------------------------------------------------------ running


def _on_surface(
    surface: Surface, contenders: Sequence[Contender], start: tuple[float, float], steps: int
) -> Iterator[Outcome]:
    from dlkit import build

    for contender in contenders:
        yield build.descend(surface, contender, start, steps)


def _on_recipe(
    what: str, overrides: list[str], names: Sequence[str], contenders: Sequence[Contender], steps: int, engine: str,
    device: str,
) -> tuple[str, Iterator[Outcome]]:  # fmt: skip
    """The name of the loss to judge by, and the runs as they finish."""
    prepared = _prepare(what, overrides, names, steps)

    from dlkit import build
    from dlkit.compare import race
    from dlkit.train import machine, stacked

    machine.keep_freed_memory()
    contest = build.Contest(prepared, machine.pick_device(device))
    first = contest.training(contenders[0] if contenders else Contender(names[0], 0.1, 0))
    judged_by = f"{first.monitored or next(iter(first.evaluations))}/loss"
    why = stacked.unsupported(first)
    if engine == "stacked" and why is not None:
        raise RequestError(f"--engine stacked: {why}", "use --engine workers or loop")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = cores if first.device.type == "cpu" else 1
    if engine == "auto" and len(contenders) > 1:
        engine, estimates = race.fastest(contenders, contest.training, processes)
        told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in sorted(estimates.items(), key=lambda e: e[1]))
        ratio = estimates["loop"] / estimates[engine]
        note(f"{len(contenders)} runs of {steps} steps: {told}; taking {engine}, {ratio:.1f} times as fast as the loop")
    engines: dict[str, Callable[[], Iterator[Outcome]]] = {
        "stacked": lambda: race.stack(contenders, contest.training),
        "workers": lambda: contest.workers(list(contenders), processes),
    }
    run = engines.get(engine, lambda: race.loop(contenders, contest.training))
    return judged_by, run() if contenders else iter(())


def _prepare(what: str, overrides: list[str], names: Sequence[str], steps: int) -> dict[str, Recipe]:
    """The recipe of each optimizer: its own options where the recipe uses it, else its defaults."""
    fixed = ["train.epochs=null", f"train.steps={steps}", f"train.eval_every={max(1, steps // 20)} steps"]
    fixed += [f"train.log_every={max(1, steps // 20)}", "train.checkpoint_every=never", "train.patience=null"]
    plain = recipes.load(what, overrides)
    plain.require_data()
    plain.require_weights()
    given = {override.partition("=")[0] for override in overrides}
    for key in ("precision", "compile", "channels_last"):
        if plain.values["train"][key] == "auto" and f"train.{key}" not in given:
            fixed.append(f"train.{key}={'fp32' if key == 'precision' else 'off'}")
    if plain.values["data"].get("validation") == 0:
        fixed.append(f"data.validation={_HELD_OUT}")
    prepared: dict[str, Recipe] = {}
    for name in names:
        own = [] if plain.values["optimizer"]["name"] == name else [f"optimizer={{name: {name}}}"]
        prepared[name] = recipes.load(what, [*overrides, *own, *fixed])
    return prepared


def _followed(runs: Iterator[Outcome], count: int) -> Iterator[Outcome]:
    """The outcomes, with a bar of finished runs on a terminal."""
    with Progress("runs", count, live_console(), whole=True) as progress:
        for outcome in runs:
            progress.advance(1)
            yield outcome
