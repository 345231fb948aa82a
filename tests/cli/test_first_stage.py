"""`dlkit review run` with a first stage: arms start from the weights of a run that was trained before them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Here

# From its weights one arm learns hardly anything, so that it stands where the first stage has ended; its twin stands
# where the random weights are.
CLAIM = """\
section: Mine
claim: A network that has seen digits before knows them.
kind: arms
fixed: everything, before the first run
first:
  recipe: digits-mlp
  changes:
    data: {per_class: 20, shift: 0}
    model: {name: cnn, channels: [4, 8]}
    optimizer: {name: adam, lr: 0.01}
    train: {epochs: null, steps: 30}
recipe: digits-mlp
changes:
  data: {per_class: 20, shift: 0}
  model: {name: cnn, channels: [4, 8], freeze: backbone}
  optimizer: {name: sgd, lr: 1e-12}
  train: {epochs: null, steps: 1}
arms:
  continued: {model: {weights: first}}
  new: {}
measure: test/accuracy
expect: continued > new
smallest: 0.05
seeds: 2
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(CLAIM)
    return tmp_path


@pytest.mark.slow
def test_arms_start_where_the_first_stage_ended(here: Here, mine: Path) -> None:
    result = here("review", "run", "mine.yaml", "--out", "kept", "--assert")
    assert result.code == 0, result.err
    record = result.records[0]
    assert record["first"]["recipe"] == "digits-mlp"
    for seed in range(2):
        alone = here(
            "train", "digits-mlp", "data.per_class=20", "data.shift=0", "model={name: cnn, channels: [4, 8]}",
            "optimizer={name: adam, lr: 0.01}", "train.steps=30", f"seed={seed}", "--run-dir", f"alone-{seed}",
        )  # fmt: skip
        assert alone.code == 0, alone.err
        measured = here("eval", f"alone-{seed}", "--split", "test").records[0]["metrics"]["accuracy"]
        assert record["arms"]["continued"]["values"][seed] == pytest.approx(measured, abs=0.01)
    assert record["arms"]["new"]["mean"] < 0.3
    # another first stage is other runs, though the arms are written as before
    Path("mine.yaml").write_text(CLAIM.replace("steps: 30", "steps: 1"))
    again = here("review", "run", "mine.yaml", "--out", "kept", "--resume").records[0]
    assert again["arms"]["continued"]["values"] != record["arms"]["continued"]["values"]
    assert again["arms"]["new"] == record["arms"]["new"]


@pytest.mark.slow
def test_first_stage_that_diverges_leaves_no_verdict(here: Here, mine: Path) -> None:
    Path("mine.yaml").write_text(CLAIM.replace("adam, lr: 0.01", "sgd, lr: 1e30"))
    result = here("review", "run", "mine.yaml")
    assert result.code == 0, result.err
    record = result.records[0]
    assert record["verdict"] == "cannot tell"
    assert record["arms"]["continued"]["values"] == [None, None]
    assert None not in record["arms"]["new"]["values"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weights: first", "norm: layer", "mine.yaml:5: first: no arm starts from it"),
        ("first:\n  recipe: digits-mlp\n", "extra:\n  recipe: digits-mlp\n", "mine.yaml:5: extra: unknown key"),
        ("first:\n  recipe: digits-mlp\n", "first:\n", "mine.yaml:5: first.recipe: missing"),
        ("steps: 30", "steps: soon", "mine.yaml:11: train.steps: expected"),
        ("recipe: digits-mlp\n  changes", "recipe: digits-mpl\n  changes", "no recipe named 'digits-mpl'"),
    ],
)
def test_wrong_first_stages(here: Here, mine: Path, old: str, new: str, message: str) -> None:
    Path("mine.yaml").write_text(CLAIM.replace(old, new, 1))
    result = here("review", "run", "mine.yaml")
    assert result.code == 2, result.err
    assert message in result.err


def test_arm_without_its_first_stage(here: Here, mine: Path) -> None:
    start, end = CLAIM.index("first:"), CLAIM.index("recipe: digits-mlp\nchanges")
    Path("mine.yaml").write_text(CLAIM[:start] + CLAIM[end:])
    result = here("review", "run", "mine.yaml")
    assert result.code == 2
    assert "there is no stage first: {recipe: ...}" in result.err
