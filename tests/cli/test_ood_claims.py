"""A claim about images that no arm is trained on: the measures are those of `dlkit eval --ood` of the same run."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize("cores", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_measures_are_those_of_eval(here: Here, mine: Path, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr("dlkit.app.review.usable_cores", lambda: cores)  # in this process, or in workers
    result = here("review", "run", "mine.yaml", "--device", "cpu", "--out", "kept")
    assert result.code == 0, result.err
    record = result.records[0]
    assert record["ood"] == "digits:3,4,5,6,7,8,9"
    assert here("train", "digits-mlp", *SMALL, "seed=1", "--device", "cpu", "--run-dir", "run").code == 0
    _, ood = here("eval", "run", "--ood", record["ood"], "--device", "cpu").records
    assert record["arms"]["trained"]["values"][1] == pytest.approx(ood["metrics"]["energy/auroc"], abs=1e-3)
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
