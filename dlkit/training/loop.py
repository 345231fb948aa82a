"""The training loop, as a generator of events. It never prints, and waits for the device only on logged steps.

For step t of T, with B the micro-batches of the step:
    g_t     = gradient of the mean over B of loss(model(x), y)
    theta_t = optimizer(theta_(t-1), g_t, lr = base lr * schedule(t, T))

Where several processes train together, each does so for its share of every batch. They come to the same decisions, so
that all of them evaluate, save and end at the same step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from dlkit.data.batch import Batch
from dlkit.distributed.joint_flag import JointFlag
from dlkit.distributed.tensor_parts import local_part
from dlkit.errors import DivergedError, NotFiniteError
from dlkit.finite import all_finite
from dlkit.training import rng
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.checkpoint_fault import fault_of
from dlkit.training.checkpoint_interval import CheckpointCadence
from dlkit.training.compile_counter import CompileCounter
from dlkit.training.ema import ExponentialMovingAverage
from dlkit.training.evaluate import EvaluationStoppedError, evaluate_split
from dlkit.training.events import Checkpointed, Evaluated, Event, Finished, StepDone
from dlkit.training.forward_backward import ForwardBackward
from dlkit.training.grad_scaler import GradScaler
from dlkit.training.next_steps import remaining_steps
from dlkit.training.optimizer_step import OptimizerStep
from dlkit.training.parallel_model import parallel_model
from dlkit.training.running_metrics import RunningMetrics
from dlkit.training.settings import steps_between
from dlkit.training.snapshot import Snapshot
from dlkit.training.state import TrainProgress, TrainState
from dlkit.training.training import Training

_HINT = "lower optimizer.lr, add schedule.warmup, or set train.clip_norm or train.on_nan=skip"


class CheckpointStore(Protocol):
    """Where checkpoints go. `save` gets everything that the loop needs to resume."""

    def save(self, checkpoint: Checkpoint, best: bool) -> Any: ...


def fit(training: Training, store: CheckpointStore | None = None, resume: Checkpoint | None = None) -> Iterator[Event]:
    """Train; yields an event for each step, evaluation and checkpoint, and `Finished` at the end.

    Raises:
        DivergedError: a loss, a metric or the weights are not finite; no such checkpoint is saved.
        DlkitError: a checkpoint cannot be saved.
    """
    loop = _Loop(training, store, resume)
    return loop.compilations.during(loop.run())


class _Loop:
    def __init__(self, training: Training, store: CheckpointStore | None, resume: Checkpoint | None) -> None:
        self.training, self.store, self.world = training, store, training.world
        settings, device, optimizer = training.settings, training.device, training.optimizer
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.buffers = Snapshot(list(training.model.buffers())) if settings.on_nan == "skip" else None
        self.sums = RunningMetrics(device, self.world)
        self.last_batch: Batch | None = None  # of the last step that was not skipped
        self.ema = ExponentialMovingAverage(training.model, settings.ema) if settings.ema is not None else None
        self.scaler = GradScaler(device) if settings.precision == "fp16" else None
        self.compilations = CompileCounter(settings.compile == "on")
        base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.state = TrainState(training.model, optimizer, base_lrs, TrainProgress(), self.sums, self.ema, self.scaler)
        if resume is not None:
            self.state.restore(resume, len(training.batches), settings.accumulate)
        elif self.world.size > 1:
            rng.seed_rank(self.world, device)
        self.progress = self.state.progress
        self.parallel = parallel_model(training) if self.world.size > 1 else None
        forward, compiled = training.forward, training.compiled
        if self.parallel is not None:
            forward, compiled = self.parallel.through(forward), self.parallel.through(compiled)
        self.passes = ForwardBackward(
            forward,
            compiled if training.compiled != training.forward else forward,
            len(self.world.share(training.batches.batch_size)),
            self.parameters,
            self.scaler,
            accumulate=settings.accumulate,
            captures=settings.cuda_graph == "on" and device.type == "cuda",
        )
        # a scaler waits for the device, so its step cannot be captured
        captures = self.passes.captures and self.scaler is None
        self.optimizer_step = OptimizerStep(
            optimizer, self.parameters, self.passes, settings.clip_norm, captures=captures
        )
        self.earlier_warm_up = self.progress.warm_up  # seconds, before the run was resumed
        self.saved_step = self.progress.step if resume is not None else -1
        self.started = 0.0  # by the clock, had the run never been interrupted
        self.stop = JointFlag(self.world)
        self.cadence = CheckpointCadence(
            settings.checkpoint_every, training.steps_per_epoch, self.world.size, self.world.broadcast_object
        )

    # ------------------------------------------------------------------ the loop

    def run(self) -> Iterator[Event]:
        training, progress, settings = self.training, self.progress, self.training.settings
        per_epoch, total = training.steps_per_epoch, training.total_steps
        evaluate_every = steps_between(settings.eval_every, per_epoch)
        training.model.train()
        self.started = time.perf_counter() - progress.seconds
        reason = "patience" if self._exhausted() else "done"
        if progress.unevaluated:
            reason = yield from self._end_step(True, progress.step % settings.log_every == 0 or progress.step == total)
        for step, batches in remaining_steps(training, progress, progress.step if reason == "done" else total):
            lr = self._set_lr(step, total)
            samples = self._step(batches)
            progress.step = done = step + 1
            logged = done % settings.log_every == 0 or done == total
            metrics = self._logged_metrics() if logged else None
            self._update_times()
            yield StepDone(done, step // per_epoch, samples, lr, metrics)
            due = done == total or bool(evaluate_every and done % evaluate_every == 0)
            if (reason := (yield from self._end_step(due, logged))) != "done":
                break
        self.stop.settle()
        self._count_skipped()
        if self.saved_step != progress.step:
            self._save(False)
        self._update_times()
        compiled = (self.compilations.graphs, len(self.passes.seen)) if self.compilations.active else None
        yield Finished(progress.step, progress.step / per_epoch, progress.seconds, dict(progress.metrics), reason,
                       progress.skipped, progress.warm_up, compiled, self.cadence.interval)  # fmt: skip

    def _end_step(self, evaluates: bool, logged: bool) -> Generator[Event, None, str]:
        """Evaluate and save after a step, where that is due; returns why training ends here, or `done`."""
        training, progress, done = self.training, self.progress, self.progress.step
        total, best, reason = training.total_steps, False, "done"
        if evaluates:
            metrics = self._evaluate()
            progress.unevaluated = metrics is None
            if metrics is None:
                reason = "stopped"
            else:
                best = self._judge(metrics)
                yield Evaluated(done, (done - 1) // training.steps_per_epoch, dict(metrics), best)
                reason = "patience" if self._exhausted() else reason
        if self.stop.ask(training.should_stop()) and done < total and reason == "done":
            reason = "stopped"
        self._update_times()
        due = done == total or reason != "done" or best or self.cadence.due(done, logged, progress.seconds)
        if due and (path := self._save(best)) is not None:
            before = progress.seconds
            self._update_times()
            yield Checkpointed(done, path, self.cadence.saved(progress.seconds, progress.seconds - before))
        return reason

    def _exhausted(self) -> bool:
        patience = self.training.settings.patience
        return patience is not None and self.progress.waited >= patience

    def _update_times(self) -> None:
        """Write into `progress` how long the run has taken, and apart from that, its compiling and capturing."""
        self.progress.warm_up = self.earlier_warm_up + self.passes.seconds
        self.progress.seconds = time.perf_counter() - self.started - self.passes.seconds

    def _set_lr(self, step: int, total: int) -> float:
        factor, base_lrs = self.training.schedule(step, total), self.state.base_lrs
        for group, base in zip(self.training.optimizer.param_groups, base_lrs, strict=True):
            group["lr"] = base * factor
        return base_lrs[0] * factor

    def _step(self, batches: list[Batch]) -> int:
        training = self.training
        # where several processes share a batch, it has more predictions than this one sees
        samples = sum(batch.predictions if batch.whole is None else batch.whole for batch in batches)
        if self.buffers is not None:
            self.buffers.take()
        counted: list[tuple[Tensor, Tensor | None, int]] = []
        for batch in batches:
            count = batch.predictions
            # weighted so that the gradients add up to that of the mean over all predictions of the step, and so that
            # their average over processes does
            share = count / samples * self.world.size
            with self._accumulating(batch is batches[-1]):
                loss, right = self.passes(batch, share)
            counted.append((loss if count else torch.zeros_like(loss), right, count))
        if self.scaler:
            self.scaler.unscale_(training.optimizer)
        if self.buffers is not None:
            gradients = [local_part(p.grad) for p in self.parameters if p.grad is not None]
            if self.world.any_rank(not all_finite([*gradients, *(loss for loss, _, _ in counted)])):
                self._skip(self.buffers)
                return samples
        for loss, right, count in counted:
            self.sums.add(loss, right, count)
        self.sums.end_step()
        self.last_batch = batches[-1]
        overflow = None
        if self.scaler is None:
            self.optimizer_step()
        else:
            self.optimizer_step.clip()
            overflow = self.scaler.make_step(training.optimizer)
        training.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update(overflow)
        return samples

    def _accumulating(self, last: bool) -> AbstractContextManager[Any]:
        """Where the gradients of a step's batches add up before processes exchange them, after the last."""
        return nullcontext() if self.parallel is None or last else self.parallel.accumulating()

    def _count_skipped(self) -> None:
        """Add the skipped steps that only the device has counted so far. Waits for it."""
        if self.scaler is not None:
            self.progress.skipped += self.scaler.overflown()

    def _skip(self, buffers: Snapshot) -> None:
        """Undo the step: no update, and buffers (running statistics) as they were before."""
        buffers.put_back()
        if self.scaler:
            self.scaler.update()  # lowers the scale, if it was the scale that overflowed
        self.training.optimizer.zero_grad(set_to_none=True)
        self.progress.skipped += 1

    def _logged_metrics(self) -> dict[str, float] | None:
        """Means since the last logged step; None if every step since was skipped."""
        self._require_finite_loss()
        self._count_skipped()
        if self.progress.skipped == self.training.total_steps:
            raise self._diverged(f"none of the {self.progress.skipped} steps had a finite loss and gradient")
        metrics = self.sums.metrics() if self.sums.steps else None
        self.sums.clear()
        return metrics

    def _require_finite_loss(self) -> None:
        bad = self.sums.first_bad()
        if bad is not None:
            # skipped steps are not counted here, but with on_nan=skip no other step has a bad loss
            step = self.progress.step - self.sums.steps + bad
            raise self._diverged(f"the training loss of step {step} is not finite")

    def _diverged(self, what: str) -> DivergedError:
        saved = f"; the checkpoint of step {self.saved_step} is kept" if self.saved_step > 0 else ""
        return DivergedError(f"diverged: {what}{saved}", _HINT)

    # ------------------------------------------------------------------ evaluation

    def _evaluate(self) -> dict[str, float] | None:
        """The metrics of every split; None, and nothing drawn at random, if asked to stop in the midst of it."""
        self._require_finite_loss()
        training, found = self.training, dict[str, float]()
        generators = rng.get_states(training.device)
        with self.ema.applied() if self.ema is not None else nullcontext():
            for split, batches in training.evaluations.items():
                meter = training.task.meter(training.device)
                try:
                    evaluate_split(training.model, batches, meter, training.autocast, self.world, training.should_stop)
                    found |= {f"{split}/{name}": value for name, value in meter.metrics().items()}
                except NotFiniteError as error:
                    after = f"after step {self.progress.step}: {error.message}"
                    raise self._diverged(f"evaluating {split} {after}") from error
                except EvaluationStoppedError:
                    rng.set_states(*generators, training.device)
                    return None
        return found

    def _judge(self, metrics: dict[str, float]) -> bool:
        """Take down what an evaluation found; returns whether the monitored metric is the best so far."""
        training, progress = self.training, self.progress
        progress.metrics = metrics
        if training.monitored is None:
            return False
        name = training.task.main_metric if training.settings.monitor == "auto" else training.settings.monitor
        value = progress.metrics[f"{training.monitored}/{name}"]
        better = progress.judge(value, lower=name == "loss")
        if not math.isfinite(value) and progress.waited == training.settings.patience:
            raise self._diverged(f"{training.monitored}/{name} after step {progress.step} is {value}")
        return better

    def _save(self, best: bool) -> Any:
        """Save a checkpoint if all of it is finite, and the loss of its weights too. Waits for the device."""
        if self.store is None and self.progress.step < self.training.total_steps:
            return None
        self._require_finite_loss()
        self._count_skipped()
        checkpoint = self.state.capture(self.training.description)
        if (fault := fault_of(checkpoint, self.training, self.last_batch)) is not None:
            raise self._diverged(f"after step {self.progress.step}, {fault}")
        if self.store is None:
            return None
        self.saved_step = self.progress.step
        return self.store.save(checkpoint, best)
