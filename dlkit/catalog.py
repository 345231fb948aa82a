"""The table of contents: every name that a recipe can use, where its constructor is, and one line of help.

The keyword-only parameters of a constructor are the keys that a recipe may set; its positional parameters are
supplied by `build.py` (the shape of the data, the parameters of the model, the step).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One component.

    Args:
        target: its constructor, as `module:attribute`.
        help: one line.
        also: constructors whose keywords it shares.
        tasks: what it can be used for; empty for everything.
    """

    target: str
    help: str
    also: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


_IMAGE_BATCHES = ("dlkit.data.batches:ImageBatches",)
_ROW_BATCHES = ("dlkit.data.batches:Batches",)
_GROUPS = ("dlkit.optim.groups:parameter_groups",)
_WEIGHTS = ("dlkit.models.weights:pretrained",)
_IMAGES = ("image-classification",)
_ROWS = ("tabular-classification",)

DATA = {
    "digits": Entry(
        "dlkit.data.digits:digits", "1,797 real handwritten digits, 8x8 (embedded)", _IMAGE_BATCHES, _IMAGES
    ),
    "images": Entry("dlkit.data.images:images", "your images, one folder a class", _IMAGE_BATCHES, _IMAGES),
    "csv": Entry("dlkit.data.tables:csv", "your rows: numeric columns and a label (CSV)", _ROW_BATCHES, _ROWS),
    "jsonl": Entry(
        "dlkit.data.tables:jsonl", "your rows: numeric columns and a label (JSON Lines)", _ROW_BATCHES, _ROWS
    ),
    "parquet": Entry(
        "dlkit.data.tables:parquet", "your rows: numeric columns and a label (Parquet)", _ROW_BATCHES, _ROWS
    ),
}

MODELS = {
    "mlp": Entry("dlkit.models.mlp:MLPClassifier", "multilayer perceptron, any depth"),
    "cnn": Entry("dlkit.models.cnn:CNN", "small plain convolutional network", _WEIGHTS, _IMAGES),
    "resnet": Entry("dlkit.models.resnet:ResNet", "residual network, general form (He et al. 2016)", _WEIGHTS, _IMAGES),
    "resnet20": Entry("dlkit.models.resnet:resnet20", "CIFAR ResNet, 20 layers, 0.27 M parameters", _WEIGHTS, _IMAGES),
    "resnet32": Entry("dlkit.models.resnet:resnet32", "CIFAR ResNet, 32 layers, 0.46 M parameters", _WEIGHTS, _IMAGES),
    "resnet44": Entry("dlkit.models.resnet:resnet44", "CIFAR ResNet, 44 layers, 0.66 M parameters", _WEIGHTS, _IMAGES),
    "resnet56": Entry("dlkit.models.resnet:resnet56", "CIFAR ResNet, 56 layers, 0.85 M parameters", _WEIGHTS, _IMAGES),
    "resnet110": Entry(
        "dlkit.models.resnet:resnet110", "CIFAR ResNet, 110 layers, 1.7 M parameters", _WEIGHTS, _IMAGES
    ),
    "fast_cnn": Entry("dlkit.models.fast_cnn:FastCNN", "small network for fast training", _WEIGHTS, _IMAGES),
    "resnet18": Entry("dlkit.models.resnet:resnet18", "ImageNet ResNet, 18 layers, 12 M parameters", _WEIGHTS, _IMAGES),
    "resnet34": Entry("dlkit.models.resnet:resnet34", "ImageNet ResNet, 34 layers, 22 M parameters", _WEIGHTS, _IMAGES),
    "resnet50": Entry("dlkit.models.resnet:resnet50", "ImageNet ResNet, 50 layers, 26 M parameters", _WEIGHTS, _IMAGES),
    "resnet101": Entry("dlkit.models.resnet:resnet101", "ImageNet ResNet, 101 layers, 45 M", _WEIGHTS, _IMAGES),
    "resnet152": Entry("dlkit.models.resnet:resnet152", "ImageNet ResNet, 152 layers, 60 M", _WEIGHTS, _IMAGES),
    "convnext": Entry("dlkit.models.convnext:ConvNeXt", "ConvNeXt, general form (Liu et al. 2022)", _WEIGHTS, _IMAGES),
    "convnext_nano": Entry("dlkit.models.convnext:convnext_nano", "ConvNeXt, 15 M parameters", _WEIGHTS, _IMAGES),
    "convnext_tiny": Entry("dlkit.models.convnext:convnext_tiny", "ConvNeXt, 29 M parameters", _WEIGHTS, _IMAGES),
    "convnext_small": Entry("dlkit.models.convnext:convnext_small", "ConvNeXt, 50 M parameters", _WEIGHTS, _IMAGES),
    "convnext_base": Entry("dlkit.models.convnext:convnext_base", "ConvNeXt, 89 M parameters", _WEIGHTS, _IMAGES),
    "convnext_large": Entry("dlkit.models.convnext:convnext_large", "ConvNeXt, 198 M parameters", _WEIGHTS, _IMAGES),
    "plain20": Entry("dlkit.models.resnet:plain20", "resnet20 without its residual connections", _WEIGHTS, _IMAGES),
    "plain56": Entry("dlkit.models.resnet:plain56", "resnet56 without its residual connections", _WEIGHTS, _IMAGES),
}

LOSSES = {
    "cross_entropy": Entry("dlkit.losses:CrossEntropy", "cross-entropy with label smoothing and an L2 penalty"),
}

OPTIMIZERS = {
    "sgd": Entry("dlkit.optim.sgd:SGD", "(stochastic) gradient descent", _GROUPS),
    "momentum": Entry("dlkit.optim.momentum:Momentum", "gradient descent with momentum, or Nesterov's", _GROUPS),
    "adagrad": Entry("dlkit.optim.adagrad:Adagrad", "AdaGrad (Duchi et al. 2011)", _GROUPS),
    "rmsprop": Entry("dlkit.optim.rmsprop:RMSprop", "RMSProp (Hinton 2012)", _GROUPS),
    "adam": Entry("dlkit.optim.adam:Adam", "Adam (Kingma & Ba 2014)", _GROUPS),
    "adamw": Entry("dlkit.optim.adamw:AdamW", "AdamW (Loshchilov & Hutter 2017)", _GROUPS),
}

SCHEDULES = {
    "constant": Entry("dlkit.schedules:constant", "one learning rate, after a warm-up"),
    "linear": Entry("dlkit.schedules:linear", "decay by the same amount at every step"),
    "cosine": Entry("dlkit.schedules:cosine", "cosine annealing from 0 to pi (Loshchilov & Hutter 2016)"),
}

# Recipe section -> what `name` may be in it.
SECTIONS: dict[str, dict[str, Entry]] = {
    "data": DATA,
    "model": MODELS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}

TASKS = {
    "image-classification": "one label an image",
    "tabular-classification": "one label a row of numbers",
}


def resolve(target: str) -> Any:
    """The object that `module:attribute` names. Imports the module, and with it torch where it needs torch."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
