"""A race is repeated from its folder alone, and is not mixed with another one."""

from __future__ import annotations

import html
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from dlkit.storage.sweep_files import SWEEP_FILES

RACE = ["compare-optimizers", "digits-mlp", "model.hidden=[8]", "--optimizers", "momentum,adam", "--lr", "1e-2,0.1"]
RACE += ["--seeds", "2", "--steps", "3"]


pytestmark = pytest.mark.usefixtures("elsewhere")


def runs(folder: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in Path(folder, "runs.jsonl").read_text().splitlines()]
    found = [{**r, "seconds_share": 0} for r in records if r["kind"] == "run"]
    return sorted(found, key=lambda r: (r["optimizer"], r["lr"], r["seed"]))


def repeated(here: Any, folder: str, target: str, *more: str) -> Any:
    """By the command that the folder tells."""
    program, *arguments = shlex.split(json.loads(Path(folder, "race.json").read_text())["repeat"])
    assert program == "dlkit"
    return here(*arguments, "--out", target, *more)


def require_told(folder: str) -> None:
    """How it was run, in the files of the race and on its page."""
    environment = json.loads(Path(folder, "environment.json").read_text())
    assert {"torch", "numpy"} <= environment["packages"].keys()
    assert len(environment["data"]["sha256"]) == 64
    race = json.loads(Path(folder, "race.json").read_text())
    assert (race["seeds"], race["lr"], race["optimizers"], race["changes"]) == (
        2, "1e-2,0.1", ["momentum", "adam"], ["model.hidden=[8]"],
    )  # fmt: skip
    page = html.unescape(Path(folder, "report.html").read_text())
    for shown in (race["repeat"], environment["data"]["sha256"], environment["packages"]["torch"], "hidden: [8]"):
        assert shown in page


def test_a_race_on_a_recipe_is_repeated_from_its_folder(here: Any) -> None:
    first = here(*RACE, "--out", "a b", "--engine", "stacked")
    assert first.code == 0, first.err
    again = repeated(here, "a b", "c")
    assert again.code == 0, again.err
    assert runs("a b") == runs("c")
    assert len(runs("c")) == 8
    one, other = (json.loads(result.out.splitlines()[-1]) for result in (first, again))
    assert one == other  # the verdict, and what the race is called
    assert Path("a b", "recipe.yaml").read_text() == Path("c", "recipe.yaml").read_text()
    assert json.loads(Path("c", "race.json").read_text())["stack"] == 8
    require_told("a b")


def test_a_race_of_random_trials_on_a_surface_is_repeated(here: Any) -> None:
    race = ["compare-optimizers", "ravine", "--optimizers", "adam", "--trials", "3", "--seed", "7", "--steps", "4"]
    assert here(*race, "--search", "adam.eps=1e-9:1e-2", "--search", "1-beta2=1e-3:0.1", "--start=-1,2", "--out", "a",
                "--lr", "1e-3:1:2").code == 0  # fmt: skip
    assert repeated(here, "a", "b").code == 0
    assert runs("a") == runs("b")


def test_a_race_goes_on_with_its_own_recipe_and_data_alone(here: Any) -> None:
    arguments = [*RACE, "--out", "a", "--engine", "loop"]
    assert here(*arguments).code == 0
    place = Path("a", "environment.json")
    whole = place.read_text()
    before = json.loads(whole)
    place.write_text(json.dumps({**before, "packages": {**before["packages"], "torch": "1.0"}, "threads": 99}))
    other = here(*arguments, "--resume")
    assert other.code == 0
    assert "the numbers of further runs may differ from those in a: threads was 99, now" in other.err
    assert "torch was 1.0, now" in other.err
    assert "torch was 1.0, now" in Path("a", "report.html").read_text()
    place.write_text(json.dumps({**before, "data": {**before["data"], "sha256": "0" * 64}}))
    refused = here(*arguments, "--resume")
    assert (refused.code, refused.out) == (2, "")
    assert "other data" in refused.err
    place.write_text(whole)
    recipe = Path("a", "recipe.yaml")
    recipe.write_text(recipe.read_text().replace("hidden: [8]", "hidden: [9]"))
    refused = here(*arguments, "--resume")
    assert (refused.code, refused.out) == (2, "")
    assert "a/recipe.yaml is another recipe than the one given" in refused.err
    place.write_text("{")
    recipe.unlink()
    damaged = here(*arguments, "--resume")
    assert (damaged.code, damaged.out) == (1, "")
    assert "a/environment.json is not JSON" in damaged.err


def test_a_race_goes_on_by_the_command_in_its_folder(here: Any) -> None:
    """Also where it was begun with changes, which its recipe holds, and with its recipe on standard input."""
    changed = [*RACE[:3], "~schedule", "train.precision=auto", *RACE[3:], "--engine", "loop"]
    assert here(*changed, "--out", "a").code == 0
    before, how, lines = runs("a"), Path("a", "race.json").read_text(), Path("a", "runs.jsonl").read_bytes()
    Path("a", "runs.jsonl").write_bytes(b"".join(lines.splitlines(keepends=True)[:4]))
    assert len(runs("a")) == 2
    goes_on = repeated(here, "a", "a", "--resume")
    assert goes_on.code == 0, goes_on.err
    assert runs("a") == before
    assert Path("a", "race.json").read_text() == how


def test_a_race_reads_standard_input_once(here: Any, stdin: Any) -> None:
    written = here("recipes", "show", "digits-mlp").out.encode()
    losses: list[list[float]] = []
    for what in ("digits-mlp", "-"):
        stdin(written)
        raced = here(RACE[0], what, *RACE[2:], "--engine", "loop")
        assert raced.code == 0, raced.err
        losses.append([line["loss"] for line in map(json.loads, raced.out.splitlines()) if line["kind"] == "run"])
    assert losses[0] == losses[1]


def test_a_race_never_writes_through_a_link_that_leaves_its_folder(here: Any) -> None:
    race = ["compare-optimizers", "ravine", "--optimizers", "adam", "--steps", "2", "--lr", "0.1:1:2", "--out", "a"]
    assert here(*race).code == 0
    assert {path.name for path in Path("a").iterdir()} <= set(SWEEP_FILES)
    Path("other").mkdir()
    for number, name in enumerate(SWEEP_FILES):
        part, kept, outside = Path("a", name), Path(f"kept-{number}"), Path("other", name)
        if part.exists():
            part.rename(kept)
        outside.write_text("another's")
        part.symlink_to(outside.absolute())
        for command in ([*race, "--resume"], race, ["compare-optimizers", "--from", "a"]):
            refused = here(*command)
            assert (refused.code, refused.out) == (1, "")
            assert refused.err.startswith(f"error: a/{name} leads out of a, to {outside.absolute()}\nhint: remove the")
        assert outside.read_text() == "another's"
        part.unlink()
        if kept.exists():
            kept.rename(part)
    Path("link").symlink_to("a")  # the folder itself may be one: it is what the user named
    assert here(*race[:-1], "link", "--resume").code == 0
