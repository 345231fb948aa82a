"""Files that belong together, while another program writes into the same folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlkit.errors import RequestError
from dlkit.storage.file_group import write_together


def test_an_error_beside_another_writer_is_the_one_that_is_told(tmp_path: Path) -> None:
    target = tmp_path / "new"

    def refused(folder: Path) -> None:
        (folder / "half").touch()
        (target / "of-another").touch()
        raise RequestError("no such format")

    with pytest.raises(RequestError, match="no such format"):
        write_together(target, refused, ())
    assert [path.name for path in target.iterdir()] == ["of-another"]
