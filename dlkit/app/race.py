"""A race of optimizers on a recipe or a surface, and what its folder holds of it: `dlkit compare-optimizers`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit import recipe as recipes
from dlkit import user_code
from dlkit.annotations import is_list
from dlkit.app.events import Prepared, Remark, Work
from dlkit.app.finished_race import FinishedRace
from dlkit.app.race_grid import kept_optimizers, own_files, parse_optimizers, parse_target, requested_trials
from dlkit.app.recipe_race import RecipeRace, recipes_of_optimizers
from dlkit.app.surface_race import SurfaceRace
from dlkit.distributed.torchrun import is_first_process
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.storage.atomic_file import require_target
from dlkit.storage.run_reference import CODE, RECIPE
from dlkit.sweep import provenance, surfaces, sweep_folder
from dlkit.sweep.events import StackHalved, StackNotRecorded, SweepEvent, TrialsAdvanced
from dlkit.sweep.surfaces import Surface
from dlkit.sweep.trials import Trial, TrialResult
from dlkit.text_input import opened_by_shell

if TYPE_CHECKING:
    import torch

OPTIMIZERS = "sgd,momentum,adagrad,rmsprop,adam,adamw"


@dataclass(frozen=True, slots=True)
class RaceStarted:
    """The runs come next: so many, of so many steps each. The loss `metric` is what the best is judged by."""

    runs: int
    steps: int
    metric: str


RaceProgressEvent = Remark | Prepared | RaceStarted | TrialResult | TrialsAdvanced


def race_optimizers(
    what: str | os.PathLike[str],
    changes: Sequence[str] = (),
    *,
    optimizers: str = OPTIMIZERS,
    lr: str = "1e-4:1:9",
    seeds: int = 5,
    steps: int = 500,
    trials: int | None = None,
    search: Sequence[str] = (),
    seed: int = 0,
    metric: str | None = None,
    target: str | None = None,
    engine: str = "auto",
    stack: int | None = None,
    start: str | None = None,
    animate: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
) -> Work[RaceProgressEvent, FinishedRace]:
    """Run every optimizer at every learning rate from every seed; what a folder holds already is not run again.

    Args:
        what: a recipe, or the name of a surface.
        changes: of the recipe.
        optimizers: their names, as `sgd,adam`.
        lr: learning rates for each, as `LOW:HIGH:COUNT`, evenly in the logarithm.
        seeds: runs of each setting, with weights and data order of their own.
        steps: of each run.
        trials: random settings of each optimizer instead of the grid.
        search: options that the random settings draw too, as `weight_decay=1e-5:0.1`.
        seed: of the random settings.
        metric: the loss to judge by; None for the held-out one.
        target: count the steps to it, as `loss=0.2`.
        engine: `auto`, `stacked`, `workers` or `loop`.
        stack: runs at once of `stacked`; None for the fastest.
        start: a point on a surface, as `-1.2,1`.
        animate: draw the paths over a surface into this file, a GIF.
        out: folder for finished runs, summary, figures and a page.
        resume: go on with the runs in `out`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        should_stop: asked after each step of the runs.

    Raises:
        RequestError: there is no such recipe, surface or optimizer, or options do not go together.
        DlkitError: data is missing, or the folder cannot be written.
    """
    if resume and out is None:
        raise RequestError("`resume` needs `out`", "give the folder of the finished runs")
    what, out = os.fspath(what), None if out is None else Path(out)
    animation = None if animate is None else Path(animate)
    if animation is not None:
        require_target("`animate`", animation, (".gif",))
    if target is not None:
        parse_target(target)
    racing = parse_optimizers(optimizers)
    surface = surfaces.find_surface(what)
    if surface is None:
        _refuse_misspelt_surface(what)
    recipe_path = Path(what, RECIPE) if Path(what).is_dir() else Path(what)
    # on the recipe of a race, which has its name
    begun = provenance.origin_of_recipe(recipe_path) if surface is None else {}
    title = what if surface is not None else _title(recipe_path, begun)
    # the recipe in the folder of a race already contains the changes that it was begun with
    own = begun if out is not None and os.path.realpath(recipe_path.parent) == os.path.realpath(out) else {}
    held = list(map(str, own["changes"])) if is_list(own.get("changes")) else []
    all_changes = [*held, *(change for change in changes if change not in held)]
    if surface is None:
        _refuse({"`start`": start is not None, "`animate`": animation is not None}, "is about a surface")
    else:
        _refuse(
            {"KEY=VALUE": bool(changes), "`engine`": engine != "auto", "`stack`": stack is not None},
            "is about a recipe",
        )
    if stack is not None and engine != "stacked":
        raise RequestError(f"`stack` {stack} is about `engine` stacked", f"`engine` stacked `stack` {stack}")
    runs = seeds if surface is None else 1  # where nothing is random, one run says all
    chosen = requested_trials(racing, lr, runs, trials, search, seed, surface is None)
    point = _point(start)
    request = {
        "race": title, "on": own.get("on", what), "changes": all_changes, "optimizers": list(racing), "lr": lr,
        "seeds": seeds, "steps": steps, "trials": trials, "search": list(search), "seed": seed, "metric": metric,
        "target": target, "start": start, "device": device, "directory": str(Path.cwd()),
    }  # fmt: skip
    ask_again = [what]  # how to ask for it again
    plain: Recipe | None = None
    if surface is not None:
        race: RecipeRace | SurfaceRace = SurfaceRace(surface, point or surface.start, steps, racing)
    else:
        plain, kept_auto, prepared = recipes_of_optimizers(what, list(changes), racing, steps)
        race = RecipeRace(prepared, steps, engine, device, stack)
        if out is not None:
            ask_again = [str(out / RECIPE), *kept_auto]
    code = list(dict.fromkeys([*(plain.own_code if plain else ()), *own_files(racing)]))
    user_code.hashes_of(code)  # refuses two files of one name, which a folder cannot hold
    facts = {"title": title, "steps": steps, "changes": all_changes, "start": start, "metric": metric}
    # only now that nothing is wrong with the recipe; of several processes the first keeps the folder
    folder = sweep_folder.SweepFolder(out if is_first_process() else None, resume, facts)
    recorded = _RecordedRace(
        title, chosen, steps, metric, surface, request, racing, ask_again, folder, plain, code, animation, should_stop
    )
    return Work(recorded.run(race))


@dataclass(frozen=True)
class _RecordedRace:
    """A race whose folder holds each run that has finished."""

    title: str
    trials: list[Trial]
    steps: int
    metric: str | None
    surface: Surface | None  # None on a recipe
    request: dict[str, Any]  # as its folder records it
    optimizers: dict[str, str]  # what each is called -> how a recipe names it
    ask_again: list[str]
    folder: sweep_folder.SweepFolder
    recipe: Recipe | None
    code: list[Path]  # the files of components of the user's own
    animation: Path | None
    should_stop: Callable[[], bool]

    def run(self, race: RecipeRace | SurfaceRace) -> Generator[RaceProgressEvent, None, FinishedRace]:
        """Run what the folder does not hold yet, write each run into it as it finishes, and the report at the end."""
        try:
            return (yield from self._run(race))
        finally:
            self.folder.close()

    def _run(self, race: RecipeRace | SurfaceRace) -> Generator[RaceProgressEvent, None, FinishedRace]:
        folder, remarks = self.folder, list[str]()
        done = {outcome.trial for outcome in folder.outcomes}
        missing = [trial for trial in self.trials if trial not in done]

        def settle(device: torch.device | None, sources: dict[str, Any]) -> Iterator[Remark]:
            remarks.extend(self._settle(device, sources))
            for remark in remarks:
                yield Remark(f"the numbers of further runs may differ from those in {folder.path}: {remark}")

        metric, events = yield from race.begin(missing, folder, self.should_stop, settle)
        metric = self.metric or metric
        if folder.path is not None:
            kept = kept_optimizers(self.optimizers, folder.path / CODE)
            command = [*self.ask_again, *(["--trust"] if self.code else [])]
            provenance.write_race_record(
                folder.path, self.request, {**self.request, "optimizers": kept}, command, folder.engine, folder.size,
                folder.obstacle, remarks,
            )  # fmt: skip
        yield RaceStarted(len(missing), self.steps, metric)
        yield from self._recorded(events, metric)
        order = {trial: index for index, trial in enumerate(self.trials)}
        outcomes = sorted((o for o in folder.outcomes if o.trial in order), key=lambda o: order[o.trial])
        target = self.request["target"]
        finished = FinishedRace(self.title, metric, outcomes, self.surface, folder.path, len(order), target)
        if not finished.stopped:
            finished.write(self.animation)
        return finished

    def _recorded(self, events: Iterator[SweepEvent], metric: str) -> Iterator[Remark | TrialResult | TrialsAdvanced]:
        """The events of the runs; one that has finished is in the folder by then."""
        asked = self.metric is not None or self.request["target"] is not None
        for event in events:
            if isinstance(event, StackHalved):
                yield Remark(f"a stack of {event.runs} runs does not fit into memory: stacks of {event.size} runs")
                self.folder.choose("stacked", event.size)
            elif isinstance(event, StackNotRecorded):
                yield Remark(f"a step of a stack could not be captured as a CUDA graph, which is slower: {event.why}")
            else:
                if isinstance(event, TrialResult):
                    self.folder.add(event)
                    if asked and not event.diverged:  # a wrong name shows after the first run, not after all of them
                        _ = FinishedRace(
                            self.title, metric, [event], self.surface, None, 1, self.request["target"]
                        ).report
                        asked = False
                yield event

    def _settle(self, device: torch.device | None, sources: dict[str, Any]) -> list[str]:
        """Write down how the race came about; returns what is different from when it was begun."""
        if self.folder.path is None:
            return []
        import torch

        from dlkit.training import environment

        described = environment.describe_environment(device or torch.device("cpu"), sources)
        if self.code:
            described["code"] = user_code.hashes_of(self.code)
        recipe = self.recipe.with_code_in(CODE).to_yaml() if self.recipe else None
        remarks = provenance.record_or_compare(self.folder.path, recipe, described)
        provenance.copy_code(self.folder.path, self.code)
        return remarks


def _refuse_misspelt_surface(what: str) -> None:
    """Raise RequestError if this looks like a surface and is not a recipe."""
    near = recipes.closest(what, [*surfaces.SURFACES, "quadratic:1000"])
    if near and what not in recipes.shipped() and not Path(what).exists():
        known = ", ".join([*surfaces.SURFACES, "quadratic:CONDITION"])
        raise RequestError(f"no recipe or surface {what!r}{near}", f"the surfaces are {known}")


def _refuse(given: dict[str, bool], why: str) -> None:
    for option in (name for name, there in given.items() if there):
        raise RequestError(f"{option} {why}", "leave it out")


def _point(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise RequestError(f"`start` {text}: no point", "write `start`=-1.2,1") from None
    if not (math.isfinite(x) and math.isfinite(y)):
        raise RequestError(f"`start` {text}: not finite", "write `start`=-1.2,1")
    return x, y


def _title(recipe: Path, begun: dict[str, Any]) -> str:
    """What a race on a recipe is called; one on the recipe of another race is called as that."""
    if recipe.name != RECIPE:
        return "stdin" if str(recipe) == "-" or opened_by_shell(recipe) else recipe.stem
    return str(begun.get("race", recipe.parent.name))
