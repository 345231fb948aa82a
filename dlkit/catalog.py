"""The table of contents: every name that a recipe can use, where its constructor is, and one line of help.

The keyword-only parameters of a constructor are the keys that a recipe may set; its positional parameters are
supplied by `assemble` (the shape of the data, the parameters of the model, the step).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dlkit import user_code
from dlkit.catalog_entry import Entry, TaskEntry

_IMAGE_BATCHES = ("dlkit.data.images.image_batches:ImageBatches",)
_STREAMED = ("dlkit.data.images.streaming:StreamedImages",)
_ROW_BATCHES = ("dlkit.data.row_batches:RowBatches",)
_GROUPS = ("dlkit.optim.groups:parameter_groups",)
_WEIGHTS = ("dlkit.pretrained.vision:load_pretrained",)
_IMAGES = ("image-classification",)
_ROWS = ("tabular-classification", "tabular-regression")
_WINDOWS = ("dlkit.data.text.windows:TokenWindows", "dlkit.data.text.masked_windows:MaskedWindows")
_PRETRAINED = ("dlkit.pretrained.huggingface:LanguageStart",)
_RUNNING_TEXT = ("causal-lm", "masked-lm")
_LANGUAGE = {"model": "language model", "data": "running text"}
_CAUSAL = ("causal-lm",)
_TEXTS = ("text-classification",)
_SEQUENCES = ("dlkit.data.text.padded_batches:SequenceBatches",)
_ENCODED = ("masked-lm", "text-classification")

_HUB_TEXT = Entry(
    "dlkit.data.hub.running_text:hub_text",
    "running text of the Hugging Face Hub, or in its layout",
    _WINDOWS,
    _RUNNING_TEXT,
)
_HUB_ROWS = Entry("dlkit.data.hub.rows:hub_rows", "rows of the Hugging Face Hub, or in its layout", _ROW_BATCHES, _ROWS)
# What `hub` is in the recipes of each task.
_HUB = {
    "image-classification": Entry(
        "dlkit.data.hub.images:hub_images", "images of the Hugging Face Hub, or in its layout", _STREAMED, _IMAGES
    ),
    "text-classification": Entry(
        "dlkit.data.hub.texts:hub_texts", "labelled texts of the Hugging Face Hub, or in its layout", _SEQUENCES, _TEXTS
    ),
    **dict.fromkeys(_ROWS, _HUB_ROWS),
    "causal-lm": _HUB_TEXT,
    "masked-lm": _HUB_TEXT,
}

DATA = {
    "digits": Entry(
        "dlkit.data.images.digits:digits", "1,797 real handwritten digits, 8x8 (embedded)", _IMAGE_BATCHES, _IMAGES
    ),
    "cifar10": Entry(
        "dlkit.data.images.cifar:cifar10",
        "60,000 colour images in 10 classes (download)",
        _IMAGE_BATCHES,
        _IMAGES,
        "cifar10",
    ),
    "cifar100": Entry(
        "dlkit.data.images.cifar:cifar100",
        "60,000 colour images in 100 classes (download)",
        _IMAGE_BATCHES,
        _IMAGES,
        "cifar100",
    ),
    "images": Entry(
        "dlkit.data.images.image_folder:image_folder", "your images, one folder a class", _IMAGE_BATCHES, _IMAGES
    ),
    "imagenet": Entry(
        "dlkit.data.images.imagenet:imagenet",
        "class folders or Parquet shards of any size, streamed",
        _STREAMED,
        _IMAGES,
    ),
    "imagenet1k": Entry(
        "dlkit.data.images.imagenet:imagenet1k",
        "ILSVRC 2012: 1,000 classes, streamed (download)",
        _STREAMED,
        _IMAGES,
        "imagenet1k",
    ),
    "imagenet22k": Entry(
        "dlkit.data.images.imagenet:imagenet22k",
        "all of ImageNet: 21,841 classes, streamed (download)",
        _STREAMED,
        _IMAGES,
        "imagenet22k",
    ),
    "csv": Entry("dlkit.data.tables.table_data:csv", "your rows: columns and a label (CSV)", _ROW_BATCHES, _ROWS),
    "jsonl": Entry(
        "dlkit.data.tables.table_data:jsonl", "your rows: columns and a label (JSON Lines)", _ROW_BATCHES, _ROWS
    ),
    "parquet": Entry(
        "dlkit.data.tables.table_data:parquet", "your rows: columns and a label (Parquet)", _ROW_BATCHES, _ROWS
    ),
    "pydoc": Entry(
        "dlkit.data.text.pydoc:pydoc", "the manual of Python, 466 kB of text (embedded)", _WINDOWS, _RUNNING_TEXT
    ),
    "passages": Entry(
        "dlkit.data.text.passages:passages", "passages of Python's manual, by topic (embedded)", _SEQUENCES, _TEXTS
    ),
    "repeats": Entry(
        "dlkit.data.text.repeats:repeats",
        "random strings that repeat, for induction heads (embedded)",
        _WINDOWS,
        _CAUSAL,
    ),
    "text": Entry(
        "dlkit.data.text.plain_text:plain_text", "your text: a file or a folder of *.txt files", _WINDOWS, _RUNNING_TEXT
    ),
    "sentences": Entry(
        "dlkit.data.text.sentences:sentences",
        "the sentences of a labelled data set, to pre-train on (download)",
        _WINDOWS,
        _RUNNING_TEXT,
        "{of}",
    ),
    "sst2": Entry("dlkit.data.text.glue:sst2", "sentences of film reviews (download)", _SEQUENCES, _TEXTS, "sst2"),
    "imdb": Entry("dlkit.data.text.glue:imdb", "50,000 film reviews (download)", _SEQUENCES, _TEXTS, "imdb"),
    "glue": Entry("dlkit.data.text.glue:glue", "a task of GLUE (download)", _SEQUENCES, _TEXTS, "glue/{config}"),
    "superglue": Entry(
        "dlkit.data.text.glue:superglue", "a task of SuperGLUE (download)", _SEQUENCES, _TEXTS, "superglue/{config}"
    ),
    "texts": Entry(
        "dlkit.data.text.labelled:labelled_texts",
        "your texts and their classes (CSV, JSON Lines, Parquet)",
        _SEQUENCES,
        _TEXTS,
    ),
    "hub": Entry(
        "dlkit.data.hub.opened:open_hub_data",
        "a data set of the Hugging Face Hub, or in its layout",
        tasks=tuple(_HUB),
        by_task=_HUB,
    ),
}

MODELS = {
    "mlp": Entry("dlkit.models.mlp:MLPClassifier", "multilayer perceptron, any depth", tasks=(*_IMAGES, *_ROWS)),
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
    "gpt": Entry("dlkit.models.gpt:GPT", "causal transformer, general form", _PRETRAINED, _CAUSAL),
    "gpt1": Entry("dlkit.models.gpt:gpt1", "GPT, post-norm, 117 M parameters", _PRETRAINED, _CAUSAL),
    "gpt2": Entry("dlkit.models.gpt:gpt2", "GPT-2 small, 124 M parameters", _PRETRAINED, _CAUSAL),
    "gpt2_medium": Entry("dlkit.models.gpt:gpt2_medium", "GPT-2 medium, 355 M parameters", _PRETRAINED, _CAUSAL),
    "gpt2_large": Entry("dlkit.models.gpt:gpt2_large", "GPT-2 large, 774 M parameters", _PRETRAINED, _CAUSAL),
    "gpt2_xl": Entry("dlkit.models.gpt:gpt2_xl", "GPT-2 XL, 1,558 M parameters", _PRETRAINED, _CAUSAL),
    "bert": Entry("dlkit.models.bert:BERT", "bidirectional transformer, general form", _PRETRAINED, _ENCODED),
    "bert_tiny": Entry("dlkit.models.bert:bert_tiny", "BERT, 2 layers of 128, 4.4 M parameters", _PRETRAINED, _ENCODED),
    "bert_mini": Entry("dlkit.models.bert:bert_mini", "BERT, 4 layers of 256, 11 M parameters", _PRETRAINED, _ENCODED),
    "bert_small": Entry("dlkit.models.bert:bert_small", "BERT, 4 layers of 512, 29 M", _PRETRAINED, _ENCODED),
    "bert_base": Entry("dlkit.models.bert:bert_base", "BERT base, 110 M parameters", _PRETRAINED, _ENCODED),
    "bert_large": Entry("dlkit.models.bert:bert_large", "BERT large, 335 M parameters", _PRETRAINED, _ENCODED),
}

TOKENIZERS = {
    "auto": Entry("dlkit.data.text.tokenizer:auto", "the checkpoint's, or else bpe for a GPT and wordpiece for a BERT"),
    "byte": Entry("dlkit.data.text.tokenizer:byte", "a token is a byte"),
    "bpe": Entry("dlkit.data.text.tokenizer:bpe", "byte-level byte-pair encoding, learned from the training text"),
    "wordpiece": Entry("dlkit.data.text.tokenizer:wordpiece", "WordPiece, learned from the training text"),
}

# What `activation` may be in a model.
ACTIVATIONS = {
    "sigmoid": Entry("dlkit.nn.activations:Sigmoid", "1 / (1 + e^-x)"),
    "tanh": Entry("dlkit.nn.activations:Tanh", "hyperbolic tangent"),
    "relu": Entry("dlkit.nn.activations:ReLU", "max(x, 0) (Nair & Hinton 2010)"),
    "gelu": Entry("dlkit.nn.activations:GELU", "x Phi(x) (Hendrycks & Gimpel 2016)"),
    "gelu_tanh": Entry("dlkit.nn.activations:gelu_tanh", "GELU by a hyperbolic tangent, as GPT-2 has it"),
    "silu": Entry("dlkit.nn.activations:SiLU", "x sigmoid(x), also called swish (Ramachandran et al. 2017)"),
    "mish": Entry("dlkit.nn.activations:Mish", "x tanh(log(1 + e^x)) (Misra 2019)"),
    "relu_squared": Entry("dlkit.nn.activations:SquaredReLU", "max(x, 0)^2 (So et al. 2021)"),
}

# What `norm` may be in a model.
NORMS = {
    "batch": Entry("dlkit.nn.norm:BatchNorm", "each channel, over the batch and its pixels"),
    "layer": Entry("dlkit.nn.norm:LayerNorm", "each position, over its channels"),
    "group": Entry("dlkit.nn.norm:GroupNorm", "each image, over groups of its channels"),
    "none": Entry("torch.nn:Identity", "no normalization"),
}

LOSSES = {
    "cross_entropy": Entry("dlkit.losses:CrossEntropy", "cross-entropy with label smoothing and an L2 penalty"),
    "squared_error": Entry(
        "dlkit.losses:SquaredError", "mean squared error, for numbers", tasks=(*_TEXTS, "tabular-regression")
    ),
    "absolute_error": Entry(
        "dlkit.losses:AbsoluteError", "mean absolute error, which outliers move less", tasks=("tabular-regression",)
    ),
    "huber": Entry("dlkit.losses:HuberLoss", "squared near, absolute far (Huber 1964)", tasks=("tabular-regression",)),
}

OPTIMIZERS = {
    "sgd": Entry("dlkit.optim.sgd:SGD", "(stochastic) gradient descent", _GROUPS),
    "momentum": Entry("dlkit.optim.momentum:Momentum", "gradient descent with momentum, or Nesterov's", _GROUPS),
    "adagrad": Entry("dlkit.optim.adagrad:Adagrad", "AdaGrad (Duchi et al. 2011)", _GROUPS),
    "rmsprop": Entry("dlkit.optim.rmsprop:RMSprop", "RMSProp (Hinton 2012)", _GROUPS),
    "adam": Entry("dlkit.optim.adam:Adam", "Adam (Kingma & Ba 2014)", _GROUPS),
    "adamw": Entry("dlkit.optim.adamw:AdamW", "AdamW (Loshchilov & Hutter 2017)", _GROUPS),
    "lion": Entry("dlkit.optim.lion:Lion", "Lion (Chen et al. 2023)", _GROUPS),
    "muon": Entry(
        "dlkit.optim.muon:Muon", "Muon (Jordan et al. 2024), with AdamW", (*_GROUPS, "dlkit.optim.muon:divided")
    ),
}

SCHEDULES = {
    "constant": Entry("dlkit.schedules:constant", "one learning rate, after a warm-up"),
    "steps": Entry("dlkit.schedules:steps", "drops by a factor at some points of the run"),
    "linear": Entry("dlkit.schedules:linear", "decay by the same amount at every step"),
    "cosine": Entry("dlkit.schedules:cosine", "cosine annealing from 0 to pi (Loshchilov & Hutter 2016)"),
}

# Recipe section -> what `name` may be in it.
SECTIONS: dict[str, dict[str, Entry]] = {
    "data": DATA,
    "tokenizer": TOKENIZERS,
    "model": MODELS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}

TASKS = {
    "image-classification": TaskEntry(
        "dlkit.tasks.array_data:image_data",
        "one label an image",
        "images",
        "dlkit.tasks.new_images:NewImages",
        _IMAGE_BATCHES,
    ),
    "tabular-classification": TaskEntry(
        "dlkit.tasks.array_data:row_data", "one label a row of a table", "rows", "dlkit.tasks.new_rows:NewRows"
    ),
    "tabular-regression": TaskEntry(
        "dlkit.tasks.number_data:number_data",
        "one number a row of a table",
        "rows",
        "dlkit.tasks.new_rows:NewNumberRows",
    ),
    "text-classification": TaskEntry(
        "dlkit.tasks.labelled_text_data:LabelledTextData",
        "one label a text or a pair of texts",
        "text",
        "dlkit.tasks.new_texts:NewTexts",
        _SEQUENCES,
        {"model": "text classifier", "data": "labelled texts"},
    ),
    "causal-lm": TaskEntry(
        "dlkit.tasks.corpus_data:CausalCorpus", "the next token of a text", "text", "", _WINDOWS, _LANGUAGE
    ),
    "masked-lm": TaskEntry(
        "dlkit.tasks.corpus_data:MaskedCorpus", "the masked tokens of a text", "text", "", _WINDOWS, _LANGUAGE
    ),
}


def find_entry(section: str, name: str, task: str = "") -> Entry:
    """The entry of a component, in a recipe for a task: of the catalog, or of the user's own."""
    if not user_code.is_reference(name):
        entry = SECTIONS[section][name]
        return entry.by_task.get(task, entry)
    also = {"data": TASKS[task].batches if task in TASKS else (), "optimizer": _GROUPS}
    return Entry(name, f"a {section} of your own", also.get(section, ()))


def import_object(target: str) -> Any:
    """The object that `module:attribute` or FILE.py:NAME names. Imports the module, and torch where that needs torch.

    Raises:
        RequestError: of a file of the user's own, what `user_code.load_object` raises.
    """
    if user_code.is_reference(target):
        return user_code.load_object(target)
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
