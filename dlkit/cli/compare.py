"""`dlkit compare-optimizers`: race optimizers over learning rates and seeds, on a recipe or on a surface."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit import recipe as recipes
from dlkit.catalog import OPTIMIZERS
from dlkit.cli import _completion
from dlkit.cli._console import Output, finite, live_console, note
from dlkit.cli._options import Device, Json, Overrides, Quiet
from dlkit.cli._progress import Progress
from dlkit.compare import surfaces
from dlkit.compare.runs import Contender, Outcome, grid, rates
from dlkit.errors import DlkitError, RequestError, VerdictError
from dlkit.recipe import Recipe

if TYPE_CHECKING:
    from dlkit.compare.surfaces import Surface
    from dlkit.compare.verdict import Pair, Summary

_RUNS, _SUMMARY = "runs.jsonl", "summary.json"
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
        title, kind, outcomes = _read(source)
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
        begun = _Folder(folder, resume, {"title": title, "metric": kind, "steps": steps})
        missing = [c for c in contenders if c not in {o.contender for o in begun.outcomes}]
        if surface is not None:
            runs = _on_surface(surface, missing, _point(start) if start else surface.start, steps)
        else:
            assert what is not None
            names_of_metric, runs = _on_recipe(what, overrides or [], names, missing, steps, engine.value, device)
            kind = kind or names_of_metric
            begun.facts["metric"] = kind
        for outcome in _followed(runs, len(missing)):
            begun.add(outcome)
        order = {contender: place for place, contender in enumerate(contenders)}
        outcomes = sorted((o for o in begun.outcomes if o.contender in order), key=lambda o: order[o.contender])
    assert kind is not None
    summaries = verdict.summarize(outcomes, kind)
    if source is not None and claim:
        wanted = verdict.parse_assertion(claim, [s.optimizer for s in summaries])
    result = _Result(title, kind, outcomes, summaries, verdict.compare(summaries, surface is not None), target)
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


class _Folder:
    """The finished runs, and where they are written as they come: each line is on the disk before the next run ends."""

    def __init__(self, path: Path | None, resume: bool, facts: dict[str, Any]) -> None:
        self.path, self.facts, self.outcomes = path, facts, list[Outcome]()
        if path is None:
            return
        if (path / _RUNS).exists() and not resume:
            raise RequestError(f"{path} already holds a race", "go on with --resume, or choose another --out")
        if path.exists() and not path.is_dir():
            raise RequestError(f"--out {path} is a file", "choose another")
        if resume and (path / _RUNS).exists():
            head, self.outcomes = _lines(path / _RUNS)
            same = {key: value for key, value in facts.items() if key != "metric"}
            if {key: head.get(key) for key in same} != same:
                raise RequestError(f"{path} holds another race: {head.get('title')} of {head.get('steps')} steps")
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._append({"kind": "race", **facts})
        except OSError as error:
            raise DlkitError(f"cannot write in {path}: {error.strerror}") from error

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self.path is not None:
            self._append(outcome.record())

    def _append(self, record: dict[str, Any]) -> None:
        assert self.path is not None
        with (self.path / _RUNS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(record), allow_nan=False) + "\n")


def _lines(path: Path) -> tuple[dict[str, Any], list[Outcome]]:
    """The first line of runs.jsonl and its outcomes; a last line that a kill cut short is dropped."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DlkitError(f"cannot read {path}: {error.strerror}", "is it the --out folder of a race?") from error
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line break was never finished
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise DlkitError(f"{path}:{number}: not JSON: {error}") from error
    if not records or records[0].get("kind") != "race":
        raise DlkitError(f"{path} holds no race", "compare-optimizers --out DIR makes one")
    if lines[-1]:
        path.write_text("".join(line + "\n" for line in lines[:-1]), encoding="utf-8")
    return records[0], [Outcome.of_record(record) for record in records[1:]]


def _read(folder: Path) -> tuple[str, str, list[Outcome]]:
    head, outcomes = _lines(folder / _RUNS)
    try:
        summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DlkitError(f"{folder / _SUMMARY}: {error}", "finish the race with --resume") from error
    return str(head["title"]), str(summary["verdict"]["metric"]), outcomes


# ------------------------------------------------------------------ telling


class _Result:
    """What came out, in every form in which it is told."""

    def __init__(
        self,
        title: str,
        metric: str,
        outcomes: list[Outcome],
        summaries: list[Summary],
        pairs: list[Pair],
        target: str | None,
    ) -> None:
        from dlkit.compare import verdict

        self.title, self.metric, self.outcomes = title, metric, outcomes
        self.summaries, self.pairs = summaries, pairs
        finals = [o.loss if metric == "loss" else o.metrics.get(metric, math.inf) for o in outcomes if not o.diverged]
        worst = max((value for value in finals if math.isfinite(value)), default=math.inf)
        self.records = verdict.records(summaries, outcomes, metric, worst)
        self.target = self._steps_to(target) if target else None
        self.winners = verdict.winners(summaries, pairs)
        self.winner = self.winners[0] if len(self.winners) == 1 else "tie"

    def _steps_to(self, target: str) -> str:
        """Adds the steps to the target to each record; returns how the target reads."""
        from dlkit.compare import verdict

        name, _, text = target.partition("=")
        known = sorted({key for o in self.outcomes for _, metrics in o.curve for key in metrics})
        full = next((key for key in known if key == name or key.rpartition("/")[2] == name), None)
        try:
            value = float(text)
        except ValueError:
            raise RequestError(f"--target {target}: no number", "write --target loss=0.2") from None
        if full is None:
            raise RequestError(f"--target {target}: the runs have no metric {name!r}", f"they have {', '.join(known)}")
        for record, summary in zip(self.records, verdict.rank(self.summaries), strict=True):
            lr = None if summary.best is None else summary.lrs[summary.best]
            mine = [o for o in self.outcomes if (o.contender.optimizer, o.contender.lr) == (summary.optimizer, lr)]
            steps = verdict.steps_to(mine, full, value, full.endswith("accuracy"))
            reached = sorted(steps)
            record["target"] = f"{full}={value:g}"
            record["target_reached"] = sum(math.isfinite(step) for step in steps)
            record["steps_to_target"] = reached[len(reached) // 2] if reached else math.inf
        return f"{full}={value:g}"

    def verdict(self) -> dict[str, Any]:
        return {
            "kind": "verdict",
            "race": self.title,
            "metric": self.metric,
            "winner": self.winner,
            "tied": self.winners if len(self.winners) > 1 else [],
            "pairs": [
                {"a": p.a, "b": p.b, "difference": p.difference, "low": p.low, "high": p.high, "separated": p.separated}
                for p in self.pairs
            ],
            "text": self.text(),
        }

    def text(self) -> str:
        if len(self.records) == 1:
            return f"{self.winner} raced alone"
        if self.winner == "tie":
            return f"cannot separate {', '.join(self.winners)}"
        return f"{self.winner} is best: its interval lies apart from every other's"

    def best_runs(self) -> list[Outcome]:
        """One run of each optimizer at its best learning rate."""
        best = {s.optimizer: s.lrs[s.best] for s in self.summaries if s.best is not None}
        return [o for o in self.outcomes if best.get(o.contender.optimizer) == o.contender.lr and o.contender.seed == 0]

    def notes(self) -> list[str]:
        return [
            f"the best learning rate of {record['optimizer']}, {record['lr']:g}, is at the edge of its grid: widen --lr"
            for record in self.records
            if record["at_edge"]
        ]

    def emit(self, output: Output) -> None:
        for text in self.notes():
            note(f"warning: {text}")
        if output.quiet:
            output.emit({}, self.winner, lambda: None)
            return
        if output.tables:
            output.emit({}, None, self._table)
            return
        for outcome in self.outcomes:
            record = outcome.record()
            record.pop("curve")
            output.emit(record, None, lambda: None)
        for record in self.records:
            output.emit(record, None, lambda: None)
        output.emit(self.verdict(), None, lambda: None)

    def _rows(self) -> tuple[list[str], list[list[str]]]:
        columns = ["optimizer", "best lr", self.metric, "95 % interval", "basin (decades)", "diverged"]
        columns += [f"steps to {self.target}"] if self.target else []
        rows: list[list[str]] = []
        for r in self.records:
            lr = "-" if r["lr"] is None else f"{r['lr']:.3g}" + ("*" if r["at_edge"] else "")
            bounds = f"{r['low']:.4g} to {r['high']:.4g}" if r["seeds"] > 1 and math.isfinite(r["mean"]) else "-"
            row = [
                r["optimizer"],
                lr,
                f"{r['mean']:.4g}",
                bounds,
                f"{r['basin_decades']:.2f}",
                f"{r['diverged']}/{r['runs']}",
            ]
            if self.target:
                row.append(f"{r['steps_to_target']:g}" if math.isfinite(r["steps_to_target"]) else "never")
            rows.append(row)
        return columns, rows

    def _table(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        columns, rows = self._rows()
        table = Table(*columns, box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(Text(row[0], style="bold"), *row[1:])
        return Group(table, Text(self.text(), style="green"))

    def write(self, folder: Path, surface: Surface | None) -> None:
        from dlkit.compare import figures, report

        drawn = [folder / "sensitivity.svg", folder / "curves.svg", folder / "tuning.svg"]
        figures.sensitivity(drawn[0], self.summaries, self.metric, self.title)
        figures.curves(drawn[1], self.summaries, self.outcomes, self.metric, self.title)
        figures.tuning(drawn[2], self.records, self.metric, self.title)
        if surface is not None:
            drawn.insert(0, folder / "surface.svg")
            figures.contours(drawn[0], surface, self.best_runs(), self.title)
        summary = {"optimizers": self.records, "verdict": self.verdict()}
        text = json.dumps(finite(summary), indent=1, allow_nan=False)
        (folder / _SUMMARY).write_text(text + "\n", encoding="utf-8")
        columns, rows = self._rows()
        about = [*self.notes(), "Each optimizer at its best learning rate of the grid; * marks the edge of the grid."]
        report.write(folder / "report.html", f"Optimizers on {self.title}", self.text(), columns, rows, drawn, about)
