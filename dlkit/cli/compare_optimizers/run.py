"""Run the contenders of a race, on a recipe by the fastest engine or on a surface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlkit import recipe as recipes
from dlkit.cli.console import Output
from dlkit.cli.evaluations import tell_taken
from dlkit.cli.progress import preparing
from dlkit.compare.runs import Contender, Told
from dlkit.errors import RequestError
from dlkit.processors import cores
from dlkit.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from dlkit.compare.store import Folder
    from dlkit.compare.surfaces import Surface

_HELD_OUT = 0.1


def on_surface(
    surface: Surface, contenders: Sequence[Contender], start: tuple[float, float], steps: int,
    should_stop: Callable[[], bool],
) -> Iterator[Told]:  # fmt: skip
    from dlkit.build.descent import descend

    for contender in contenders:
        if should_stop():
            return
        outcome = descend(surface, contender, start, steps, should_stop)
        if outcome is not None:
            yield outcome


@dataclass
class OnRecipe:
    """The race on a recipe.

    Args:
        prepared: the recipe of each optimizer.
        steps: of each run.
        engine: how they are run; auto times them all.
        device: as given.
        size: of stacks; None for the fastest.
    """

    prepared: dict[str, Recipe]
    steps: int
    engine: str
    device: str
    output: Output
    size: int | None = None

    def begin(
        self,
        contenders: Sequence[Contender],
        folder: Folder,
        should_stop: Callable[[], bool],
        recorded: Callable[[torch.device, dict[str, Any]], None],
    ) -> tuple[str, Iterator[Told]]:
        """The name of the loss to judge by, and the runs as they finish.

        `recorded` is called with the device and with where the data is from, before anything is run.
        """
        from dlkit.build.contest import Contest
        from dlkit.compare import race, timing
        from dlkit.compare.keep import Keep
        from dlkit.train import machine, stackable

        contest = Contest(self.prepared, machine.pick_device(self.device), should_stop)
        with preparing(self.output.quiet):
            first = contest.training(contenders[0] if contenders else Contender(next(iter(self.prepared)), 0.1, 0))
        recorded(first.device, contest.dataset.sources)
        tell_taken(contest.dataset.sources, self.output)
        judged_by = f"{first.monitored or next(iter(first.evaluations))}/loss"
        if not contenders:
            return judged_by, iter(())
        if self.engine == "stacked" and (why := timing.obstacle(contenders, contest.training)) is not None:
            raise RequestError(f"--engine stacked: {why}", "use --engine workers or loop")
        processes = cores() if first.device.type == "cpu" else 1
        engine, size = self.engine, self.size
        if folder.engine is not None and engine in ("auto", folder.engine):
            engine, size = folder.engine, folder.size  # a race goes on in the same way, to the same numbers
        if engine == "auto" and len(contenders) > 1:
            choice = timing.fastest(contenders, contest.training, processes)
            engine, size, estimates = choice.engine, choice.size, choice.estimates
            told = ", ".join(
                f"{name} {seconds:.0f} s" for name, seconds in sorted(estimates.items(), key=lambda e: e[1])
            )
            ratio = estimates["loop"] / estimates[engine]
            self.output.say(
                f"{len(contenders)} runs of {self.steps} steps: {told}; "
                f"taking {engine}, {ratio:.1f} times as fast as the loop"
            )
        if engine == "stacked":
            size = size or timing.best_size(contenders, contest.training)
            self.output.say(f"stacks of {size} runs, about {size * stackable.bytes_of_run(first) / 2**20:.0f} MiB each")
        engine = "loop" if engine == "auto" else engine
        folder.choose(engine, size if engine == "stacked" else None)
        keep = Keep(folder.path, should_stop)
        engines: dict[str, Callable[[], Iterator[Told]]] = {
            "stacked": lambda: race.stack(contenders, contest.training, keep, size),
            "workers": lambda: contest.workers(list(contenders), processes),
            "loop": lambda: race.loop(contenders, contest.training),
        }
        return judged_by, engines[engine]()


# which a race does not settle by timing, unless told so
AUTOMATIC = ("precision", "compile", "cuda_graph", "channels_last")


def prepare(
    what: str, overrides: list[str], names: Sequence[str], steps: int
) -> tuple[Recipe, list[str], dict[str, Recipe]]:
    """The recipe as it was given, changes of it that its values do not tell, and the recipe of each optimizer.

    An optimizer has its own options where the recipe uses it, else its defaults.
    """
    fixed = ["train.epochs=null", f"train.steps={steps}", f"train.eval_every={max(1, steps // 20)} steps"]
    fixed += [f"train.log_every={max(1, steps // 20)}", "train.checkpoint_every=never", "train.patience=null"]
    source = recipes.read(what)  # once: standard input is gone after that
    plain = source.load(overrides)
    plain.require_data()
    plain.require_weights()
    given = {override.partition("=")[0] for override in overrides}
    automatic = [key for key in AUTOMATIC if plain.values["train"][key] == "auto"]
    told = [f"train.{key}=auto" for key in automatic if f"train.{key}" in given]
    for key in automatic:
        if f"train.{key}" not in given:
            fixed.append(f"train.{key}={'fp32' if key == 'precision' else 'off'}")
    if plain.values["data"].get("validation") == 0:
        fixed.append(f"data.validation={_HELD_OUT}")
    prepared: dict[str, Recipe] = {}
    for name in names:
        own = [] if plain.values["optimizer"]["name"] == name else [f"optimizer={{name: {name}}}"]
        prepared[name] = source.load([*overrides, *own, *fixed])
    return plain, told, prepared
