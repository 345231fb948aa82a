"""A BERT with batch norm is trained, evaluated and exported like another, but to where layer norm is all there is."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Here

SMALL = (
    "model.layers=1", "model.heads=2", "model.width=16", "data.context=16", "data.batch_size=8",
    "tokenizer={name: wordpiece, vocab_size: 300}", "train.epochs=null", "train.steps=3", "train.eval_every=never",
)  # fmt: skip


def test_trained_evaluated_and_refused(here: Here, elsewhere: None) -> None:
    result = here("train", "passages-bert", *SMALL, "model.norm=batch", "--run-dir", "run")
    assert result.code == 0, result.err
    trained = result.record["metrics"]
    assert here("eval", "run", "--split", "val").record["metrics"]["loss"] == trained["val/loss"]
    refused = here("export", "run", "hub", "--format", "hf")
    assert refused.code == 1
    assert "error: Hugging Face's BERT has layer norms; this one has norm: batch" in refused.err
    assert not Path("hub").exists()
    other = here("train", "passages-bert", *SMALL[:5], *SMALL[6:], "model.weights=run", "tokenizer={name: auto}")
    assert other.code in (1, 2), other.err
    assert "Traceback" not in other.err and "norm" in other.err


def test_gpt_has_layer_norm_only(here: Here) -> None:
    result = here("train", "pydoc-gpt", "model.norm=batch")
    assert result.code == 2
    assert "model.norm: unknown key" in result.err
