"""A data set in the Hub's layout: its configurations, splits and columns, and the rows of each split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlkit.data.hub.hf_datasets import conversion_folder, quiet_library, require_library
from dlkit.data.hub.place import HubPlace, require_hub_place
from dlkit.data.tables.table_file import join_names
from dlkit.errors import DlkitError, RequestError, shell_word
from dlkit.progress import stage

# What the files of a data set may be: others run code or need other libraries.
_KINDS = ("parquet", "arrow", "csv", "json", "text", "imagefolder", "webdataset")
_CARD = "README.md"


@dataclass
class HubData:
    """A data set whose files are here.

    Args:
        place: its folder.
        config: the configuration, None where there is one only.
        features: column -> its feature, as `datasets` has it.
        splits: the names of its splits.
        shards: split -> its Parquet files, in order; None of other files.
    """

    place: HubPlace
    config: str | None
    features: dict[str, Any]
    splits: list[str]
    shards: dict[str, list[str]] | None = None
    _saved: dict[str, Any] = field(default_factory=dict[str, Any])  # split -> rows, of `save_to_disk`

    @property
    def shown(self) -> str:
        """What a message calls it."""
        return f"{self.place.shown} ({self.config})" if self.config else self.place.shown

    def rows(self, columns: Sequence[str]) -> dict[str, Any]:
        """Split -> its rows as a `datasets.Dataset` of these columns, images and classes as they are stored.

        They are mapped into memory. Parquet, CSV and JSON are converted to Arrow once.

        Raises DlkitError where a file is damaged, or a row does not have the columns of the others.
        """
        library = require_library()
        found = self._saved
        if not found:
            with stage(f"reading {self.shown}"), quiet_library(self.shown):
                only = {"columns": list(columns)} if self.shards is not None else {}
                builder = _builder(library, self.place.folder, self.config, **only)
                _prepare(builder, self.place)
                found = dict(builder.as_dataset())
        with quiet_library(self.shown):
            return {
                str(split): _as_stored(library, rows.select_columns(list(columns))) for split, rows in found.items()
            }


def open_hub_data(path: str, config: str | None) -> HubData:
    """Find a data set and read what it says of itself.

    Args:
        path: as `require_hub_place` takes it.
        config: the configuration, where there are several.

    Raises:
        RequestError: there is no such configuration, or dlkit does not read such files.
        DlkitError: it is not here, or what is here is not a data set.
    """
    place = require_hub_place(path)
    library = require_library()
    if (place.folder / "dataset_dict.json").is_file() or (place.folder / "state.json").is_file():
        return _saved_to_disk(library, place, config)
    _refuse_script(place)
    _refuse_addresses(place)
    with quiet_library(place.shown):
        known = library.get_dataset_config_names(str(place.folder))
        default = library.get_dataset_default_config_name(str(place.folder))
    if config is None and default is None and len(known) > 1:
        raise RequestError(
            f"{place.shown} has {len(known)} configurations: {join_names(known)}", f"choose one: data.config={known[0]}"
        )
    if config is not None and config not in known:
        raise RequestError(f"{place.shown} has no configuration {config!r}", f"its configurations: {join_names(known)}")
    with quiet_library(place.shown):
        builder = _builder(library, place.folder, config)
        kind = type(builder).__module__.rpartition(".")[2]
        files: dict[str, list[str]] = {str(name): list(map(str, of)) for name, of in builder.config.data_files.items()}
    if kind not in _KINDS:
        raise RequestError(f"{place.shown}: dlkit does not read files of {kind}", f"it reads {', '.join(_KINDS)}")
    found = HubData(place, config if len(known) > 1 else None, {}, list(files), files if kind == "parquet" else None)
    with quiet_library(place.shown):
        found.features = dict(_features(library, builder, found))
    return found


def _features(library: Any, builder: Any, found: HubData) -> dict[str, Any]:
    """The columns, as the card, the first shard, or the rows say."""
    if builder.info.features is None and found.shards is not None:
        import pyarrow.parquet as pq

        return library.Features.from_arrow_schema(pq.read_schema(next(iter(found.shards.values()))[0]))
    if builder.info.features is None:
        with stage(f"reading {found.shown}"):
            _prepare(builder, found.place)
    return builder.info.features or {}


def _builder(library: Any, folder: Path, config: str | None, **options: Any) -> Any:
    return library.load_dataset_builder(str(folder), config, cache_dir=conversion_folder(), **options)


def _prepare(builder: Any, place: HubPlace) -> None:
    """Convert to Arrow; the rows must be as many as the card says, where all files are here."""
    builder.download_and_prepare(verification_mode="no_checks" if place.include else "basic_checks")


def _as_stored(library: Any, rows: Any) -> Any:
    """Rows whose images are not decoded: dlkit decodes them all in one way."""
    for name, feature in rows.features.items():
        if isinstance(feature, library.Image):
            rows = rows.cast_column(name, library.Image(decode=False))
    return rows.with_format("arrow")


def _saved_to_disk(library: Any, place: HubPlace, config: str | None) -> HubData:
    """What `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    if config is not None:
        raise RequestError(f"{place.shown} has no configurations: save_to_disk wrote it", "leave data.config out")
    with quiet_library(place.shown):
        found = library.load_from_disk(str(place.folder))
    splits = dict(found) if isinstance(found, library.DatasetDict) else {str(found.split or "train"): found}
    if not splits:
        raise DlkitError(f"{place.shown} has no splits")
    first = next(iter(splits.values()))
    return HubData(place, None, dict(first.features), list(splits), None, splits)


def _refuse_script(place: HubPlace) -> None:
    scripts = [file.name for file in sorted(place.folder.glob("*.py"))]
    name = place.shown.rpartition("/")[2]
    if scripts and (f"{name}.py" in scripts or not any(_data_files(place.folder))):
        hint = "data sets are read as files, such as Parquet; no code of a repository ever runs"
        if place.commit:
            reference = shell_word(f"hf:{place.shown}@refs/convert/parquet")
            hint = f"the Hub may have it as Parquet: dlkit download {reference}, then data.path={reference}"
        raise RequestError(f"{place.shown} is made by a script, {scripts[0]}, which dlkit does not run", hint)


def _data_files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix not in (".py", ".md", "") and file.is_file()]


def _refuse_addresses(place: HubPlace) -> None:
    """Raise RequestError if the card names files elsewhere: what is read is here."""
    card = place.folder / _CARD
    if not card.is_file():
        return
    from huggingface_hub import DatasetCard

    with quiet_library(f"{card}"):
        configs = DatasetCard.load(card, ignore_metadata_errors=False).data.to_dict().get("configs") or []
    for text in _texts(configs):
        if "://" in text:
            raise RequestError(
                f"{card}: data_files lie elsewhere, at {text[:100]}", "download them, and name these files"
            )


def _texts(value: Any) -> list[str]:
    """All strings in a value of YAML."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _texts(item)]
