"""The one way to open weights. All are verified: those of a run by checksums, other files by their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlkit import user_code
from dlkit.data.text import tokenizer_files
from dlkit.pretrained.huggingface import read_directory
from dlkit.pretrained.run import checkpoint_of, read_checkpoint
from dlkit.pretrained.weight_files import read_weight_file
from dlkit.pretrained.weights import LanguageWeights, Weights
from dlkit.storage import run_reference


def open_weights(path: Path) -> Weights:
    """Weights of any model: a file, a folder with model.safetensors, or a run or checkpoint of dlkit.

    For a run it takes the best checkpoint, or else the last; for a checkpoint the moving average, if there is one.

    Raises:
        DlkitError: the file is missing or damaged, or holds anything but tensors.
        NotFiniteError: a weight is NaN or infinite.
    """
    checkpoint = checkpoint_of(path)
    return read_weight_file(path) if checkpoint is None else read_checkpoint(checkpoint, path)


def open_language_weights(reference: str, checkpoint_name: str | None = None) -> LanguageWeights:
    """Weights of a BERT or GPT with its tokenizer, from a Hugging Face directory or a run or checkpoint of dlkit.

    Args:
        reference: a path; `-` reads the reference to a run from standard input.
        checkpoint_name: of a run; None for the best, or else the last.

    Raises:
        DlkitError: a file is missing or damaged, or dlkit does not have the architecture.
        NotFiniteError: a weight is NaN or infinite.
        RequestError: the path is none of these.
    """
    path = Path(reference)
    if reference != "-" and (path / "config.json").is_file():
        weights = read_directory(path)
        if weights.family == "gpt":
            weights.ends |= tokenizer_files.end_token_ids(path, weights.tokenizer())
        return weights
    run = run_reference.resolve_run(reference)
    saved = read_checkpoint(run.choose(checkpoint_name), run.path)
    known = saved.description
    if "own_model" in known:
        raise run_reference.own_language_model(run.path, known["own_model"])
    if "architecture" not in known:
        raise run_reference.no_language_run(run.path)
    head = saved.tensors.get("head.classifier.bias")
    return LanguageWeights(
        path=run.path,
        tensors=saved.tensors,
        classes=saved.classes,
        step=saved.step,
        description=known,
        family="bert" if "segments.weight" in saved.tensors else "gpt",  # only BERT has segment embeddings
        vocabulary=known["vocabulary"],
        architecture=_with_own_activation(run.path, known),
        outputs=None if head is None else len(head),
        problem="regression" if head is not None and len(head) == 1 else None,
        ends=set(known.get("ends", ())),
        tokenizer_json=known["tokenizer"],
    )


def _with_own_activation(run: Path, known: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's architecture, in which an activation from the user's code refers to the copy in the run."""
    architecture: dict[str, Any] = known["architecture"]
    if not user_code.is_reference(activation := architecture.get("activation")):
        return architecture
    reference = user_code.copy_in((run / run_reference.CODE).absolute(), str(activation))
    path, _ = user_code.split_reference(reference)
    user_code.require_unchanged([path], known.get("code"))
    return {**architecture, "activation": reference}
