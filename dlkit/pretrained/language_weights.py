"""The weights of a language model, from a Hugging Face directory or a run, in the form of one type."""

from __future__ import annotations

from pathlib import Path

from dlkit.data.text import tokenizer_files
from dlkit.errors import DlkitError
from dlkit.finite import require_finite_weights
from dlkit.pretrained import huggingface
from dlkit.pretrained.huggingface import HubModel
from dlkit.storage import run_reference
from dlkit.train import checkpoint


def open_weights(path: Path) -> HubModel:
    """A Hugging Face directory, or a run of dlkit, as weights to begin with.

    Raises:
        DlkitError: it is damaged, not finite, or of an architecture that dlkit does not have.
        RequestError: it is neither.
    """
    if (path / "config.json").is_file():
        hub = huggingface.read(path)
        if hub.family == "gpt":
            hub.ends |= tokenizer_files.ends_of(path, tokenizer_files.from_directory(path))
        return hub
    run = run_reference.resolve(str(path))
    saved = checkpoint.load_checkpoint(run.choose(), files=("model", "ema"))
    described = saved.state["data"]
    if "architecture" not in described:
        raise DlkitError(f"{path} is no BERT or GPT", "model.weights takes a run of a language task")
    tensors = saved.weights
    require_finite_weights(tensors, path)
    head = tensors.get("head.classifier.bias")
    return HubModel(
        path,
        "bert" if "segments.weight" in tensors else "gpt",
        described["vocabulary"],
        described["architecture"],
        tensors,
        tokenizer=described["tokenizer"],
        labels=tuple(described.get("classes", ())),
        outputs=None if head is None else len(head),
        problem=None if head is None or len(head) > 1 else "regression",
        ends=set(described.get("ends", ())),
    )
