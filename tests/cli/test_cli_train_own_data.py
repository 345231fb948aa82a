"""dlkit train on tables and images of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("elsewhere")


def table(path: Path, rows: int = 120) -> None:
    import random

    dice = random.Random(0)
    lines = ["width,height,kind"]
    for index in range(rows):
        kind = ("small", "large")[index % 2]
        base = 1.0 if kind == "small" else 3.0
        lines.append(f"{base + dice.gauss(0, 0.2):.3f},{base + dice.gauss(0, 0.2):.3f},{kind}")
    path.write_text("\n".join(lines) + "\n")


def test_csv_and_parquet_train(here: Any, tmp_path: Path) -> None:
    table(tmp_path / "rows.csv")
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(tmp_path / "rows.csv"), tmp_path / "rows.parquet")
    settings = ("data.label=kind", "data.validation=0.2", "train.epochs=20", "~train.patience")
    for change in ("data.path=rows.csv", "data={name: parquet, path: rows.parquet}"):
        result = here("train", "csv-mlp", change, *settings)
        assert result.code == 0, result.err
        assert result.record["metrics"]["val/accuracy"] == 1.0
        evaluated = here("eval", result.record["run"])
        assert evaluated.record["metrics"]["accuracy"] == 1.0
        assert [row["class"] for row in evaluated.record["per_class"]] == ["large", "small"]


def test_images_train(here: Any, tmp_path: Path) -> None:
    import random

    from PIL import Image

    dice = random.Random(0)
    for split, count in (("train", 24), ("test", 8)):
        for label, colour in (("dark", 40), ("light", 200)):
            folder = tmp_path / "pictures" / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                level = colour + dice.randrange(-30, 30)
                Image.new("RGB", (12, 10), (level, level, level)).save(folder / f"{index}.png")
    result = here(
        "train",
        "images-resnet20",
        "data.path=pictures",
        "data.size=8",
        "train.epochs=12",
        "data.batch_size=12",
        "data.validation=0",
    )
    assert result.code == 0, result.err
    assert result.record["metrics"]["test/accuracy"] > 0.9
    (tmp_path / "pictures/train/dark/0.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    broken = here(
        "train", "images-resnet20", "data.path=pictures", "data.size=8", "train.epochs=1", "data.validation=0"
    )
    assert broken.code == 1
    assert "pictures/train/dark/0.png" in broken.err.splitlines()[0]
    (tmp_path / "pictures/train/dark/0.png").unlink()
    (tmp_path / "pictures/test/new").mkdir()
    Image.new("RGB", (12, 10)).save(tmp_path / "pictures/test/new/0.png")
    unseen = here(
        "train", "images-resnet20", "data.path=pictures", "data.size=8", "train.epochs=1", "data.validation=0"
    )
    assert unseen.code == 1
    assert "new" in unseen.err.splitlines()[0]


@pytest.mark.parametrize(
    ("change", "code", "expected"),
    [
        ("data.label=kinds", 2, "kind"),
        ("data.path=absent.csv", 1, "absent.csv"),
        ("data.path=empty.csv", 1, "empty.csv"),
        ("data.path=.", 1, ""),
    ],
)
def test_wrong_tables_are_one_clear_line(here: Any, tmp_path: Path, change: str, code: int, expected: str) -> None:
    table(tmp_path / "rows.csv")
    (tmp_path / "empty.csv").write_text("")
    result = here("train", "csv-mlp", "data.label=kind", change)
    assert (result.code, result.out) == (code, ""), result.err
    first = result.err.splitlines()[0]
    assert first.startswith("error: ")
    assert expected in first
    assert "Traceback" not in result.err
    assert not Path("runs").exists()
