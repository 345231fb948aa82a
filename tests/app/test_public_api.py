"""`import dlkit`: what its docstring shows works, costs nothing to import, and prints nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import dlkit
from dlkit.cli.app import run as command

MLP = ("data.validation=0.1", "train.epochs=2", "data.batch_size=256")


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_example_of_the_docstring_runs(capfd: pytest.CaptureFixture[str]) -> None:
    assert dlkit.__doc__ is not None
    example = textwrap.dedent("\n".join(line for line in dlkit.__doc__.splitlines() if line.startswith("    ")))
    assert len([line for line in example.splitlines() if line]) == 9
    exec(compile(example, "example", "exec"), {})
    out, err = capfd.readouterr()
    *lines, last = out.splitlines()
    assert [line.split()[0] for line in lines] == ["21", "42", "63"]
    path, accuracy = last.split()
    assert path == "runs/first"
    assert 0.5 < float(accuracy) <= 1
    assert err == ""


def test_importing_it_imports_no_torch() -> None:
    code = "import sys, dlkit; dlkit.load('digits-mlp'); dlkit.train; dlkit.Evaluated; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert set(dlkit.__all__) <= set(dir(dlkit))
    for name in dlkit.__all__:
        assert getattr(dlkit, name).__doc__, name
    assert callable(dlkit.train)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = dlkit.nope  # pyright: ignore


def test_it_writes_what_the_command_writes_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["train", "digits-mlp", *MLP, "--run-dir", "shell", "--device", "cpu"]) == 0
    printed = json.loads(capfd.readouterr().out)
    run = dlkit.train(dlkit.load("digits-mlp", *MLP), run_dir="python", device="cpu").result()
    assert capfd.readouterr() == ("", "")
    for name in ("recipe.yaml", "metrics.jsonl", "checkpoints/last/model.safetensors"):
        assert Path("shell", name).read_bytes() == Path("python", name).read_bytes(), name
    assert run.record == json.loads(Path("python/summary.json").read_text())
    changing = ("run", "checkpoint", "seconds")
    assert {**run.record, **dict.fromkeys(changing)} == {**printed, **dict.fromkeys(changing)}

    assert command(["eval", "shell", "--split", "val", "--device", "cpu"]) == 0
    evaluated = json.loads(capfd.readouterr().out)
    found = dlkit.evaluate(run, split="val", device="cpu")
    assert capfd.readouterr() == ("", "")
    assert (found.metrics, found.samples) == (evaluated["metrics"], evaluated["n"])


def test_out_of_distribution_data_beside_the_split(capfd: pytest.CaptureFixture[str]) -> None:
    run = dlkit.train(dlkit.load("digits-mlp", *MLP), run_dir="run", device="cpu").result()
    found = dlkit.evaluate(run, ood=["noise", "digits:0,1"], device="cpu")
    capfd.readouterr()
    assert command(["eval", "run", "--ood", "noise", "--ood", "digits:0,1", "--device", "cpu"]) == 0
    inside, *beside = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert found.metrics == inside["metrics"]
    assert [(each.source, each.samples) for each in found.ood] == [(each["data"], each["n"]) for each in beside]
    assert [each.metrics for each in found.ood] == [each["metrics"] for each in beside]
    assert dlkit.evaluate(run, device="cpu").ood == []
    with pytest.raises(dlkit.RequestError, match="no such data"):
        dlkit.evaluate(run, ood=["noize"], device="cpu")


def test_accuracy_is_what_sklearn_says() -> None:
    """Of the model's own answers."""
    import torch
    from sklearn.metrics import accuracy_score, confusion_matrix

    from dlkit.app.evaluate import request_evaluation

    run = dlkit.train(dlkit.load("digits-mlp", *MLP), device="cpu").result()
    found = dlkit.evaluate(run, device="cpu", confusion="matrix.pdf", ood=["noise"], histogram=Path("scores.PNG"))
    assert Path("matrix.pdf").read_bytes().startswith(b"%PDF")
    assert Path("scores.PNG").read_bytes().startswith(b"\x89PNG")
    opened = request_evaluation(run).open("cpu")
    model, data = opened.trained.model.eval(), opened.trained.dataset
    batches = list(data.batches(opened.recipe, "test", torch.device("cpu"), training=False).epoch(0))
    with torch.no_grad():
        predicted = torch.cat([model(batch.inputs).argmax(1) for batch in batches])
    targets = torch.cat([batch.targets for batch in batches])
    assert found.metrics["accuracy"] == pytest.approx(accuracy_score(targets, predicted))
    assert found.confusion is not None
    assert found.confusion.tolist() == confusion_matrix(targets, predicted).tolist()


def test_wrong_requests_raise_the_errors_of_dlkit() -> None:
    with pytest.raises(dlkit.RecipeError) as wrong:
        dlkit.load("digits-mlp", "optimizer.lr=fast", "train.epocs=1")
    assert len(wrong.value.problems) == 2
    with pytest.raises(dlkit.RequestError, match="no recipe"):
        dlkit.train("digits-mpl")
    with pytest.raises(dlkit.RequestError, match="needs a run"):
        dlkit.train("digits-mlp", resume=True)
    with pytest.raises(dlkit.DlkitError, match="no such run: nowhere"):
        dlkit.evaluate("nowhere")
    with pytest.raises(dlkit.RequestError, match=r"`confusion` matrix.gif does not end in .svg, .png or .pdf"):
        dlkit.evaluate("nowhere", confusion="matrix.gif")
    with pytest.raises(dlkit.RequestError, match="`histogram` draws the scores of `ood`"):
        dlkit.evaluate("nowhere", histogram="scores.svg")
    assert not Path("runs").exists()


def test_code_of_ones_own_runs_once_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n"
        "class Line(nn.Sequential):\n"
        "    def __init__(self, input_shape, num_classes):\n"
        "        super().__init__(nn.Flatten(), nn.LazyLinear(num_classes))\n"
        "        self(__import__('torch').zeros(1, *input_shape))\n"
    )
    changes = (*MLP, "model={name: mine.py:Line}", "train.epochs=30")
    with pytest.raises(dlkit.RequestError, match="code of your own"):
        dlkit.load("digits-mlp", *changes)
    dlkit.set_trust(True)
    try:
        run = dlkit.train(dlkit.load("digits-mlp", *changes), run_dir="own", device="cpu").result()
        assert dlkit.evaluate(run, device="cpu").metrics["accuracy"] > 0.5
    finally:
        dlkit.set_trust(False)
