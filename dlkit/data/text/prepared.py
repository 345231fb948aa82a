"""The text data sets that `dlkit download` prepares - sst2, imdb, glue/..., superglue/... - as memory-mapped Arrow
tables. Free of torch.

    texts = load_prepared_texts("glue/mrpc")
    texts.tables["train"]["sentence1"]     a pyarrow.ChunkedArray of strings, not copied
    texts.classes                          ("not_equivalent", "equivalent"), or None for a regression (glue/stsb)

Splits and columns are those of the hub (see `dlkit.data.registry`). A hidden label, as in most test splits, is -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from dlkit.data import store
from dlkit.data.registry import SETS, Column
from dlkit.errors import DlkitError


@dataclass(frozen=True)
class PreparedTexts:
    """The splits of a text data set.

    Args:
        name: of the data set.
        tables: the rows of each split.
        features: the Arrow type of each column by name, or the names of its classes.
        sources: for environment.json.
    """

    name: str
    tables: dict[str, pa.Table]
    features: dict[str, Column]
    sources: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class names of the column "label"; None if it is a number or missing."""
        label = self.features.get("label")
        return label if isinstance(label, tuple) else None


def load_prepared_texts(name: str) -> PreparedTexts:
    """Map a text data set into memory.

    Raises:
        DlkitError: the data set is not here (the hint is the command that downloads it), or a file is damaged.
    """
    folder, manifest = store.require(name)
    tables = {split: _mapped(folder / f"{split}.arrow") for split in manifest.splits}
    return PreparedTexts(name, tables, dict(SETS[name].columns), {"path": str(folder), **manifest.provenance()})


def _mapped(path: Path) -> pa.Table:
    try:
        return ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DlkitError(f"{path} is damaged: {error}", "dlkit download NAME --verify repairs it") from error
