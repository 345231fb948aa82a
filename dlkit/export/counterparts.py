"""Which formats a model can be written in."""

from __future__ import annotations

from dlkit.errors import DlkitError
from dlkit.export.exportable import Exportable
from dlkit.export.formats import FORMATS
from dlkit.export.timm_directory import timm_architecture
from dlkit.export.torchvision_weights import torchvision_counterpart
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.pretrained.huggingface_export import config_of


def formats_of(exportable: Exportable) -> list[str]:
    """Names of the formats, beginning with those that another library reads as its own."""
    libraries = {"hf": _has_hub_directory(exportable), "torchvision": _has_counterpart(exportable)}
    return [name for name in FORMATS if libraries.get(name, True)]


def _has_counterpart(exportable: Exportable) -> bool:
    try:
        torchvision_counterpart(exportable)
    except DlkitError:
        return False
    return True


def _has_hub_directory(exportable: Exportable) -> bool:
    try:
        if isinstance(exportable.model, (GPT, BERT)):
            config_of(exportable.model)
        else:
            timm_architecture(exportable)
    except DlkitError:
        return False
    return True
