"""Claims are read strictly: every problem with its line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from dlkit.errors import RecipeError, RequestError
from dlkit.review.claim import Experiment, PropertyTest
from dlkit.review.claim_file import read_claim
from dlkit.review.find import find_claims, list_claims, shipped_claims
from dlkit.review.properties.registry import PROPERTIES
from dlkit.review.property_test import property_function

ARMS = """\
section: Mine
claim: Wider is
  better.
kind: arms
fixed: all of it
recipe: digits-mlp
changes: {train: {epochs: 3}}
arms:
  wide:
    model: {hidden: [64]}
  narrow: {model: {hidden: [4], activation: "relu"}}
measure: test/accuracy
expect: wide > narrow
smallest: 0.01
full: {recipe: cifar10-fast, seeds: 3}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_experiment(tmp_path: Path) -> None:
    claim = read_claim(written(tmp_path, ARMS))
    assert isinstance(claim.test, Experiment)
    assert (claim.name, claim.text, claim.kind) == ("mine", "Wider is better.", "arms")
    assert [arm.changes for arm in claim.test.arms] == [
        ("train.epochs=3", "model.hidden=[64]"),
        ("train.epochs=3", "model.hidden=[4]", "model.activation=relu"),
    ]
    assert claim.test.arms[0].place_of("model.hidden") == f"{tmp_path}/mine.yaml:10"
    assert claim.full is not None
    assert (claim.full.recipe, claim.full.seeds, claim.full.smallest) == ("cifar10-fast", 3, 0.01)


def test_recipe_file_lies_beside_the_claim(tmp_path: Path) -> None:
    claim = read_claim(written(tmp_path, ARMS.replace("digits-mlp", "own.yaml")))
    assert isinstance(claim.test, Experiment)
    assert claim.test.recipe == str(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("kind: arms", "kind: armz", "4: kind: expected one of property, arms, got 'armz' (did you mean arms?)"),
        ("fixed: all of it\n", "", "1: fixed: missing: text"),
        ("smallest: 0.01", "smallest: 0", "14: smallest: must be > 0, got 0"),
        ("smallest: 0.01", "smalest: 0.01", "14: smalest: unknown key (did you mean smallest?)"),
        ("wide > narrow", "wide > narow", "13: expect: no arm 'narow' (did you mean narrow?)"),
        ("test/accuracy", "accuracy", "12: measure: expected text such as 'test/accuracy', got 'accuracy'"),
        ("  narrow: {model: {hidden: [4], activation: \"relu\"}}", "  narrow: 4",
         "11: arms.narrow: expected a part of a recipe, such as {model: {norm: batch}}, got 4"),
        ("  narrow:", "  4narrow:", "11: arms.4narrow: an arm's name has letters"),
        ("measure: test/accuracy", "measure: train/loss\nat: mean", "13: at: train/loss is measured at the end"),
        ("seeds: 3", "sed: 3", "15: full.sed: unknown key (did you mean seeds?)"),
    ],
)  # fmt: skip
def test_problem_has_its_line(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_claim(written(tmp_path, ARMS.replace(old, new)))
    assert problem in "\n".join(str(found).removeprefix(f"{tmp_path}/mine.yaml:") for found in caught.value.problems)


def test_property_must_be_known(tmp_path: Path) -> None:
    text = "section: a\nclaim: b\nkind: property\nproperty: gelu\n"
    with pytest.raises(RecipeError, match=r"mine.yaml:4: property: no property 'gelu'"):
        read_claim(written(tmp_path, text))
    claim = read_claim(written(tmp_path, text.replace("gelu", "gelu-cdf")))
    assert claim.test == PropertyTest("gelu-cdf", 20, 1e-10)


def test_every_shipped_claim_is_whole() -> None:
    claims = list_claims()
    assert len(claims) == len(shipped_claims())
    properties = [claim.test.function for claim in claims if isinstance(claim.test, PropertyTest)]
    assert sorted(properties) == sorted(PROPERTIES)
    assert all(claim.paper and claim.fixed for claim in claims)


def test_property_with_a_threshold_says_so() -> None:
    """What a function wants to be at least so large was chosen by somebody: the claim's file says what."""
    tests = {claim: claim.test for claim in list_claims() if isinstance(claim.test, PropertyTest)}
    for claim, test in tests.items():
        if "shortfall(" in inspect.getsource(property_function(test.function)):
            assert "nothing was chosen" not in claim.fixed, claim.name


def test_names_and_sections() -> None:
    assert [claim.name for claim in find_claims(["gelu-cdf", "gelu-cdf"])] == ["gelu-cdf"]
    assert {claim.section for claim in list_claims("soft")} == {"Softmax"}
    with pytest.raises(RequestError, match=r"no claim 'gelu-cd' \(did you mean gelu-cdf\?\)"):
        find_claims(["gelu-cd"])
    with pytest.raises(RequestError, match=r"no section 'Dropuot' \(did you mean Dropout\?\)"):
        list_claims("Dropuot")
