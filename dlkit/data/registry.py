"""The registry of downloadable data sets: sources, splits with their published row counts, columns. Facts only.

Row counts, columns and class names are those of the data set cards on the hub. `size` is that of the download in bytes:
as stated by the card if `exact_size`, else an estimate.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from dlkit.errors import RequestError
from dlkit.hub_reference import PREFIX, HubReference, Kind, hub_reference

Form = Literal["images", "texts", "shards", "archives", "embedded", "repository"]
# A column's type: the name of an Arrow type, "image", or the names of its classes (int64, -1 where hidden).
Column = str | tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """The authors' own archive. `records` maps a split to the names of its members, in order."""

    url: str
    size: int
    md5: str
    records: dict[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, eq=False)
class DatasetInfo:
    """A downloadable data set.

    Args:
        name: as the user types it; `group/config` for a part of a benchmark.
        help: one line.
        task: the task it is for.
        form: the prepared form. images: one uint8 array per split; texts: one Arrow table per split; shards and
            archives: the hub's Parquet or tar files; embedded: it comes with a dependency; repository: whatever files
            a repository of the hub has.
        rows: published row count of each split.
        columns: name -> type.
        size: bytes of the download.
        licence: as stated by its card.
        repo: repository on the hub.
        folder: in the repository.
        revisions: to try, in this order.
        stem: prefix of its file names before the split's name.
        gated: whether the hub requires a token.
        exact_size: whether `size` is exact.
        archive: the authors' own archive.
        kind: of the repository.
        folder_name: in the data directory; "" for the name.
        include: patterns of the only files to take of a repository; none for all.
    """

    name: str
    help: str
    task: str
    form: Form
    rows: dict[str, int]
    columns: dict[str, Column]
    size: int
    licence: str
    repo: str = ""
    folder: str = ""
    revisions: tuple[str, ...] = ("main",)
    stem: str = ""
    gated: bool = False
    exact_size: bool = True
    archive: Archive | None = None
    kind: Kind = "datasets"
    folder_name: str = ""
    include: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The name of its folder in the data directory."""
        return self.folder_name or self.name

    @property
    def total_rows(self) -> int:
        return sum(self.rows.values())

    @property
    def source(self) -> str:
        return f"{self.repo}/{self.folder}".rstrip("/") if self.repo else "a dependency of dlkit"


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# fmt: off
CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)
CIFAR100_SUPERCLASSES = (
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables", "household_electrical_devices",
    "household_furniture", "insects", "large_carnivores", "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes", "large_omnivores_and_herbivores", "medium_mammals", "non-insect_invertebrates",
    "people", "reptiles", "small_mammals", "trees", "vehicles_1", "vehicles_2",
)
# fmt: on

_IMAGE, _TEXT = "image classification", "text classification"
_NLI = ("entailment", "neutral", "contradiction")
_BOOLEAN = ("False", "True")
_SITE = "https://www.cs.toronto.edu/~kriz"


def _splits(train: int, validation: int, test: int) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


_IMAGES = (
    DatasetInfo(
        "cifar10", "60,000 colour images of 32x32 pixels in 10 classes (Krizhevsky 2009)", _IMAGE, "images",
        {"train": 50_000, "test": 10_000}, {"img": "image", "label": CIFAR10_CLASSES}, 143_646_105, "unknown",
        "uoft-cs/cifar10", "plain_text",
        archive=Archive(
            f"{_SITE}/cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530",
            {
                "train": tuple(f"cifar-10-batches-bin/data_batch_{n}.bin" for n in range(1, 6)),
                "test": ("cifar-10-batches-bin/test_batch.bin",),
            },
        ),
    ),
    DatasetInfo(
        "cifar100", "60,000 colour images of 32x32 pixels in 100 classes and 20 superclasses", _IMAGE, "images",
        {"train": 50_000, "test": 10_000},
        {"img": "image", "fine_label": CIFAR100_CLASSES, "coarse_label": CIFAR100_SUPERCLASSES},
        142_000_000, "unknown", "uoft-cs/cifar100", "cifar100", exact_size=False,
        archive=Archive(
            f"{_SITE}/cifar-100-binary.tar.gz", 168_513_733, "03b5dce01913d631647c71ecec9e9cb8",
            {"train": ("cifar-100-binary/train.bin",), "test": ("cifar-100-binary/test.bin",)},
        ),
    ),
    DatasetInfo(
        # The size: the official archives of train, validation and test have 148, 6.7 and 13 GB.
        "imagenet1k", "ILSVRC 2012: 1.28 million photographs in 1,000 classes", _IMAGE, "shards",
        _splits(1_281_167, 50_000, 100_000), {"image": "image", "label": "int64"}, 167_000_000_000,
        "ImageNet terms of access", "ILSVRC/imagenet-1k", "data", gated=True, exact_size=False,
    ),
    DatasetInfo(
        # Its card gives 14,146,391 samples in 4,608 shards; the size is that of its WebP twin (646 GB) at the ratio
        # stated there.
        "imagenet22k", "all of ImageNet (fall 2011): 14 million photographs in 21,841 classes", _IMAGE, "archives",
        {"train": 13_673_551, "validation": 472_840}, {"jpg": "image", "cls": "int64"}, 1_200_000_000_000,
        "ImageNet terms of access", "timm/imagenet-22k-wds", stem="imagenet22k-", gated=True, exact_size=False,
    ),
)  # fmt: skip

_SENTIMENT = (
    DatasetInfo(
        "sst2", "sentences of film reviews, negative or positive (Socher et al. 2013)", _TEXT, "texts",
        _splits(67_349, 872, 1_821), {"idx": "int32", "sentence": "string", "label": ("negative", "positive")},
        3_331_058, "unknown", "stanfordnlp/sst2", "data",
    ),
    DatasetInfo(
        "imdb", "whole film reviews, negative or positive (Maas et al. 2011)", _TEXT, "texts",
        {"train": 25_000, "test": 25_000, "unsupervised": 50_000}, {"text": "string", "label": ("neg", "pos")},
        83_446_840, "other", "stanfordnlp/imdb", "plain_text",
    ),
)  # fmt: skip


def _glue(config: str, help: str, rows: dict[str, int], size: int, *texts: str, label: Column) -> DatasetInfo:
    columns = {**dict.fromkeys(texts, "string"), "label": label, "idx": "int32"}
    return DatasetInfo(f"glue/{config}", help, _TEXT, "texts", rows, columns, size, "other", "nyu-mll/glue", config)


_TWO = ("sentence1", "sentence2")
_ENTAILED = ("entailment", "not_entailment")
_GLUE = (
    _glue("cola", "linguistic acceptability", _splits(8_551, 1_043, 1_063), 326_394, "sentence",
          label=("unacceptable", "acceptable")),
    _glue("sst2", "sentiment", _splits(67_349, 872, 1_821), 3_331_080, "sentence", label=("negative", "positive")),
    _glue("mrpc", "paraphrases", _splits(3_668, 408, 1_725), 1_033_400, *_TWO, label=("not_equivalent", "equivalent")),
    _glue("stsb", "semantic similarity, 0 to 5", _splits(5_749, 1_500, 1_379), 766_983, *_TWO, label="float32"),
    _glue("qqp", "duplicate questions", _splits(363_846, 40_430, 390_965), 73_982_265, "question1", "question2",
          label=("not_duplicate", "duplicate")),
    _glue("mnli", "inference over many genres, matched and mismatched",
          {"train": 392_702, "validation_matched": 9_815, "validation_mismatched": 9_832, "test_matched": 9_796,
           "test_mismatched": 9_847}, 57_168_425, "premise", "hypothesis", label=_NLI),
    _glue("qnli", "does the sentence answer the question", _splits(104_743, 5_463, 5_463), 19_278_324, "question",
          "sentence", label=_ENTAILED),
    _glue("rte", "textual entailment", _splits(2_490, 277, 3_000), 1_274_409, *_TWO, label=_ENTAILED),
    _glue("wnli", "Winograd schemas as inference", _splits(635, 71, 146), 63_522, *_TWO,
          label=("not_entailment", "entailment")),
    _glue("ax", "diagnostics of inference, test only", {"test": 1_104}, 80_767, "premise", "hypothesis", label=_NLI),
)  # fmt: skip


def _superglue(config: str, help: str, rows: dict[str, int], size: int, columns: dict[str, Column]) -> DatasetInfo:
    return DatasetInfo(
        f"superglue/{config}", help, _TEXT, "texts", rows, columns, size, "other", "aps/super_glue", config,
        revisions=("refs/convert/parquet", "main"), exact_size=False,
    )  # fmt: skip


# Sizes are those of the uncompressed rows, as stated by the cards; the files are smaller.
_SUPERGLUE = (
    _superglue("boolq", "yes or no questions on a passage", _splits(9_427, 3_270, 3_245), 10_405_708,
               {"question": "string", "passage": "string", "idx": "int32", "label": _BOOLEAN}),
    _superglue("cb", "commitment to embedded clauses", _splits(250, 56, 250), 202_772,
               {"premise": "string", "hypothesis": "string", "idx": "int32",
                "label": ("entailment", "contradiction", "neutral")}),
    _superglue("copa", "the plausible cause or effect", _splits(400, 100, 500), 122_488,
               {"premise": "string", "choice1": "string", "choice2": "string", "question": "string", "idx": "int32",
                "label": ("choice1", "choice2")}),
    _superglue("multirc", "answers to questions over several sentences", _splits(27_243, 4_848, 9_693), 68_968_948,
               {"paragraph": "string", "question": "string", "answer": "string",
                "idx": "struct<paragraph: int32, question: int32, answer: int32>", "label": _BOOLEAN}),
    _superglue("record", "the entity that fills the gap", _splits(100_730, 10_000, 10_000), 213_911_711,
               {"passage": "string", "query": "string", "entities": "list<string>",
                "entity_spans": "struct<text: list<string>, start: list<int32>, end: list<int32>>",
                "answers": "list<string>", "idx": "struct<passage: int32, query: int32>"}),
    _superglue("rte", "textual entailment", _splits(2_490, 277, 3_000), 1_915_443,
               {"premise": "string", "hypothesis": "string", "idx": "int32", "label": _ENTAILED}),
    _superglue("wic", "a word in two contexts", _splits(5_428, 638, 1_400), 928_399,
               {"word": "string", "sentence1": "string", "sentence2": "string", "start1": "int32", "start2": "int32",
                "end1": "int32", "end2": "int32", "idx": "int32", "label": _BOOLEAN}),
    _superglue("wsc", "Winograd schemas as coreference", _splits(554, 104, 146), 143_092,
               {"text": "string", "span1_index": "int32", "span2_index": "int32", "span1_text": "string",
                "span2_text": "string", "idx": "int32", "label": _BOOLEAN}),
)  # fmt: skip

_EMBEDDED = (
    DatasetInfo("digits", "1,797 handwritten digits of 8x8 pixels", _IMAGE, "embedded", {"train": 1_437, "test": 360},
            {}, 0, "that of scikit-learn's copy"),
    DatasetInfo("pydoc", "the language reference that comes with Python", "language modelling", "embedded", {}, {}, 0,
            "PSF"),
)  # fmt: skip

DATASETS: dict[str, DatasetInfo] = {s.name: s for s in (*_EMBEDDED, *_IMAGES, *_SENTIMENT, *_GLUE, *_SUPERGLUE)}
GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(name for name in DATASETS if name.startswith(f"{group}/")) for group in ("glue", "superglue")
}


def repository_info(reference: HubReference, include: tuple[str, ...] = ()) -> DatasetInfo:
    """A repository of the hub, of a kind that is known, as something to download."""
    assert reference.kind is not None
    return DatasetInfo(
        str(reference), f"{reference.name} of the hub", "", "repository", {}, {}, 0, "as its card says", reference.name,
        revisions=(reference.revision or "main",), exact_size=False, kind=reference.kind,
        folder_name=reference.folder, include=include,
    )  # fmt: skip


def datasets_named(name: str) -> list[DatasetInfo]:
    """The data set of this name, or all of the group of this name. Raises RequestError if there is neither."""
    if name in GROUPS:
        return [DATASETS[member] for member in GROUPS[name]]
    if name in DATASETS:
        return [DATASETS[name]]
    near = difflib.get_close_matches(name, [*DATASETS, *GROUPS], n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    own = f"; of the hub: dlkit download {PREFIX}{name}" if hub_reference(name) and not near else ""
    raise RequestError(f"no data set named {name!r}{meant}", f"`dlkit download --list` shows them all{own}")
