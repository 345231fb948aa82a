"""dlkit compare-optimizers from the shell: records, verdicts, searches and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RACE = ("digits-mlp", "--optimizers", "sgd,adam", "--lr", "1e-3,1e-2", "--seeds", "2", "--steps", "10")


pytestmark = pytest.mark.usefixtures("elsewhere")


def lines(result: Any) -> list[dict[str, Any]]:
    return result.records


def test_the_records_of_a_recipe(here: Any) -> None:
    result = here("compare-optimizers", *RACE, "--engine", "stacked")
    assert result.code == 0, result.err
    records = lines(result)
    assert [r["kind"] for r in records] == ["run"] * 8 + ["optimizer"] * 2 + ["verdict"]
    assert {"optimizer", "lr", "seed", "steps", "loss", "metrics", "diverged", "seconds_share"} <= records[0].keys()
    assert {(r["optimizer"], r["lr"], r["seed"]) for r in records[:8]} == {
        (name, lr, seed) for name in ("sgd", "adam") for lr in (1e-3, 1e-2) for seed in (0, 1)
    }
    assert set(records[0]["metrics"]) == {"val/loss", "val/accuracy"}  # a part of the training data was held out
    assert [r["rank"] for r in records[8:10]] == [1, 2]
    assert records[8]["low"] <= records[8]["mean"] <= records[8]["high"]
    assert records[8]["optimizer"] == "adam"
    assert records[10]["winner"] == "adam"
    assert "adam is best at the edge of its grid, lr 0.01" in result.err


def test_engines_agree(here: Any) -> None:
    losses = [
        [
            r["metrics"]["val/loss"]
            for r in lines(here("compare-optimizers", *RACE, "--engine", engine))
            if r["kind"] == "run"
        ]
        for engine in ("stacked", "loop")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.usefixtures("undrawn")
def test_stacks_that_do_not_fit_are_halved_and_it_is_said(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlkit.vectorized import stacked_runs

    take_step = stacked_runs.StackedRuns.take_step

    def narrow(self: stacked_runs.StackedRuns, step: int, batch: Any) -> Any:
        if step and len(self.seeds) > 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return take_step(self, step, batch)

    monkeypatch.setattr(stacked_runs.StackedRuns, "take_step", narrow)
    result = here("compare-optimizers", *RACE, "--engine", "stacked", "--stack", "8", "--out", "race")
    assert result.code == 0, result.err
    assert result.err.count("a stack of 8 runs does not fit into memory: stacks of 4 runs") == 1
    records = [json.loads(line) for line in (tmp_path / "race" / "runs.jsonl").read_text().splitlines()]
    assert [(r["kind"], r["size"]) for r in records if r["kind"] == "engine"] == [("engine", 8), ("engine", 4)]
    assert sum(r["kind"] == "run" for r in records) == 8


def test_a_folder_is_filled_resumed_and_judged_again(here: Any, tmp_path: Path) -> None:
    arguments = ("compare-optimizers", *RACE, "--engine", "loop", "--out", "race")
    first = here(*arguments)
    assert first.code == 0, first.err
    folder = tmp_path / "race"
    figures = {f"{name}.{kind}" for name in ("sensitivity", "curves", "tuning", "profile") for kind in ("svg", "png")}
    told = {"recipe.yaml", "environment.json", "race.json"}
    names = {".lock", "runs.jsonl", "summary.json", "report.html", *told, *figures}
    assert {path.name for path in folder.iterdir()} == names
    assert "http" not in (folder / "report.html").read_text().replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")
    refused = here(*arguments)
    assert (refused.code, "already holds a race" in refused.err) == (2, True)
    whole = (folder / "runs.jsonl").read_text()
    kept = whole.splitlines(keepends=True)
    (folder / "runs.jsonl").write_text("".join(kept[:4]) + kept[4][:20])  # killed in the middle of a line
    resumed = here(*arguments, "--resume")
    assert resumed.code == 0, resumed.err
    drop = "seconds_share"
    assert [{**r, drop: 0} for r in lines(resumed)] == [{**r, drop: 0} for r in lines(first)]
    (folder / "report.html").unlink()
    again = here("compare-optimizers", "--from", "race")
    assert lines(again)[-1] == lines(resumed)[-1]
    assert (folder / "report.html").exists()
    other = here("compare-optimizers", "digits-mlp", "--steps", "11", "--out", "race", "--resume")
    assert (other.code, "holds another race" in other.err) == (2, True)


def test_a_surface(here: Any, tmp_path: Path) -> None:
    result = here(
        "compare-optimizers", "quadratic:1000", "--optimizers", "sgd,momentum", "--lr", "1e-5:1e-2:7",
        "--out", "bowl", "--animate", "bowl.gif", "--steps", "200",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert lines(result)[-1]["winner"] == "momentum"
    assert any(r["diverged"] for r in lines(result) if r["kind"] == "run")
    assert (tmp_path / "bowl" / "surface.svg").exists()
    assert (tmp_path / "bowl.gif").read_bytes().startswith(b"GIF8")
    assert here("compare-optimizers", "beale", "--steps", "20", "--optimizers", "adam", "-q").out == "adam\n"


def test_quiet_says_nothing_of_how_far_it_is(here: Any) -> None:
    race = ["compare-optimizers", "digits-mlp", "--steps", "5", "--seeds", "1", "--optimizers", "sgd"]
    assert "runs of 5 steps" in here(*race, "--lr", "1e-2,1e-1").err
    quiet = here(*race, "--lr", "1e-2,1e-1", "-q")
    assert (quiet.code, quiet.out) == (0, "sgd\n")
    assert [line.split(":")[0] for line in quiet.err.splitlines()] == ["warning"]


def test_targets_and_assertions(here: Any) -> None:
    race = (
        "compare-optimizers",
        "quadratic:100",
        "--optimizers",
        "sgd,momentum",
        "--lr",
        "1e-3,1e-2,0.1",
        "--steps",
        "100",
    )
    record = next(r for r in lines(here(*race, "--target", "loss=0.01")) if r["kind"] == "optimizer")
    assert record["optimizer"] == "momentum"
    assert 0 < record["steps_to_target"] < 100
    assert here(*race, "--assert", "momentum<=sgd").code == 0
    wrong = here(*race, "--assert", "sgd<momentum")
    assert wrong.code == 3
    assert wrong.err.splitlines()[-2].startswith("error: the runs do not support sgd<momentum")
    verdict = lines(wrong)[-1]
    assert (verdict["kind"], verdict["winner"], verdict["basis"]) == ("verdict", "momentum", "one run each")
    assert verdict["text"].startswith("momentum ends lowest of one run each: loss ")
    assert {(pair["low"], pair["high"], pair["separated"]) for pair in verdict["pairs"]} == {(None, None, True)}


def test_an_assertion_at_an_edge_is_not_supported_unless_that_is_allowed(here: Any) -> None:
    race = ("compare-optimizers", "quadratic:100", "--optimizers", "sgd,momentum", "--lr", "1e-4,1e-3", "--steps", "50")
    claim = ("--assert", "momentum<sgd")
    refused = here(*race, *claim)
    assert refused.code == 3
    assert refused.err.splitlines()[-2:] == [
        "error: the runs do not support momentum<sgd: a better learning rate may lie beyond those tried of "
        "sgd (lr 0.001, the largest), momentum (lr 0.001, the largest)",
        "hint: widen --lr, or accept it with --allow-edge",
    ]
    records = lines(refused)
    assert [r["edge"] for r in records if r["kind"] == "optimizer"] == ["high", "high"]
    assert records[-1]["edges"] == {"momentum": "high", "sgd": "high"}
    assert "momentum (lr 0.001, the largest)" in records[-1]["text"]
    assert here(*race, *claim, "--allow-edge").code == 0
    assert here(*race, "--assert", "sgd<momentum", "--allow-edge").code == 3


def test_a_race_that_only_diverges_has_no_winner(here: Any, tmp_path: Path) -> None:
    race = ("compare-optimizers", "rosenbrock", "--optimizers", "sgd,momentum", "--lr", "10,100", "--steps", "50")
    result = here(*race, "--out", "race", "--animate", "race.gif", "--target", "loss=0.1")
    assert result.code == 1
    assert result.err.splitlines()[-2] == "error: no optimizer has a result: every run diverged"
    assert (lines(result)[-1]["winner"], lines(result)[-1]["tied"]) == (None, [])
    assert (tmp_path / "race" / "report.html").exists()
    quiet = here(*race, "-q")
    assert (quiet.code, quiet.out) == (1, "none\n")
    for claim in ("sgd<=momentum", "momentum<=sgd", "sgd<momentum"):
        assert here(*race, "--assert", claim, "--allow-edge").code == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("digits-mlp --optimizers sdg", "no optimizer 'sdg' (did you mean sgd?)"),
        ("digits-mlp --optimizers sgd,sgd", "one appears twice"),
        ("rosenbrok", "no recipe or surface 'rosenbrok' (did you mean rosenbrock?)"),
        ("quadratic", "did you mean quadratic:1000?"),
        ("quadratic:0", "the condition number must be at least 1"),
        ("digits-mlp --lr 1:0.1:3", "--lr 1:0.1:3"),
        ("digits-mlp --lr=-1", "learning rates must be above 0"),
        ("digits-mlp --seeds 10000 --lr 1e-4:1:100", "runs are more than 1,000,000"),
        ("digits-mlp --seeds 1000000000", "Invalid value for '--seeds'"),
        ("digits-mlp --seeds 0", "Invalid value for '--seeds'"),
        ("digits-mlp --steps 0", "Invalid value for '--steps'"),
        ("digits-mlp --resume", "--resume needs --out"),
        ("digits-mlp --animate x.gif", "--animate is about a surface"),
        ("beale --animate x.mp4", "--animate x.mp4 does not end in .gif"),
        ("beale --start 1", "no point"),
        ("beale --start nan,1", "not finite"),
        ("beale optimizer.lr=1", "KEY=VALUE is about a recipe"),
        ("beale --engine loop", "--engine is about a recipe"),
        ("beale --assert adam<=lion", "lion does not run"),
        ("digits-mlp --assert adam", "no assertion"),
        ("beale --steps 3 --target accuracy=1", "the runs have no metric 'accuracy'"),
        ("digits-mlp --steps 1000000 --target loss=x", "no number"),  # before the race
        ("digits-mlp --steps 1000000 --target loss=nan", "no number"),
        ("beale --steps 3 --metric bleu", "no metric 'bleu'"),
        ("beale --from race", "takes no recipe"),
        ("--lr 1", "nothing to race on"),
        ("digits-mlp train.ema=0.9 --engine stacked --steps 3", "--engine stacked: train.ema is set"),
        (
            "digits-mlp --engine stacked --steps 3 --optimizers adamw,muon",
            "--engine stacked: its optimizer takes a parameter as a whole",
        ),
        ("digits-mlp model.hiden=3", "model.hiden"),
    ],
)
def test_mistakes_are_named(here: Any, arguments: str, expected: str) -> None:
    result = here("compare-optimizers", *arguments.split())
    assert (result.code, result.out) == (2, ""), result.err
    assert expected in result.err
    assert "Traceback" not in result.err


def test_a_wrong_request_is_no_divergence(here: Any) -> None:
    result = here("compare-optimizers", *RACE, "schedule={name: cosine, warmup: 99}", "--engine", "loop")
    assert (result.code, result.out) == (2, "")
    assert "a warm-up of 99 does not fit into 10 steps" in result.err


def test_options_of_one_optimizer_alone(here: Any) -> None:
    race = ("compare-optimizers", "ravine", "--steps", "3", "--optimizers", "sgd,adam", "--trials", "2", "--lr", "0.01")
    result = here(*race, "--search", "adam.eps=1e-9:1e-3", "--out", "a")
    assert result.code == 0, result.err
    found = [(r["optimizer"], r["lr"], "options" in r) for r in lines(result) if r["kind"] == "run"]
    assert found == [("sgd", 0.01, False)] + [("adam", 0.01, True)] * 2  # all trials of sgd would be one
    for option in ("layer_decay", "bias_factor", "muon.other_factor"):  # a surface has no layers
        refused = here(*race, "--optimizers", "adam,muon", "--search", f"{option}=0.1:0.9")
        assert (refused.code, refused.out) == (2, "")
        assert f"{option.rpartition('.')[2]}: no such option of" in refused.err


def test_trials_from_the_shell(here: Any) -> None:
    race = ("compare-optimizers", "ravine", "--optimizers", "momentum,adam", "--lr", "1e-3:1e-1:2", "--trials", "6",
            "--search", "1-momentum=0.01:0.5", "--search", "adam.1-beta2=1e-3:0.5", "--steps", "40")  # fmt: skip
    first = here(*race, "--out", "a")
    assert first.code == 0, first.err
    records = lines(first)
    found = [r for r in records if r["kind"] == "run"]
    assert len(found) == 12
    assert all(1e-3 <= r["lr"] <= 1e-1 for r in found)
    assert {tuple(r["options"]) for r in found} == {("momentum",), ("beta2",)}
    summary = next(r for r in records if r["kind"] == "optimizer")
    assert len(summary["tuning_effort"]) == summary["trials"] == 6
    assert summary["basin_decades"] is None
    more = here(*(part if part != "6" else "8" for part in race), "--out", "a", "--resume")
    assert sum('"kind": "run"' in line for line in more.out.splitlines()) == 16
    for arguments, words in (
        (("--search", "lr=1e-3:1"), "needs a budget"),
        (("--trials", "3", "--search", "momentum=0.5:2"), "must be < 1"),
        (("--trials", "3", "--search", "momentun=0.5:0.9"), "no such option"),
        (("--trials", "0"), "--trials"),
    ):
        result = here("compare-optimizers", "beale", "--optimizers", "momentum", *arguments)
        assert (result.code, result.out) == (2, "")
        assert words in result.err


@pytest.mark.parametrize("wanted", [["--metric", "bleu"], ["--target", "bleu=1"]])
def test_a_metric_that_no_run_has_ends_a_race_at_its_first_run(here: Any, tmp_path: Path, wanted: list[str]) -> None:
    race = ["compare-optimizers", "digits-mlp", "--optimizers", "sgd,adam", "--lr", "0.1,0.2", "--seeds", "2"]
    result = here(*race, "--steps", "2", "--engine", "loop", "--out", str(tmp_path / "race"), *wanted)
    assert (result.code, result.out) == (2, "")
    assert "the runs have no metric 'bleu'" in result.err
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "race" / "runs.jsonl").read_text().splitlines()]
    assert kinds.count("run") == 1
