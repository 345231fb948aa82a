"""A claim about images that no arm is trained on: its measures are those of plain torch and scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch.nn.functional as F
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from dlkit.data.images.digits import digits
from tests.cli.conftest import Here

SMALL = (
    "data.classes=['0', '1', '2']", "data.shift=0", "model={name: cnn, channels: [4]}",
    "optimizer={name: adam, lr: 0.01}",
    "train.epochs=null", "train.steps=20",
)  # fmt: skip
CLAIM = """\
section: Mine
claim: Three digits are told from seven others.
kind: arms
fixed: everything, before the first run
recipe: digits-mlp
changes:
  data: {classes: ["0", "1", "2"], shift: 0}
  model: {name: cnn, channels: [4]}
  optimizer: {name: adam, lr: 0.01}
  train: {epochs: null}
ood: digits:3,4,5,6,7,8,9
arms:
  trained: {train: {steps: 20}}
  hardly: {train: {steps: 1}}
measure: ood/energy_auroc
expect: trained > hardly
smallest: 0.05
seeds: 2
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(CLAIM)
    return tmp_path


def energy_auroc(checkpoint: Path) -> float:
    """How well the network's energies tell the three digits of the test split from the seven others."""
    weights = load_file(checkpoint / "model.safetensors")
    convolution, scale, shift, mean, variance, last, bias = (
        weights[next(key for key in weights if key.startswith(layer) and key.endswith(kind))]
        for layer, kind in (
            ("features.0", "weight"), ("features.1", "weight"), ("features.1", "bias"), ("features.1", "running_mean"),
            ("features.1", "running_var"), ("fc", "weight"), ("fc", "bias"),
        )
    )  # fmt: skip
    known = json.loads((checkpoint / "state.json").read_text())["data"]
    test = digits().splits["test"]
    assert {tuple(image) for image in test.inputs.flatten(1).tolist()} <= {tuple(row) for row in load_digits().data}
    x = F.conv2d((test.inputs.float() - known["mean"][0]) / known["std"][0], convolution, padding=1)
    x = F.max_pool2d(F.batch_norm(x, mean, variance, scale, shift).relu(), 2)
    energies = F.linear(x.mean((2, 3)), last, bias).logsumexp(1)
    return float(roc_auc_score(test.targets < 3, energies))


@pytest.mark.parametrize("cores", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_measures_are_those_of_eval(here: Here, mine: Path, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr("dlkit.app.review.usable_cores", lambda: cores)  # in this process, or in workers
    result = here("review", "run", "mine.yaml", "--device", "cpu", "--out", "kept")
    assert result.code == 0, result.err
    record = result.records[0]
    assert record["ood"] == "digits:3,4,5,6,7,8,9"
    assert here("train", "digits-mlp", *SMALL, "seed=1", "--device", "cpu", "--run-dir", "run").code == 0
    assert record["arms"]["trained"]["values"][1] == pytest.approx(energy_auroc(Path("run/checkpoints/last")), abs=1e-3)
    # other images are another experiment, whose runs are not taken from this one
    Path("mine.yaml").write_text(CLAIM.replace("digits:3,4,5,6,7,8,9", "noise"))
    other = here("review", "run", "mine.yaml", "--device", "cpu", "--out", "kept", "--resume").records[0]
    assert other["arms"]["trained"]["values"] != record["arms"]["trained"]["values"]


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ("ood: digits:3", "ood: digitz:3", 2, "no such data: --ood digitz:3"),
        ("ood: digits:3", "ood: digits:x", 1, "no such class"),
        ("energy_auroc", "energie_auroc", 1, "no measure ood/energie_auroc (did you mean ood/energy_auroc?)"),
        ("ood/energy_auroc", "test/accuracy", 2, "mine.yaml:15: measure: measures ood/... go with images"),
        ("smallest", "at: mean\nsmallest", 2, "mine.yaml:17: at: ood/... is measured at the end"),
        ("train: {epochs: null}", "train: {epochs: null, ema: 0.9}", 1, "ood/... is measured of the last weights"),
        ("ood: digits:3,4,5,6,7,8,9", "ood: cifar100", 1, "dlkit download cifar100"),
    ],
)
def test_wrong_claims(
    here: Here, mine: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, code: int, message: str
) -> None:
    monkeypatch.setattr("dlkit.app.review.usable_cores", lambda: 1)
    Path("mine.yaml").write_text(CLAIM.replace(old, new, 1))
    result = here("review", "run", "mine.yaml", "--device", "cpu")
    assert result.code == code, result.err
    assert message in result.err
    assert "Traceback" not in result.err
