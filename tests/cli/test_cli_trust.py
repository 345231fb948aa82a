"""Components of the user's own, from a file beside the recipe: trusted, refused, checked, kept, and wrong."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import pytest

CODE = '''
"""A tiny model, an optimizer, a loss, a schedule, an activation and a data set."""

import torch
from torch import nn

from dlkit.annotations import Count, NonNegative, Positive
from dlkit.data.dataset import Split, make_dataset
from dlkit.optim.base import Optimizer


class TinyNet(nn.Module):
    def __init__(self, input_shape, num_classes, *, width: Count = 16):
        super().__init__()
        features = torch.Size(input_shape).numel()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(features, width), nn.ReLU(), nn.Linear(width, num_classes))

    def forward(self, x):
        return self.layers(x)


class SignDescent(Optimizer):
    elementwise = True

    def __init__(self, params, *, lr: Positive = 1e-3, weight_decay: NonNegative = 0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "maximize": False})

    def update(self, parameter, gradient, state, group):
        parameter.sub_(group["lr"] * gradient.sign())


class TorchSGD(torch.optim.SGD):
    pass


class Focal(nn.Module):
    def __init__(self, *, gamma: NonNegative = 2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits, targets, parameters=None):
        log_p = logits.log_softmax(-1).gather(1, targets[:, None])
        return -((1 - log_p.exp()) ** self.gamma * log_p).mean()


def halving(step, total, *, every: Count = 10):
    return 0.5 ** (step // every)


class Bent(nn.Module):
    def forward(self, x):
        return (x * x + 1).sqrt() + x


def rings(count: Count = 120):
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    targets = (points.norm(dim=1) > 1.2).long()
    half = count // 2
    splits = {"train": Split(points[:half], targets[:half]), "test": Split(points[half:], targets[half:])}
    return make_dataset("rings", splits, ("inside", "outside"))


class Broken(nn.Module):
    def __init__(self, input_shape, num_classes):
        raise ZeroDivisionError("no width")


class Narrow(nn.Module):
    def __init__(self, input_shape):
        super().__init__()


class Wrong(nn.Module):
    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.layer = nn.Linear(3, num_classes)

    def forward(self, x):
        raise ZeroDivisionError("in forward")


constant = 3
'''
RECIPE = """
task: tabular-classification
data: {name: mine.py:rings, count: 80, batch_size: 20}
model: {name: mine.py:TinyNet, width: 4}
loss: {name: mine.py:Focal, gamma: 1}
optimizer: {name: mine.py:SignDescent, lr: 0.01}
schedule: {name: mine.py:halving, every: 4}
train: {steps: 4, eval_every: never, checkpoint_every: never, precision: fp32, compile: off}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "own.yaml").write_text(RECIPE)
    return tmp_path / "own.yaml"


def refused(result, *words: str) -> None:
    """One line of an error, one of a hint, exit code 2, no traceback."""
    error, hint = result.err.splitlines()[-2:]
    assert result.code == 2, result.err
    assert error.startswith("error: ") and hint.startswith("hint: ")
    assert "Traceback" not in result.err
    assert all(word in result.err for word in words), result.err


def test_every_kind_trains_and_the_run_keeps_the_code(here, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = here("train", str(recipe), "--trust", "--run-dir", str(run))
    assert trained.code == 0, trained.err
    sha256 = hashlib.sha256(CODE.encode()).hexdigest()
    assert (run / "code" / "mine.py").read_text() == CODE
    assert json.loads((run / "environment.json").read_text())["code"] == {"mine.py": sha256}
    state = json.loads((run / "checkpoints" / "last" / "state.json").read_text())
    assert state["data"]["code"] == {"mine.py": sha256}
    assert "code/mine.py:TinyNet" in (run / "recipe.yaml").read_text()
    recipe.with_name("mine.py").unlink()  # the run does not need it any more
    evaluated = here("eval", str(run), "--trust")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.record["metrics"]["accuracy"] == pytest.approx(trained.record["metrics"]["test/accuracy"])
    refused(here("eval", str(run)), "--trust")
    (run / "code" / "mine.py").write_text(CODE + "\n# another\n")
    changed = here("eval", str(run), "--trust")
    assert changed.code == 1
    assert "mine.py is not the code that the checkpoint was trained with" in changed.err


def test_without_trust_nothing_runs(here, recipe: Path, tmp_path: Path) -> None:
    recipe.with_name("mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + CODE)
    refused(here("train", str(recipe)), "mine.py:rings is code of your own", "add --trust")
    checked = here("recipes", "check", str(recipe))
    assert checked.code == 0
    assert checked.record["unchecked"] == [str(recipe.with_name("mine.py"))]
    assert "not checked" in checked.err
    assert not (tmp_path / "ran").exists()
    assert here("recipes", "check", str(recipe), "--trust").code == 0
    assert (tmp_path / "ran").exists()


def test_keys_come_from_the_signature(here, recipe: Path) -> None:
    wrong = here("train", str(recipe), "--trust", "model.widht=3", "model.width=0", "optimizer.lr=fast")
    assert wrong.code == 2
    assert "model.widht: unknown key (did you mean width?)" in wrong.err
    assert "model.width: must be >= 1, got 0" in wrong.err
    assert "optimizer.lr: expected a number" in wrong.err


def test_torchs_optimizers_and_an_activation_serve_too(
    here, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # on the command line, a path is relative to the working directory
    changes = ["model={name: mlp, hidden: [4], activation: ./mine.py:Bent}"]
    changes += ["optimizer={name: ./mine.py:TorchSGD, lr: 0.1, momentum: 0.9, bias_factor: 2}"]
    run = tmp_path / "run"
    trained = here("train", str(recipe), "--trust", "--run-dir", str(run), *changes)
    assert trained.code == 0, trained.err
    assert "code/mine.py:Bent" in (run / "recipe.yaml").read_text()
    assert here("train", str(recipe), *changes, "--run-dir", str(run), "--resume", "--trust").code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model={name: none.py:Net}", ("no such file", "none.py")),
        ("model={name: mine.py:TinyNat}", ("mine.py has no TinyNat (did you mean TinyNet?)",)),
        ("model={name: mine.py:constant}", ("constant is a int, not a subclass of torch.nn.Module", "input_shape")),
        ("model={name: mine.py:Bent}", ("Bent cannot be made: TypeError",)),
        ("model={name: mine.py:Narrow}", ("Narrow takes 1 positional arguments, 2 come",)),
        ("model={name: mine.py:Broken}", ("mine.py:", "Broken cannot be made: ZeroDivisionError: no width")),
        ("model={name: mine.py:Wrong}", ("mine.py:", "ZeroDivisionError: in forward")),
        ("schedule={name: mine.py:Bent}", ("Bent is a class, not a function",)),
        ("optimizer={name: mine.py:TinyNet, lr: 1}", ("not a subclass of torch.optim.Optimizer",)),
        ("model={name: mlp, activation: mine.py:rings}", ("rings is a function, not a subclass",)),
        ("model={name: syntax.py:Net}", ("syntax.py:2: ",)),
        ("model={name: raises.py:Net}", ("raises.py:2: ", "ModuleNotFoundError", "stands alone")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_in_a_line(
    here, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "syntax.py").write_text("x = 1\nclass Net(:\n")
    (tmp_path / "raises.py").write_text("x = 1\nimport neighbour_of_mine\n")
    refused(here("train", str(recipe), "--trust", "--run-dir", "run", change), *words)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_an_optimizer_of_ones_own_races(here, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside torch's own SGD in its clothes, which must come out as dlkit's does; and from its folder alone."""
    monkeypatch.chdir(tmp_path)
    race = ["compare-optimizers", "own.yaml", "--optimizers", "sgd,mine.py:SignDescent,./mine.py:TorchSGD"]
    race += ["--lr", "0.01,0.1", "--seeds", "2", "--steps", "6", "--engine", "loop", "--out", "race"]
    refused(here(*race), "is code of your own", "add --trust")
    done = here(*race, "--trust", "--assert", "TorchSGD<=sgd", "--allow-edge")
    assert done.code == 0, done.err
    records = done.records
    losses = {(r["optimizer"], r["lr"], r["seed"]): r["loss"] for r in records if r["kind"] == "run"}
    assert {name for name, _, _ in losses} == {"sgd", "SignDescent", "TorchSGD"}
    for (name, lr, seed), loss in losses.items():
        if name == "TorchSGD":
            assert loss == pytest.approx(losses["sgd", lr, seed], rel=1e-5)

    assert Path("race/code/mine.py").read_text() == CODE
    assert json.loads(Path("race/environment.json").read_text())["code"] == {
        "mine.py": hashlib.sha256(CODE.encode()).hexdigest()
    }
    assert "code/mine.py:TinyNet" in Path("race/recipe.yaml").read_text()
    runs = Path("race/runs.jsonl").read_text().splitlines(keepends=True)
    Path("race/runs.jsonl").write_text("".join(runs[:-3]))
    Path("mine.py").unlink()  # the race does not need it any more
    _, *again = shlex.split(json.loads(Path("race/race.json").read_text())["repeat"])
    assert "--trust" in again
    assert here(*again, "--out", "race", "--resume").code == 0
    seen = [json.loads(line) for line in Path("race/runs.jsonl").read_text().splitlines()]
    assert {(r["optimizer"], r["lr"], r["seed"]): r["loss"] for r in seen if r["kind"] == "run"} == losses
    Path("race/code/mine.py").write_text(CODE + "\n")
    refused(here(*again, "--out", "race", "--resume"), "race was begun with other code")


def test_an_optimizer_of_ones_own_walks_down_a_surface(
    here, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    race = ["compare-optimizers", "ravine", "--trust", "--steps", "3", "--lr", "0.5", "--start", "4,4"]
    done = here(*race, "--optimizers", "mine.py:SignDescent")
    assert done.code == 0, done.err
    run = json.loads(done.out.splitlines()[0])
    assert (run["metrics"]["x"], run["metrics"]["y"]) == (2.5, 2.5)  # three steps of 0.5 along each axis
    drawn = here(
        *race, "--optimizers", "mine.py:SignDescent", "--trials", "2", "--search", "SignDescent.weight_decay=0.1:1"
    )
    assert drawn.code == 0, drawn.err
    refused(here(*race, "--optimizers", "mine.py:TinyNet"), "not a subclass of torch.optim.Optimizer")
    refused(here(*race, "--optimizers", "mine.py:SignDescent,./mine.py:SignDescent"), "one appears twice")


def test_an_activation_of_ones_own_in_a_gpt(
    here, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smooth.py").write_text("from torch import nn\n\n\nclass Smooth(nn.SiLU):\n    pass\n")
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question\n" * 60)
    changes = [
        "data.path=text.txt",
        "data.context=16",
        "data.batch_size=4",
        "tokenizer={name: byte}",
        "train.epochs=null",
    ]
    changes += ["train.steps=6", "model={name: gpt, layers: 1, heads: 2, width: 16, context: 16}", "--device", "cpu"]
    own = here("train", "text-gpt", *changes, "model.activation=smooth.py:Smooth", "--trust", "--run-dir", "own")
    assert own.code == 0, own.err
    plain = here("train", "text-gpt", *changes, "model.activation=silu", "--run-dir", "plain")
    assert own.record["metrics"] == plain.record["metrics"]
    state = json.loads(Path("own/checkpoints/last/state.json").read_text())
    assert state["data"]["architecture"]["activation"] == "code/smooth.py:Smooth"
    Path("smooth.py").unlink()  # the run does not need it any more
    Path("own").rename("moved")
    asked = ("x", "--tokens", "8", "--temperature", "0", "--device", "cpu")
    refused(here("generate", "moved", *asked), "is code of your own", "add --trust")
    assert (
        here("generate", "moved", *asked, "--trust").record["text"] == here("generate", "plain", *asked).record["text"]
    )
    assert here("eval", "moved", "--trust", "--device", "cpu").code == 0
    assert here("entropy", "text.txt", "--model", "moved", "--trust", "--device", "cpu", "-q").code == 0
    assert here("inspect-attention", "moved", "to be", "--trust", "--device", "cpu").code == 0
    assert here("train", "moved", "--resume", "--trust", "--device", "cpu").code == 0
    exported = here("export", "moved", "exported", "--trust")
    assert exported.code == 1 and "has the activation" in exported.err
    Path("moved/code/smooth.py").write_text("from torch import nn\n\n\nclass Smooth(nn.ReLU):\n    pass\n")
    changed = here("generate", "moved", *asked, "--trust")
    assert changed.code == 1 and "is not the code that the checkpoint was trained with" in changed.err
