"""A local copy that is broken: found by its hashes without the network, and only what is broken comes again."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from dlkit.data import store
from dlkit.data.registry import SETS
from dlkit.data.text.prepared import load_prepared_texts
from dlkit.errors import DlkitError

NAME = "glue/cola"


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest"])
@pytest.mark.parametrize("name", [NAME, "imagenet1k"])
def test_verify_repairs_what_is_broken(hub: Any, obtain: Any, name: str, damage: str) -> None:
    hub.add(name)
    before = obtain(name)
    assert obtain(name, verify=True).status == "present"
    victim = before.path / (store.MANIFEST if damage == "manifest" else before.manifest.files[0].path)
    content = victim.read_bytes()
    if damage == "delete":
        victim.unlink()
    else:
        place = len(content) // 2
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        victim.write_bytes(content[:-9] if damage == "truncate" else flipped)
    hub.served.clear()
    after = obtain(name, verify=True)
    assert (after.status, after.repaired) == ("downloaded", [victim.relative_to(before.path).as_posix()])
    assert after.manifest.sha256 == before.manifest.sha256
    assert store.damaged(after.path, after.manifest) == []
    if name == "imagenet1k" and damage == "flip":
        assert len(hub.served) == 1  # the other shards were good


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "victim", "split"),
    [
        (NAME, "validation.arrow", "validation"),
        ("glue/mnli", "test_mismatched.arrow", "test_mismatched"),
        ("cifar10", "test-images.npy", "test"),
        ("cifar100", "train-coarse_label.npy", "train"),
    ],
)
def test_of_a_prepared_set_only_the_broken_split_comes_again(
    hub: Any, obtain: Any, name: str, victim: str, split: str
) -> None:
    hub.add(name)
    before = obtain(name)
    contents = {path.name: path.read_bytes() for path in before.path.iterdir()}
    flip(before.path / victim)
    hub.requests.clear()
    assert obtain(name, verify=True, allow_mismatch=False).repaired == [victim]  # the other counts were accepted before
    asked = [path for _, path, _ in hub.requests if "/resolve/" in path]
    assert len(asked) == 1
    assert split in asked[0].rpartition("/")[2]
    assert {path.name: path.read_bytes() for path in before.path.iterdir()} == contents


def test_whole_files_are_verified_without_the_network(hub: Any, obtain: Any) -> None:
    hub.add(NAME)
    obtain(NAME)
    hub.requests.clear()
    assert obtain(NAME, verify=True, offline=True).repaired == []
    assert not hub.requests


def test_a_source_that_changed_since_is_taken_whole(hub: Any, obtain: Any) -> None:
    """A copy is never half of one revision and half of another."""
    hub.add(NAME)
    before = obtain(NAME)
    files = hub.repositories["nyu-mll/glue", "main"]
    for path, body in files.items():
        table = parquet.read_table(io.BytesIO(body))
        stream = io.BytesIO()
        parquet.write_table(table.slice(0, 5), stream)
        files[path] = stream.getvalue()
    flip(before.path / "validation.arrow")
    after = obtain(NAME, verify=True)
    assert after.manifest.splits == {"train": 5, "validation": 5, "test": 5}
    assert load_prepared_texts(NAME).tables["train"].num_rows == 5
    assert store.damaged(after.path, after.manifest) == []


def test_a_copy_is_repaired_from_where_it_came(
    hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.add(NAME)
    dataset = SETS[NAME]
    for path, body in hub.repositories[dataset.repo, "main"].items():
        target = tmp_path / "mirror" / dataset.repo / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
    before = obtain(NAME, mirror=str(tmp_path / "mirror"))
    monkeypatch.delenv("HF_ENDPOINT")
    (before.path / "train.arrow").unlink()
    notes: list[str] = []

    class Telling:
        def __getattr__(self, _: str) -> Any:
            return lambda *_: None

        def note(self, text: str) -> None:
            notes.append(text)

    after = obtain(NAME, reporter=Telling(), offline=True)  # a file that is gone is noticed without --verify
    assert after.repaired == ["train.arrow"]
    assert notes == [f"{NAME}: repairing it from {tmp_path / 'mirror'}, where it came from"]
    assert not hub.requests


@pytest.mark.parametrize("broken", [False, True])
def test_a_kill_before_any_change_on_the_disk_loses_nothing_and_leaves_nothing(
    hub: Any, obtain: Any, tmp_path: Path, killed: Any, broken: bool
) -> None:
    hub.add(NAME)

    def begin(root: Path) -> None:
        if broken:
            (obtain(NAME, root=root).path / "train.arrow").unlink()

    changes, root = 0, tmp_path / "0"
    begin(root)
    while killed(changes, functools.partial(obtain, NAME, root=root)):
        manifest = store.find(NAME, root)
        assert manifest is None or store.damaged(root / NAME, manifest) == []
        last = obtain(NAME, root=root)
        assert store.damaged(last.path, last.manifest) == []
        assert [path for path in (root / ".work").rglob("*") if path.is_file()] == [root / ".work" / f"{NAME}.lock"]
        changes, root = changes + 1, tmp_path / str(changes + 1)
        begin(root)
    assert changes > 10


def test_a_copy_that_cannot_be_repaired_stays_as_it_is(hub: Any, obtain: Any) -> None:
    hub.add(NAME)
    before = obtain(NAME)
    flip(before.path / "train.arrow")
    hub.always["cdn"] = ("status", 404)
    with pytest.raises(DlkitError, match="HTTP 404"):
        obtain(NAME, verify=True)
    assert load_prepared_texts(NAME).tables["test"].num_rows == 6
    hub.always.clear()
    assert obtain(NAME, verify=True).repaired == ["train.arrow"]
