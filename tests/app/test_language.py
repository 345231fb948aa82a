"""Language models from Python: generation, scores and attention, equal to the commands and to torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dlkit
from dlkit.cli.app import run as command

TINY = ("train.epochs=null", "train.steps=3", "train.eval_every=never", "model.layers=1", "model.width=32",
        "model.heads=2", "model.context=32", "data.context=32", "data.batch_size=4")  # fmt: skip


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language") / "gpt"
    return dlkit.train(dlkit.load("pydoc-gpt", *TINY), run_dir=folder, device="cpu").result().path


def test_texts_are_those_of_the_command(gpt: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    options = ["--tokens", "8", "-n", "2", "--seed", "3", "--device", "cpu"]
    assert command(["generate", str(gpt), "The with", *options]) == 0
    printed = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    texts = dlkit.generate(gpt, "The with", tokens=8, n=2, seed=3, device="cpu").result()
    assert [text.text for text in texts] == [record["text"] for record in printed]
    assert list(texts[0].record()) == list(printed[0])
    assert capfd.readouterr() == ("", "")


def test_pieces_make_up_the_text(gpt: Path) -> None:
    generation = dlkit.generate(gpt, "def", tokens=12, device="cpu", pieces=True)
    pieces = [event.text for event in generation if hasattr(event, "text") and not hasattr(event, "prompt")]
    (text,) = generation.result()
    assert "".join(pieces) == f"def{text.text}\n"


def test_a_score_is_torchs_cross_entropy(gpt: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of a text that fits into one window."""
    from dlkit.lm.language_model import open_language_model

    (tmp_path / "text").write_text("The with statement is used")
    capfd.readouterr()
    scoring = dlkit.score(tmp_path / "text", gpt, alternatives=1, device="cpu")
    tokens = [event.record for event in scoring if isinstance(event, dlkit.ScoredToken)]
    record = scoring.result()
    assert capfd.readouterr() == ("", "")
    model = open_language_model(str(gpt), torch.device("cpu"))
    separator = model.tokenizer.separator
    assert separator is not None
    ids = torch.tensor([separator, *(token["token"] for token in tokens)])
    with torch.no_grad():
        logits = model.model(ids[None, :-1])[0]
    nats = torch.nn.functional.cross_entropy(logits.float(), ids[1:], reduction="none")
    bits = nats / torch.log(torch.tensor(2.0))
    assert [token["bits"] for token in tokens] == pytest.approx(bits.tolist(), rel=1e-4)
    assert record["bits_per_byte"] == pytest.approx(bits.sum().item() / record["bytes"], rel=1e-4)


def test_heads_are_those_of_the_command(gpt: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert command(["inspect-attention", str(gpt), "The with statement", "--device", "cpu"]) == 0
    printed = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    inspecting = dlkit.inspect_attention(gpt, "The with statement", device="cpu")
    events = [event.record for event in inspecting if isinstance(event, dlkit.AttentionRecord)]
    found = inspecting.result()
    assert capfd.readouterr() == ("", "")
    assert events == found.records
    assert json.loads(json.dumps(found.records).replace("NaN", "null")) == printed
    heads = [record for record in printed if record["kind"] == "head"]
    top = max(heads, key=lambda record: record["entropy"])
    assert found.top_head() == f"{top['layer']}.{top['head']}"


def test_generating_imports_no_race_no_doctor_and_no_other_command(gpt: Path) -> None:
    code = (
        "import sys; from dlkit.cli.app import run\n"
        f"assert run(['generate', {str(gpt)!r}, 'x', '--tokens', '1', '--device', 'cpu']) == 0\n"
        "print(*sorted(name for name in sys.modules if name.startswith('dlkit')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stderr.split()
    strange = ("sweep", "vectorized", "doctor", "download", "attention", "information", "compression", "app.race",
               "app.optimizer_comparison", "app.train", "cli.train", "cli.compare_optimizers",
               "cli.entropy")  # fmt: skip
    assert "dlkit.lm.generation" in loaded
    assert not [name for name in loaded if name.startswith(tuple(f"dlkit.{part}" for part in strange))]


def test_what_is_no_gpt_is_refused() -> None:
    with pytest.raises(dlkit.DlkitError, match="no such run"):
        dlkit.generate("nowhere", "x")
