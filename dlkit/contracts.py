"""What a component of the user's own must be, by its kind: a recipe names it as FILE.py:NAME."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contract:
    """What a component of the user's own must be, which a recipe names as FILE.py:NAME.

    Args:
        call: how it is called and what it returns. Parameters behind those that come from dlkit are keys of the recipe.
        supplied: how many positional arguments come from dlkit.
        example: of a name.
        base: what it must be a subclass of, as `module:attribute`; else it is a function.
        returns: the name of the type of what it returns, where that is checked.
    """

    call: str
    supplied: int
    example: str
    base: str = ""
    returns: str = ""


SECTIONS = ("data", "model", "loss", "optimizer", "schedule")  # of a recipe, which can name a component of the user's


CONTRACTS = {
    "data": Contract(
        "a function NAME(**keys) -> dlkit.data.dataset.Dataset, of images (N, C, H, W) uint8 or rows (N, F) float64",
        0,
        "my_data.py:rings",
        returns="Dataset",
    ),
    "running text": Contract(
        "a function NAME(**keys) -> {split: text}, a str for each of 'train' and, if there are any, 'val' and 'test'",
        0,
        "my_data.py:essays",
        returns="dict",
    ),
    "labelled texts": Contract(
        "a function NAME(**keys) -> {split: examples}, for each of 'train' and, if there are any, 'val' and 'test' "
        "a list of (text, label) or (text, second text, label), all str",
        0,
        "my_data.py:reviews",
        returns="dict",
    ),
    "model": Contract(
        "a torch.nn.Module, NAME(input_shape, num_classes, **keys), from (N, *input_shape) to logits (N, K)",
        2,
        "my_models.py:TinyNet",
        "torch.nn:Module",
    ),
    "language model": Contract(
        "a torch.nn.Module, NAME(vocabulary_size, context, **keys), from token ids (B, T) int64, T <= context, to "
        "logits (B, T, vocabulary_size)",
        2,
        "my_models.py:TinyLM",
        "torch.nn:Module",
    ),
    "text classifier": Contract(
        "a torch.nn.Module, NAME(vocabulary_size, context, num_classes, **keys), from token ids (N, T) int64, segment "
        "ids (N, T) int64 or None, and an attention mask (N, T) bool, False at padding, to logits (N, num_classes)",
        3,
        "my_models.py:TinyClassifier",
        "torch.nn:Module",
    ),
    "loss": Contract(
        "a torch.nn.Module, NAME(**keys), whose forward(logits, targets, parameters) gives a scalar",
        0,
        "my_losses.py:FocalLoss",
        "torch.nn:Module",
    ),
    "optimizer": Contract(
        "a dlkit.optim.base.Optimizer or another torch.optim.Optimizer, NAME(params, **keys), with a key lr",
        1,
        "my_optimizers.py:SignDescent",
        "torch.optim:Optimizer",
    ),
    "schedule": Contract(
        "a function NAME(step, total_steps, **keys) -> the factor of the learning rate", 2, "my_schedules.py:sawtooth"
    ),
    "activation": Contract(
        "a torch.nn.Module, NAME(), that maps a tensor to one of the same shape", 0, "my_layers.py:Swish",
        "torch.nn:Module",
    ),
}  # fmt: skip
