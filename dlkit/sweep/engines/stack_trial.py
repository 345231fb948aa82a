"""Whether a stack trains its runs as they would train alone: tried on a few runs before any counts.

`vmap` refuses what depends on the values of a tensor (`if x.max() > 1`, `.item()`) and what writes into a tensor that
the runs do not have each for themselves. It lets pass, though the numbers are wrong, what a model keeps outside of its
parameters and buffers, a generator of its own, and an optimizer that says `elementwise` and is not. dlkit's own
components do none of that, and its tests say so. Those of the user's own may, so they are tried.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlkit import memory
from dlkit.errors import DivergedError, NotFiniteError
from dlkit.sweep.engines.loop import BuildTrial
from dlkit.sweep.engines.stack_members import stack_members
from dlkit.sweep.trials import Trial
from dlkit.training.evaluate import evaluate_model
from dlkit.training.events import StepDone
from dlkit.training.loop import fit
from dlkit.training.training import Training
from dlkit.vectorized.evaluation import first_evaluation_batch
from dlkit.vectorized.stacked_runs import StackedRuns

STEPS = 2  # what the first one keeps shows in the second
SEEDS = 2
# How far losses may be from those of the lone run, relative to them: what a half-precision matrix product rounds off.
LOSS_TOLERANCE = {True: 1e-3, False: 3e-2}  # in single precision or not
# And the change of the weights. Rounding turns a step of Adam around where the gradient is 0 but for rounding, while an
# optimizer that takes two runs for one is wrong by a third: their gradients are together sqrt(2) times as long.
CHANGE_TOLERANCE = 0.2
_LONGEST = 160  # characters of an error


def has_foreign_code(training: Training) -> bool:
    """Whether the model, the loss or the optimizer is neither dlkit's nor torch's."""
    loss = getattr(training.task, "loss", None)
    modules: Iterable[Any] = [*training.model.modules(), *(loss.modules() if isinstance(loss, nn.Module) else [loss])]
    packages = {type(each).__module__.partition(".")[0] for each in (*modules, training.optimizer)}
    return not packages <= {"dlkit", "torch", "builtins"}


def mapping_obstacle(trials: Sequence[Trial], build: BuildTrial) -> str | None:
    """Why a stack of these runs would not train them as they train alone, or None.

    Two seeds of each optimizer take two steps, at its lowest learning rate, where rounding grows least.
    """
    few = _representatives(trials)
    alone = [_alone(trial, build) for trial in few]
    try:
        together = _stacked(few, build)
    except Exception as error:  # whatever code of the user's own raises
        if memory.is_out_of_memory(error):
            return f"a stack of {len(few)} runs does not fit into memory"
        return f"code of your own does not run on many models at once: {_sentence(error)}"
    single = build(few[0]).settings.precision == "fp32"
    if not all(_agree(one, other, single) for one, other in zip(alone, together, strict=True)):
        return "code of your own trains otherwise on many models at once than on one"
    return None


def _representatives(trials: Sequence[Trial]) -> list[Trial]:
    found: list[Trial] = []
    for optimizer in dict.fromkeys(trial.optimizer for trial in trials):
        own = [trial for trial in trials if trial.optimizer == optimizer]
        lowest = min(own, key=lambda trial: trial.lr)
        found += [trial for trial in own if trial.setting == lowest.setting][:SEEDS]
    return found


@dataclass
class _FirstSteps:
    """What a run's first steps come to.

    Args:
        losses: (STEPS + 1,): of each step, and of an evaluation batch after them.
        change: (P,): of all weights.
        rounding: how much of the norm of `change` may be the rounding of the weights.
    """

    losses: list[float]
    change: Tensor
    rounding: float


def _alone(trial: Trial, build: BuildTrial) -> _FirstSteps | None:
    """None if it diverges at once."""
    training = build(trial)
    training.settings = dataclasses.replace(training.settings, log_every=1)
    before = _flat(dict(training.model.named_parameters()))
    steps = (event for event in fit(training) if isinstance(event, StepDone))
    meter, batch = training.task.meter(training.device), first_evaluation_batch(training)
    try:
        losses = [(event.metrics or {})["train/loss"] for event in itertools.islice(steps, STEPS)]
        losses.append(evaluate_model(training.model, [batch], meter, training.autocast).metrics()["loss"])
    except (DivergedError, NotFiniteError):
        return None
    return _first_steps(losses, before, _flat(dict(training.model.named_parameters())))


def _stacked(trials: Sequence[Trial], build: BuildTrial) -> list[_FirstSteps]:
    stack = StackedRuns(stack_members(trials, build))
    rows = range(len(trials))
    before = [_flat(_row(stack.parameters, row)) for row in rows]
    losses = [stack.take_step(step, batch).tolist() for step, batch in itertools.islice(stack.batches(), STEPS)]
    losses.append(stack.evaluation.losses_of([first_evaluation_batch(stack.first)]))
    after = [_flat(_row(stack.parameters, row)) for row in rows]
    runs = zip(zip(*losses, strict=True), before, after, strict=True)
    return [_first_steps(list(each), start, end) for each, start, end in runs]


def _first_steps(losses: list[float], before: Tensor, after: Tensor) -> _FirstSteps:
    return _FirstSteps(losses, after - before, 4 * torch.finfo(before.dtype).eps * before.norm().item())


def _agree(alone: _FirstSteps | None, stacked: _FirstSteps, single: bool) -> bool:
    if alone is None or not alone.change.isfinite().all():
        return True  # there is nothing to compare
    near = LOSS_TOLERANCE[single]
    if not all(map(functools.partial(math.isclose, rel_tol=near, abs_tol=near / 10), stacked.losses, alone.losses)):
        return False
    apart = (stacked.change - alone.change).norm().item()
    return apart <= CHANGE_TOLERANCE * alone.change.norm().item() + alone.rounding


def _row(parameters: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    return {name: value[row] for name, value in parameters.items()}


def _flat(parameters: dict[str, Tensor]) -> Tensor:
    """All parameters as one vector, (P,), by name."""
    return torch.cat([parameters[name].detach().flatten() for name in sorted(parameters)])


def _sentence(error: Exception) -> str:
    """The first sentence of an error."""
    text = " ".join(str(error).removeprefix("vmap: ").split()) or type(error).__name__
    return text.partition(". ")[0][:_LONGEST].rstrip(".")
