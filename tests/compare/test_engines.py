"""The three engines give the same runs, and stacked runs do not know of each other."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dlkit import build, recipe
from dlkit.compare import race, timing
from dlkit.compare.keep import Keep
from dlkit.compare.runs import Contender, Outcome, Smaller, Told, grid
from dlkit.nn import stacked_convolution
from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.adamw import AdamW
from dlkit.optim.momentum import Momentum
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD
from dlkit.train import stackable
from dlkit.train import stacked as stacked_runs
from dlkit.train.loop import Training
from dlkit.train.stacked_updates import ByKind

OPTIMIZERS = ["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"]
SETTINGS = [
    "data.validation=0.1",
    "train.epochs=null",
    "train.steps=12",
    "train.eval_every=4 steps",
    "train.log_every=4",
    "train.precision=fp32",
    "train.compile=off",
    "train.channels_last=off",
]


class DoubleContest(build.Contest):
    """In float64, where no rounding grows into a difference: RMSProp's first steps follow the sign of a gradient."""

    def training(self, contender: Contender) -> Training:
        training = super().training(contender)
        training.model.double()
        for batches in (training.batches, *training.evaluations.values()):
            batches._inputs = batches._inputs.double()  # pyright: ignore[reportAttributeAccessIssue]
        return training


def contest(*changes: str, optimizers: list[str] = OPTIMIZERS) -> build.Contest:
    recipes = {
        name: recipe.load("digits-mlp", [f"optimizer={{name: {name}}}", *SETTINGS, *changes]) for name in optimizers
    }
    return DoubleContest(recipes, torch.device("cpu"))


def stacked(contest: build.Contest, contenders: list[Contender]) -> list[Outcome]:
    return finished(race._one_stack(contenders, contest.training, Keep()))


def finished(told: Iterable[Told]) -> list[Outcome]:
    return [event for event in told if isinstance(event, Outcome)]


def assert_same(a: Outcome, b: Outcome, tolerance: float = 1e-6) -> None:
    assert a.contender == b.contender
    assert a.diverged == b.diverged
    if not a.diverged:
        assert a.loss == pytest.approx(b.loss, rel=tolerance)
        assert a.metrics["val/loss"] == pytest.approx(b.metrics["val/loss"], rel=tolerance)
        assert a.metrics["val/accuracy"] == pytest.approx(b.metrics["val/accuracy"])


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("model.norm=batch",),
        ("model.dropout=0.3", "model.hidden=[32, 16]"),
        ("schedule={name: cosine, warmup: 0.3}", "loss.label_smoothing=0.1", "loss.l2=1e-3"),
        ("model={name: cnn, channels: [4, 8]}",),
        ("model={name: cnn, channels: [4, 8], dropout: 0.5, norm: batch}", "data.batch_size=300"),
        ("model={name: resnet, depths: [1], widths: [4]}", "data.batch_size=300"),
    ],
    ids=["mlp", "batch-norm", "dropout", "schedule-l2", "cnn", "cnn-dropout", "resnet-partial-batches"],
)
def test_a_stacked_run_equals_its_lone_twin(changes: tuple[str, ...]) -> None:
    race_of = contest(*changes)
    contenders = [c for name in OPTIMIZERS for c in grid([name], [1e-3, 1e-2], 2)]
    together = stacked(race_of, contenders)
    alone = finished(race.loop(contenders, race_of.training))
    for a, b in zip(together, alone, strict=True):
        assert_same(a, b)
    assert len({round(o.loss, 6) for o in together}) > len(contenders) // 2


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_language_models_stack(dropout: float) -> None:
    fixed = [change for change in SETTINGS if "validation" not in change]
    model = f"model={{name: gpt, layers: 2, heads: 2, width: 32, dropout: {dropout}, attention_dropout: 0.0}}"
    changes = [*fixed, model, "data={name: pydoc, batch_size: 4, context: 128, stride: 100}", "train.clip_norm=null",
               "tokenizer.vocab_size=300", "train.steps=2", "train.eval_every=2 steps",
               "train.log_every=2"]  # fmt: skip
    names = ["momentum", "adamw"]
    recipes = {name: recipe.load("pydoc-gpt", [f"optimizer={{name: {name}}}", *changes]) for name in names}
    race_of = build.Contest(recipes, torch.device("cpu"))
    contenders = grid(names, [1e-2], 2)
    assert stackable.unsupported(race_of.training(contenders[0])) is None
    for a, b in zip(stacked(race_of, contenders), finished(race.loop(contenders, race_of.training)), strict=True):
        assert_same(a, b, 1e-5)
    changed = recipe.load("pydoc-gpt", [*changes, "model.attention_dropout=0.1"])
    attending = build.Contest({"adamw": changed}, torch.device("cpu")).training(Contender("adamw", 0.1, 0))
    assert "random numbers" in (stackable.unsupported(attending) or "")


def test_masked_language_models_are_not_stacked() -> None:
    """Their batches say at which places they predict, and how many these are differs."""
    small = "model={name: bert, layers: 1, heads: 2, width: 16, dropout: 0.0, attention_dropout: 0.0}"
    fixed = [change for change in SETTINGS if "validation" not in change]
    changes = [small, "data={name: pydoc, batch_size: 2, context: 32}", "tokenizer.vocab_size=300"]
    race_of = build.Contest(
        {"adamw": recipe.load("pydoc-bert", ["optimizer={name: adamw}", *fixed, *changes])}, torch.device("cpu")
    )
    assert "more than inputs" in (stackable.unsupported(race_of.training(Contender("adamw", 0.1, 0))) or "")


def test_dropout_is_drawn_anew_at_every_step_and_for_every_seed() -> None:
    race_of = contest("model.dropout=0.5", optimizers=["sgd"])
    members = race.members_of(grid(["sgd"], [1e-9], 3), race_of.training)
    for training in members.of_seeds[1:]:  # one model and one batch for all, so that only the coins differ
        training.model.load_state_dict(members.of_seeds[0].model.state_dict())
    stack = race.stacked.Stack(members)
    _, (inputs, targets) = next(stack.batches())
    batch = (inputs[:1].expand_as(inputs), targets[:1].expand_as(targets))
    losses = torch.stack([stack.take_step(step, batch) for step in range(3)])
    assert len(set(losses.flatten().tolist())) == 9


class Noisy(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + torch.rand_like(x))


def test_other_random_layers_are_not_stacked() -> None:
    race_of = contest("model.dropout=0.5", "model.norm=batch", optimizers=["sgd"])
    training = race_of.training(Contender("sgd", 0.1, 0))
    state, before = torch.get_rng_state(), copy.deepcopy(training.model.state_dict())
    assert stackable.unsupported(training) is None
    training.model = Noisy(training.model)
    assert "random numbers" in (stackable.unsupported(training) or "")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in training.model.model.state_dict().items())


def test_who_diverges_hurts_nobody_else() -> None:
    race_of = contest(optimizers=["sgd", "adam"])
    calm = grid(["sgd", "adam"], [1e-2], 2)
    wild = sorted([*calm, Contender("sgd", 1e30, 0), Contender("sgd", 1e30, 1)], key=lambda c: (c.optimizer, c.lr))
    outcomes = {o.contender: o for o in stacked(race_of, wild)}
    for expected in stacked(race_of, calm):
        assert_same(outcomes[expected.contender], expected)
    for seed in (0, 1):
        outcome = outcomes[Contender("sgd", 1e30, seed)]
        assert outcome.diverged
        assert math.isnan(outcome.loss)
        assert outcome.metrics == {}


def test_weights_and_order_depend_on_the_seed_only() -> None:
    race_of = contest()
    for seed in (0, 1):
        trainings = [race_of.training(Contender(name, lr, seed)) for name, lr in (("sgd", 0.1), ("adam", 0.01))]
        first, second = (training.model.state_dict() for training in trainings)
        assert all(torch.equal(first[name], second[name]) for name in first)
        batches = [next(iter(training.batches.epoch(0))) for training in trainings]
        assert torch.equal(batches[0][0], batches[1][0])
    a, b = (race_of.training(Contender("sgd", 0.1, seed)) for seed in (0, 1))
    assert not torch.equal(a.model.state_dict()["mlp.0.weight"] if "mlp.0.weight" in a.model.state_dict() else
                           next(iter(a.model.parameters())), next(iter(b.model.parameters())))  # fmt: skip


def test_stacks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    race_of = contest(optimizers=["momentum"])
    contenders = grid(["momentum"], [1e-3, 1e-2], 3)
    whole = finished(race.stack(contenders, race_of.training))
    monkeypatch.setattr(stackable, "runs_at_once", lambda training: 4)
    for a, b in zip(finished(race.stack(contenders, race_of.training)), whole, strict=True):
        assert_same(a, b)


@pytest.mark.slow
def test_workers_give_what_the_loop_gives() -> None:
    race_of = build.Contest(contest(optimizers=["sgd", "adam"]).recipes, torch.device("cpu"))
    contenders = grid(["sgd", "adam"], [1e-2], 2)
    found = {o.contender: o for o in finished(race_of.workers(contenders, 2))}
    for expected in finished(race.loop(contenders, race_of.training)):
        assert_same(found[expected.contender], expected, 1e-4)


def test_an_engine_is_chosen_where_every_run_diverges() -> None:
    contenders = grid(["sgd"], [1e30], 2)
    assert timing.fastest(contenders, contest().training, 1, shortest=0).engine in ("loop", "stacked")


def test_the_fastest_engine_is_chosen_from_those_that_can() -> None:
    race_of = contest(optimizers=["sgd"])
    contenders = grid(["sgd"], [1e-2], 4)
    choice = timing.fastest(contenders, race_of.training, 1, shortest=0)
    assert set(choice.estimates) == {"loop", "stacked"}
    assert choice.estimates[choice.engine] <= min(choice.estimates.values()) / timing.MARGIN
    assert choice.size == 4
    clipped = contest("train.ema=0.9", optimizers=["sgd"])
    assert set(timing.fastest(contenders, clipped.training, 2, shortest=0).estimates) == {"loop", "workers"}


# Each option with one value for each of three models; where an option is a pair, the pair of such.
RULES: list[tuple[Any, dict[str, Any]]] = [
    (SGD, {}),
    (Momentum, {"nesterov": True, "momentum": [0.0, 0.5, 0.9]}),
    (Adagrad, {"lr_decay": [0.0, 0.1, 0.2], "eps": [1e-10, 1e-3, 0.1]}),
    (RMSprop, {"momentum": [0.5, 0.9, 0.1], "centered": True, "alpha": [0.9, 0.99, 0.5]}),
    (RMSprop, {"alpha": [0.9, 0.99, 0.5], "eps": [1e-8, 1e-3, 0.1]}),
    (Adam, {"amsgrad": True, "betas": ([0.9, 0.5, 0.0], [0.999, 0.9, 0.5])}),
    (AdamW, {"betas": ([0.9, 0.5, 0.0], [0.999, 0.9, 0.5]), "eps": [1e-8, 1e-3, 0.1]}),
]


@pytest.mark.parametrize(("kind", "options"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_hyper_parameters_may_be_vectors(kind: Any, options: dict[str, Any]) -> None:
    """One optimizer on a stack of R models equals R optimizers on one model each."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    options = {"lr": [0.01, 0.1, 0.3], "weight_decay": [0.0, 0.1, 0.5], **options}

    def column(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(column(part) for part in value)
        return torch.tensor(value, dtype=torch.float64).view(3, 1, 1) if isinstance(value, list) else value

    def of_model(value: Any, index: int) -> Any:
        if isinstance(value, tuple):
            return tuple(of_model(part, index) for part in value)
        return value[index] if isinstance(value, list) else value

    stack = start.clone().requires_grad_()
    together = kind([stack], **{name: column(value) for name, value in options.items()})
    singles: list[Tensor] = [row.clone().requires_grad_() for row in start]
    apart = [kind([x], **{k: of_model(v, i) for k, v in options.items()}) for i, x in enumerate(singles)]
    for _ in range(20):
        gradient = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
        stack.grad = gradient.clone()
        together.step()
        for single, optimizer, row in zip(singles, apart, gradient, strict=True):
            single.grad = row.clone()
            optimizer.step()
    torch.testing.assert_close(stack.detach(), torch.stack([s.detach() for s in singles]), rtol=1e-12, atol=1e-12)


def test_a_race_changes_none_of_its_trainings() -> None:
    race_of = contest(optimizers=["sgd"])
    training = race_of.training(Contender("sgd", 0.1, 0))
    before = copy.deepcopy(training.model.state_dict())
    next(timing.stack_steps([Contender("sgd", 0.1, 0)], lambda _: training))
    assert all(torch.equal(before[name], value) for name, value in training.model.state_dict().items())


def test_gradients_are_clipped_run_by_run() -> None:
    race_of = contest("train.clip_norm=0.05", "model.norm=batch", "model.hidden=[32, 16]")
    contenders = [c for name in OPTIMIZERS for c in grid([name], [1e-2], 2)]
    together = stacked(race_of, contenders)
    for a, b in zip(together, finished(race.loop(contenders, race_of.training)), strict=True):
        assert_same(a, b)
    free = stacked(contest("model.norm=batch", "model.hidden=[32, 16]"), contenders)
    assert all(a.loss != b.loss for a, b in zip(together, free, strict=True) if a.contender.optimizer == "sgd")


def test_gradients_come_as_their_parameters_lie() -> None:
    """So that none of them is copied, and the optimizers' kernels take them."""
    race_of = contest("model.norm=batch")
    stack = race.stacked.Stack(race.members_of(grid(OPTIMIZERS, [1e-2], 2), race_of.training))
    _, batch = next(stack.batches())
    batches_seen = [value for name, value in stack.buffers.items() if name.endswith("num_batches_tracked")]
    assert not any(int(value.sum()) for value in batches_seen)  # looking at a gradient has left no trace
    batch = stack.of_runs(batch, stack.seeds)
    stack._losses(stack.parameters, stack.buffers, stack.seeds, batch).sum().backward()
    transposed = 0
    for parameter in stack.parameters.values():
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride()
        transposed += not parameter.is_contiguous()
    assert transposed == 3  # the weights of the three linear layers


def on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacks as they are on CUDA, but for the graphs: updates by kind, convolutions as products."""
    original = stacked_runs.Stack._lay_out

    def lay_out(self: stacked_runs.Stack) -> None:
        stacked_convolution.for_stacks(self.model)
        original(self)

    monkeypatch.setattr(stacked_runs.Stack, "_lay_out", lay_out)
    monkeypatch.setattr(stacked_runs, "ByGroup", ByKind)


@pytest.mark.parametrize(
    "changes",
    [
        ("model.dropout=0.3", "model.hidden=[32, 16]", "train.clip_norm=0.05"),
        ("model={name: cnn, channels: [4, 8], dropout: 0.5, norm: batch}", "data.batch_size=300"),
        ("model={name: resnet, depths: [1], widths: [4]}", "data.batch_size=300", "data.shift=1", "data.flip=true"),
    ],
    ids=["mlp", "cnn-dropout", "resnet-partial-batches"],
)
def test_stacks_as_on_cuda_equal_their_lone_twins(changes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpus(monkeypatch)
    race_of = contest(*changes)
    contenders = [c for name in OPTIMIZERS for c in grid([name], [1e-3, 1e-2], 2)]
    alone = finished(race.loop(contenders[::3], race_of.training))
    together = {o.contender: o for o in stacked(race_of, contenders)}
    for a in alone:
        assert_same(together[a.contender], a)


class Asked(TorchDispatchMode):
    """Which operations hand a number to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(part in str(func) for part in ("local_scalar", "nonzero", "masked_select", "is_nonzero", "equal.")):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet"])
def test_a_step_of_a_stack_asks_the_device_for_nothing(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpus(monkeypatch)
    sizes = {"mlp": "", "cnn": ", channels: [4]", "resnet": ", depths: [1], widths: [4]"}
    race_of = contest(f"model={{name: {model}{sizes[model]}}}", "train.clip_norm=1", "data.shift=1")
    stack = race.stacked.Stack(race.members_of(grid(OPTIMIZERS, [1e-2], 2), race_of.training))
    batches = stack.batches()
    for _ in range(2):
        stack.take_step(*next(batches))
    stack.evaluation.measure()
    with Asked() as asked:
        stack.take_step(*next(batches))
    assert asked.names == []
    with Asked() as asked:
        stack.evaluation.measure()
    # tolist() does not come by here: what is measured is only read at the end
    assert asked.names == []


def test_one_run_a_seed_and_one_a_setting_are_built() -> None:
    race_of = contest(optimizers=["sgd", "adam"])
    built: list[Contender] = []

    def build_one(contender: Contender) -> Training:
        built.append(contender)
        return race_of.training(contender)

    contenders = grid(["sgd", "adam"], [1e-3, 1e-2, 0.1], 4)
    members = race.members_of(contenders, build_one)
    assert len(built) == 4 + 6 - 1
    assert [contender.seed for contender in built[:4]] == [0, 1, 2, 3]
    assert [stop - start for start, stop in members.groups] == [4] * 6
    assert [t.optimizer.param_groups[0]["lr"] for t in members.of_groups] == [1e-3, 1e-2, 0.1] * 2


class Narrow(stacked_runs.Stack):
    """A stack on a device with room for three runs, which is noticed in its second step."""

    def take_step(self, step: int, batch: Any) -> Tensor:
        if step and len(self.seeds) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().take_step(step, batch)


def test_a_stack_that_does_not_fit_begins_again_smaller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    race_of = contest(optimizers=["sgd", "adam"])
    contenders = grid(["sgd", "adam"], [1e-2], 5)
    whole = finished(race.stack(contenders, race_of.training, Keep(tmp_path)))
    monkeypatch.setattr(stacked_runs, "Stack", Narrow)
    told = list(race.stack(contenders, race_of.training, Keep(tmp_path), 7))
    assert [event for event in told if isinstance(event, Smaller)] == [Smaller(7, 3)]
    assert [o.contender for o in finished(told)] == contenders
    for a, b in zip(finished(told), whole, strict=True):
        assert_same(a, b)
    monkeypatch.setattr(Narrow, "take_step", lambda self, step, batch: torch.empty(2**60))
    with pytest.raises(RuntimeError, match="memory"):
        list(race.stack(contenders[:1], race_of.training, Keep(tmp_path)))


def test_an_engine_that_does_not_fit_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    race_of = contest(optimizers=["sgd"])
    monkeypatch.setattr(timing, "Stack", Narrow)
    choice = timing.fastest(grid(["sgd"], [1e-2], 4), race_of.training, 1, shortest=0)
    assert (choice.engine, choice.size, set(choice.estimates)) == ("loop", None, {"loop"})


def test_sizes_on_cuda_come_from_what_is_free_and_are_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    race_of = contest(optimizers=["sgd"])

    def on_cuda(contender: Contender) -> Training:
        training = race_of.training(contender)
        training.device = torch.device("cuda:0")
        return training

    heights = {stackable.FEW: 50 << 20, stackable.MORE: 90 << 20}  # 10 MiB a run, and 30 whatever they are
    monkeypatch.setattr(stackable, "_height", lambda training, runs: heights[runs])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (900 << 20, 2000 << 20))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300 << 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200 << 20)
    assert stackable.bytes_of_run(on_cuda(Contender("sgd", 0.1, 0))) == 10 << 20
    assert stackable.runs_at_once(on_cuda(Contender("sgd", 0.1, 0))) == 70  # 0.7 of 1,000 MiB
    contenders = grid(["sgd"], [1e-2], 150)
    assert list(timing._stacks(contenders, on_cuda)) == [("stacked", 50)]
