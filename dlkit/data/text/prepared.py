"""The text data sets that `dlkit download` prepares: sst2, imdb, glue/..., superglue/... as Arrow tables mapped into
memory. No torch.

    texts = load("glue/mrpc")
    texts.tables["train"]["sentence1"]     a pyarrow.ChunkedArray of strings, not copied
    texts.classes                          ("not_equivalent", "equivalent"), or None for a regression (glue/stsb)

Splits and columns are the hub's own (see `dlkit.data.registry`); a label that is hidden, as in most test splits, is -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from dlkit.data import store
from dlkit.data.registry import DATASETS, Column
from dlkit.errors import DlkitError


@dataclass(frozen=True)
class PreparedTexts:
    """The splits of a text data set.

    Args:
        name: of the data set.
        tables: split -> its rows.
        features: column -> its Arrow type by name, or the names of its classes.
        sources: for environment.json.
    """

    name: str
    tables: dict[str, pa.Table]
    features: dict[str, Column]
    sources: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes of the column "label", None where it is a number or there is none."""
        label = self.features.get("label")
        return label if isinstance(label, tuple) else None


def load(name: str) -> PreparedTexts:
    """Map a text data set into memory.

    Raises:
        DlkitError: it is not here (the hint is the command that downloads it), or a file is damaged.
    """
    place, manifest = store.require_dataset(name)
    tables = {split: _mapped(place / f"{split}.arrow") for split in manifest.splits}
    return PreparedTexts(name, tables, dict(DATASETS[name].columns), {"path": str(place), **manifest.provenance()})


def _mapped(path: Path) -> pa.Table:
    try:
        return ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DlkitError(f"{path} is damaged: {error}", "dlkit download NAME --verify repairs it") from error
