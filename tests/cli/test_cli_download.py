"""`dlkit download` as a person or a script meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dlkit.data import registry, store


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(store, "_chosen", None)
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A directory in the hub's layout with a generated glue/wnli (of the published rows) and a small cifar10."""
    import io

    import numpy as np
    import pyarrow as pa
    from PIL import Image
    from pyarrow import parquet

    root = tmp_path / "mirror"
    for split, rows in registry.DATASETS["glue/wnli"].rows.items():
        path = root / f"nyu-mll/glue/wnli/{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = pa.array([f"line {row}" for row in range(rows)])
        columns = {
            "sentence1": texts,
            "sentence2": texts,
            "label": [0] * rows,
            "idx": pa.array(range(rows), pa.int32()),
        }
        parquet.write_table(pa.table(columns), path)
    dice = np.random.default_rng(0)
    for split in ("train", "test"):
        images = []
        for _ in range(40):
            stream = io.BytesIO()
            Image.fromarray(dice.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(stream, "PNG")
            images.append({"bytes": stream.getvalue(), "path": "x.png"})
        path = root / f"uoft-cs/cifar10/plain_text/{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"img": images, "label": [row % 10 for row in range(40)]}), path)
    return root


def test_a_record_and_its_path(here: Any, mirror: Path, tmp_path: Path) -> None:
    first = here("download", "glue/wnli", "--mirror", str(mirror)).record
    assert {key: first[key] for key in ("name", "splits", "status")} == {
        "name": "glue/wnli",
        "splits": {"train": 635, "validation": 71, "test": 146},
        "status": "downloaded",
    }
    assert first["path"] == str(tmp_path / "data" / "glue" / "wnli")
    assert len(first["sha256"]) == 64
    assert first["bytes"] > 0
    again = here("download", "glue/wnli")
    assert again.record == first | {"status": "present"}
    assert here("download", "glue/wnli", "-q").out == first["path"] + "\n"
    assert here("download", "glue/wnli", "--verify").record["repaired"] == []
    listed = {r["name"]: r for r in map(json.loads, here("download", "--list").out.splitlines())}
    assert set(listed) == set(registry.DATASETS)
    assert [name for name, r in listed.items() if r["present"]] == ["digits", "pydoc", "glue/wnli"]


def test_embedded_data_is_there(here: Any) -> None:
    result = here("download", "digits", "pydoc")
    records = result.records
    assert [(r["name"], r["status"]) for r in records] == [("digits", "built"), ("pydoc", "built")]
    assert records[0]["splits"] == {"train": 1437, "test": 360}
    assert all(Path(r["path"]).is_file() for r in records)


def test_a_run_from_a_download_says_what_it_was(here: Any, program: Any, mirror: Path, tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "data")]
    absent = program("train", "digits-resnet20", "data={name: cifar10}", *data, cwd=tmp_path)
    assert (absent.code, absent.out) == (1, "")
    error, hint = absent.err.splitlines()
    assert error.startswith("error: the data set cifar10 is not here: nothing whole in ")
    assert "144 MB" in error
    assert hint == f"hint: dlkit download cifar10 --data-dir {tmp_path / 'data'}"

    refused = here("download", "cifar10", "--mirror", str(mirror), *data)
    assert refused.code == 1
    assert "error: this is not the published cifar10: train has 40 rows, 50,000 are published" in refused.err
    fetched = here("download", "cifar10", "--mirror", str(mirror), "--allow-mismatch", *data)
    assert fetched.record["mismatch"]["train"] == {"published": 50000, "found": 40}

    changes = ["data={name: cifar10, batch_size: 16, flip: true}", "train.epochs=1", "train.precision=fp32"]
    run = str(tmp_path / "run")
    trained = here("train", "digits-mlp", *changes, *data, "--run-dir", run)
    assert trained.code == 0, trained.err
    told = json.loads((tmp_path / "run" / "environment.json").read_text())["data"]
    assert told["mismatch"]["test"] == {"published": 10000, "found": 40}
    assert told["sha256"] == fetched.record["sha256"]
    assert here("eval", run, *data).record["n"] == 40
    gone = here("eval", run, "--data-dir", str(tmp_path / "elsewhere"))
    assert (gone.code, gone.out) == (1, "")
    assert "hint: dlkit download cifar10 --data-dir" in gone.err


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ("cifar1O", 2, "no data set named 'cifar1O' (did you mean cifar10?)"),
        ("--verify", 2, "which data set?"),
        ("imdb --mirror ftp://x", 2, "--mirror ftp://x: not a web address"),
        ("imdb --mirror no-such-folder", 2, "--mirror no-such-folder: no such directory"),
        ("imdb --jobs 0", 2, "--jobs"),
        ("imdb --data-dir /dev/null", 2, "--data-dir /dev/null is a file"),
        ("imdb --data-dir /proc/nope", 1, "cannot write /proc/nope"),
        ("imdb --mirror http://[::1:80", 1, "not a web address"),
    ],
)
def test_wrong_requests(here: Any, arguments: str, code: int, error: str) -> None:
    result = here("download", *arguments.split())
    assert (result.code, result.out) == (code, "")
    assert error in result.err.splitlines()[0]
    assert len(result.err.splitlines()) == 2


def test_offline_says_at_once_what_is_missing(program: Any, tmp_path: Path) -> None:
    env = {"HF_HUB_OFFLINE": "1", "DLKIT_DATA": str(tmp_path)}
    result = program("download", "imdb", env=env)
    assert result.code == 1
    assert "error: offline, and the data set imdb is not here" in result.err


def test_an_interrupt_ends_with_its_code_and_keeps_what_came(tmp_path: Path) -> None:
    """A server that never answers."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            command = [sys.executable, "-m", "dlkit", "download", "imdb", "--mirror", url]
            environment = {**os.environ, "DLKIT_DATA": str(tmp_path), "no_proxy": "*"}
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
            connection, _ = silent.accept()
            time.sleep(0.2)
            process.send_signal(number)
            _, errors = process.communicate(timeout=10)
            connection.close()
            assert process.returncode == code
            assert errors.splitlines()[-1] == "stopped; give the command again to go on with imdb"
