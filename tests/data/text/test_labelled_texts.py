"""Tables of labelled texts: what pandas reads of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dlkit.data.text.labelled import labelled_texts


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl.gz", "t.csv.bz2", "T.CSV.gz"])
def test_compressed_tables_have_the_rows_that_pandas_reads(tmp_path: Path, name: str) -> None:
    rows = pd.DataFrame({"a": [f'text {i}, "é"' for i in range(20)], "c": ["no", "yes"] * 10})
    file = tmp_path / name
    if "json" in name:
        rows.to_json(file, orient="records", lines=True)
    else:
        rows.to_csv(file, index=False)
    data = labelled_texts(path=file, text="a", label="c", test=0.2)
    found = [
        (text, data.classes[target])
        for part in data.splits.values()
        for text, target in zip(part.first, part.targets, strict=True)
    ]
    assert sorted(found) == sorted(rows.itertuples(index=False, name=None))
