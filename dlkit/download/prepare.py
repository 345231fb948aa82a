"""From fetched files to the prepared data set and its manifest."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data import store
from dlkit.data.registry import DatasetInfo
from dlkit.data.store import Manifest, StoredFile
from dlkit.download import archives, image_arrays, parquet_files, text_tables
from dlkit.download.remote_files import Listing
from dlkit.download.repository import HIDDEN_SEALS
from dlkit.download.request import Step
from dlkit.errors import DlkitError

Phase = Callable[[str, str, int], None]


def prepare_dataset(
    dataset: DatasetInfo,
    listing: Listing,
    fetched: dict[str, StoredFile],
    raw: Path,
    new: Path,
    allow_mismatch: bool,
    phase: Phase,
    step: Step,
) -> Manifest:
    """Check the files in `raw`, and write the prepared data set into the folder `new`.

    Raises:
        DlkitError: the row counts are not the published ones, or a file is damaged or belongs to another data set.
    """
    if dataset.form == "repository":
        return _as_it_is(dataset, listing, fetched, raw, new)
    by_split = {s: [raw / f.path for f in listing.files if f.split == s] for s in dataset.rows}
    indices: dict[str, NDArray[Any]] = {}
    unsplit = [raw / file.path for file in listing.files if not file.split]
    if unsplit:
        assert dataset.archive is not None
        rows = dict(dataset.rows)
    elif dataset.form == "archives":
        phase(dataset.name, "indexing", len(listing.files))
        indices = {s: _indexed(paths, step) for s, paths in by_split.items()}
        rows = {s: len(index) for s, index in indices.items()}
    else:
        rows = parquet_files.count_rows(dataset, [(s, path) for s, paths in by_split.items() for path in paths])
    mismatch = check_row_counts(dataset, dataset.rows, rows, allow_mismatch)
    if dataset.form in ("shards", "archives"):
        kept = _kept(listing, fetched, raw, new, new)
        for split, index in indices.items():
            np.save(new / f"{split}-index.npy", index)
        made = [store.hash_file(new, f"{split}-index.npy") for split in indices]
        return Manifest(dataset.name, listing.source, kept, [*kept, *made], rows, mismatch, dict(dataset.columns))
    phase(dataset.name, "preparing", sum(rows.values()))
    histograms: dict[str, Any] = {}
    for split, paths in by_split.items():
        if unsplit:
            content = archives.read_members(unsplit[0], dataset.archive.records[split] if dataset.archive else ())
            histograms[split] = image_arrays.write_cifar_arrays(dataset, split, rows[split], content, new, step)
        elif dataset.form == "images":
            histograms[split] = image_arrays.write_image_arrays(dataset, split, rows[split], paths, new, step)
        else:
            text_tables.write_arrow_table(dataset, split, paths, new, step)
    statistics = image_arrays.channel_statistics(histograms["train"]) if histograms else {}
    prepared = [store.hash_file(new, path.name) for path in sorted(new.iterdir())]
    sources = [fetched[file.path] for file in listing.files]
    return Manifest(dataset.name, listing.source, sources, prepared, rows, mismatch, dict(dataset.columns), statistics)


def _as_it_is(dataset: DatasetInfo, listing: Listing, fetched: dict[str, StoredFile], raw: Path, new: Path) -> Manifest:
    """Any repository of the hub: nothing of it is counted or converted."""
    # whoever lists the folder, such as `datasets`, passes over hidden ones
    kept = _kept(listing, fetched, raw, new, new / HIDDEN_SEALS)
    return Manifest(dataset.place, listing.source, kept, kept, {})


def _kept(listing: Listing, fetched: dict[str, StoredFile], raw: Path, new: Path, seals: Path) -> list[StoredFile]:
    """Take the files from `raw` to `new`, and their seals, by which a repair knows them, to the folder `seals`."""
    for file in listing.files:
        for folder, path in ((new, file.path), (seals, f"{file.path}.seal")):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_move(raw / path, target)
    return [fetched[file.path] for file in listing.files]


def prepare_splits_again(
    dataset: DatasetInfo,
    listing: Listing,
    known: Manifest,
    splits: list[str],
    raw: Path,
    folder: Path,
    new: Path,
    phase: Phase,
    step: Step,
) -> Manifest:
    """Prepare `splits` again from the files in `raw`, and link the files of all other splits from `folder`.

    Raises:
        DlkitError: a file is damaged.
    """
    phase(dataset.name, "preparing", sum(known.splits[split] for split in splits))
    for split in splits:
        paths = [raw / file.path for file in listing.files if file.split == split]
        if dataset.form == "images":
            image_arrays.write_image_arrays(dataset, split, known.splits[split], paths, new, step)
        else:
            text_tables.write_arrow_table(dataset, split, paths, new, step)
    made = {path.name for path in new.iterdir()}
    for file in known.files:
        if file.path not in made:
            link_or_move(folder / file.path, new / file.path)
    files = [store.hash_file(new, file.path) if file.path in made else file for file in known.files]
    return replace(known, files=files)


def link_or_move(path: Path, target: Path) -> None:
    """Hard-link a file, so that a kill in between loses neither name; rename it where links are not supported."""
    try:
        os.link(path, target)
    except OSError:
        path.rename(target)


def _indexed(paths: list[Path], step: Step) -> NDArray[Any]:
    """The index of all archives of a split."""
    shards: list[NDArray[Any]] = []
    for shard, path in enumerate(paths):
        shards.append(archives.index_shard(path, shard))
        step(1)
    return np.concatenate(shards)


def check_row_counts(
    dataset: DatasetInfo, wanted: dict[str, int], rows: dict[str, int], allow: bool
) -> dict[str, dict[str, int]]:
    """Splits whose row counts are not the published ones. Raises DlkitError if there are any, unless `allow` is set."""
    mismatch = {
        split: {"published": published, "found": rows[split]}
        for split, published in wanted.items()
        if rows[split] != published
    }
    if mismatch and not allow:
        details = ", ".join(
            f"{s} has {m['found']:,} rows, {m['published']:,} are published" for s, m in mismatch.items()
        )
        raise DlkitError(
            f"this is not the published {dataset.name}: {details}",
            "`allow_mismatch` takes it anyway, and every run will say so",
        )
    return mismatch
