"""A race of optimizers on a surface, where nothing is random. No torch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlkit.app.events import Prepared, Remark
from dlkit.sweep.events import SweepEvent
from dlkit.sweep.surfaces import Surface
from dlkit.sweep.trials import Trial

if TYPE_CHECKING:
    from dlkit.sweep.sweep_folder import SweepFolder


@dataclass
class SurfaceRace:
    """The runs of a race on a surface: from a point (x, y), of so many steps each."""

    surface: Surface
    start: tuple[float, float]
    steps: int
    optimizers: Mapping[str, str]  # what each is called -> how a recipe names it

    def begin(
        self,
        trials: Sequence[Trial],
        folder: SweepFolder,
        should_stop: Callable[[], bool],
        settle: Callable[[None, dict[str, Any]], Iterator[Remark]],
    ) -> Generator[Remark | Prepared, None, tuple[str, Iterator[SweepEvent]]]:
        """The name of the loss to judge by, and the runs as they finish; as `RecipeRace.begin`."""
        from dlkit.app.descent import descents

        yield Prepared()
        yield from settle(None, {})
        return "loss", descents(self.surface, self.start, trials, self.steps, should_stop, self.optimizers)
