"""`dlkit download`: fetch, verify and prepare data sets. The only command that uses the network."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit import memory
from dlkit.cli import completion
from dlkit.cli.console import Output, note
from dlkit.cli.options import DataDir, Json, Quiet
from dlkit.cli.signals import GracefulStop
from dlkit.data import registry, store
from dlkit.data.data_folder import data_folder
from dlkit.data.registry import DatasetInfo
from dlkit.errors import RequestError
from dlkit.hub_reference import PREFIX, HubReference, Kind, hub_reference

if TYPE_CHECKING:
    from dlkit.data.store import Manifest
    from dlkit.download.request import DownloadRequest


def download_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...",
            help="Data sets (--list), or hf:OWNER/NAME[@REVISION].",
            autocompletion=completion.data_sets,
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List what there is and what is here; no network.")] = False,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL|DIR", help="Another hub, or a directory in the hub's layout.")
    ] = None,
    own: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Your own copy of ImageNet: its archives or folders.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check every byte of what is here, and repair it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Fetch even what is here.")] = False,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Accept row counts that differ from the published ones.")
    ] = False,
    include: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Of hf:OWNER/NAME only these files: 'data/train-0000*'.")
    ] = None,
    data_dir: DataDir = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, max=32, help="Files at once.")] = 4,
    retries: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="Give up after so many tries in a row that bring nothing.")
    ] = 5,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Give up on a connection that is silent for so long.")
    ] = 20.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download data sets, and repositories of the Hugging Face Hub: resumed, verified, prepared.

    Prints a record for each; -q prints its path. Ctrl-C and kills lose nothing: give the command again.

    \b
    Examples:
      dlkit download --list
      dlkit download cifar10 sst2
      dlkit download hf:stanfordnlp/imdb
      dlkit download hf:HuggingFaceFW/fineweb --include 'sample/10BT/00*'
      dlkit import hf:$(dlkit download -q hf:google-bert/bert-base-uncased)
      dlkit download glue/cola --mirror https://hub.example.org
      HF_TOKEN=... dlkit download imagenet1k --data-dir /data
      dlkit download cifar10 --verify
    """
    output = Output(as_json, quiet)
    if show:
        _list(output)
        return
    if not names:
        raise RequestError("which data set?", "`dlkit download --list` shows them all")
    wanted = list(dict.fromkeys(found for name in names for found in _named(name)))
    _check(mirror, own, wanted)
    chosen = tuple(include or ())
    if chosen and any(isinstance(named, DatasetInfo) for named in wanted):
        raise RequestError("--include is for hf:OWNER/NAME", "the data sets of the catalog are fetched whole")

    from dlkit.cli.download.view import DownloadView
    from dlkit.download import hub
    from dlkit.download.request import DownloadRequest
    from dlkit.download.retries import CancelledError, RetryPolicy

    halt = threading.Event()
    request = DownloadRequest(
        data_folder(),
        mirror,
        verify,
        force,
        allow_mismatch,
        hub.hub_is_offline(),
        jobs,
        RetryPolicy(retries, timeout),
        halt,
        own,
    )
    held: list[dict[str, Any]] = []  # printed at the end: the reader of a pipe may stop before all are there
    try:
        with (
            GracefulStop("stopping; what has arrived is kept, once more stops at once", halt.set) as stop,
            DownloadView(output.console(), output.say) as view,
        ):
            for named in wanted:
                try:
                    record = _obtain(named, request, view, chosen)
                except CancelledError:
                    note(f"stopped; give the command again to go on with {_shown(named)}")
                    raise typer.Exit(128 + (stop.requested or 2)) from None
                view.clear()
                if output.tables:
                    output.emit(record, None, lambda record=record: _table(record))
                else:
                    held.append(record)
    finally:
        for record in held:
            output.emit(record, record["path"], lambda: None)


def _named(name: str) -> list[DatasetInfo] | list[HubReference]:
    """The data sets of the catalog, or the repository of the Hub, that a name stands for."""
    if not name.startswith(PREFIX):
        return registry.datasets_named(name)
    reference = hub_reference(name)
    if reference is None:
        raise RequestError(f"{name} names no repository of the Hub", "give hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    return [reference]


def _shown(named: DatasetInfo | HubReference) -> str:
    return named.name if isinstance(named, DatasetInfo) else str(named)


def _check(mirror: str | None, own: Path | None, wanted: list[DatasetInfo | HubReference]) -> None:
    if mirror is not None and "://" in mirror and not mirror.startswith(("http://", "https://")):
        raise RequestError(f"--mirror {mirror}: not a web address", "give http(s)://... or a directory")
    if mirror is not None and "://" not in mirror and not Path(mirror).expanduser().is_dir():
        raise RequestError(f"--mirror {mirror}: no such directory", "give http(s)://... or an existing directory")
    if own is not None and list(map(_shown, wanted)) != ["imagenet1k"]:
        raise RequestError("--from is for imagenet1k alone", "dlkit download imagenet1k --from DIR")
    if own is not None and not own.is_dir():
        raise RequestError(f"--from {own}: no such directory", "give the folder of the archives, or of train/ and val/")


def _obtain(
    named: DatasetInfo | HubReference, request: DownloadRequest, view: Any, include: tuple[str, ...]
) -> dict[str, Any]:
    from dlkit.download import hub_kind, obtain_dataset

    if isinstance(named, HubReference):
        cached = _in_hub_cache(named) if request.offline else None
        if cached is not None:
            return cached
        dataset = hub_kind.find_repository(named, request, view, include)
    else:
        dataset = named
    if dataset.form == "embedded":
        return _embedded(dataset)
    result = obtain_dataset.obtain_dataset(dataset, request, view)
    record = _record(dataset, result.path, result.manifest, result.status)
    record |= {"source": result.manifest.source}
    if "left_out" in result.manifest.source:
        record["left_out"] = result.manifest.source["left_out"]
    if result.manifest.mismatch:
        record["mismatch"] = result.manifest.mismatch
    if request.verify:
        record |= {"verified": True, "repaired": result.repaired}
    return record


def _in_hub_cache(reference: HubReference) -> dict[str, Any] | None:
    """The record of what `huggingface_hub` has in its cache, where the network is forbidden."""
    from dlkit.data.hub.place import in_hub_cache

    kinds: tuple[Kind, ...] = (reference.kind,) if reference.kind else ("datasets", "models")
    for kind in kinds:
        found = in_hub_cache(reference.of(kind))
        if found is not None and store.find_manifest(reference.of(kind).folder) is None:
            sizes = sum(file.stat().st_size for file in found.folder.rglob("*") if file.is_file())
            place = {"kind": "cache", "commit": found.commit}
            facts: dict[str, Any] = {"name": str(reference.of(kind)), "path": str(found.folder), "splits": {}}
            return {**facts, "bytes": sizes, "sha256": None, "status": "present", "source": place}
    return None


def _embedded(dataset: DatasetInfo) -> dict[str, Any]:
    from dlkit.download import embedded

    return _record(dataset, *embedded.find_embedded(dataset.name), "built")


def _record(dataset: DatasetInfo, path: Path, manifest: Manifest, status: str) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "path": str(path),
        "splits": manifest.splits,
        "bytes": manifest.size,
        "sha256": manifest.sha256,
        "status": status,
    }


def _table(record: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    rows = ", ".join(f"{split} {rows:,}" for split, rows in record["splits"].items())
    facts = [("data set", f"{record['name']}  {record['status']}"), ("path", record["path"])]
    facts += [("rows", rows)] if rows else []
    facts.append(("size", memory.size_text(record["bytes"])))
    if record.get("repaired"):
        facts.append(("repaired", ", ".join(record["repaired"])))
    if record.get("mismatch"):
        facts.append(
            ("mismatch", ", ".join(f"{s}: {m['published']:,} published" for s, m in record["mismatch"].items()))
        )
    for name, value in facts:
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def _list(output: Output) -> None:
    records = [_listed(dataset) for dataset in registry.DATASETS.values()]
    if output.tables:
        output.emit({}, None, lambda: _list_table(records))
        return
    for record in records:
        output.emit(record, record["name"], lambda: None)


def _listed(dataset: DatasetInfo) -> dict[str, Any]:
    if dataset.form == "embedded":
        from dlkit.download import embedded

        path = embedded.embedded_file(dataset.name)
        present, size = path is not None, path.stat().st_size if path else 0
    else:
        manifest = store.find_manifest(dataset.name)
        path, present = store.dataset_folder(dataset.name), manifest is not None
        size = manifest.size if manifest else dataset.size
    return {
        "name": dataset.name,
        "summary": dataset.help,
        "task": dataset.task,
        "splits": dataset.rows,
        "bytes": size,
        "exact": present or dataset.exact_size,
        "licence": dataset.licence,
        "source": dataset.source,
        "gated": dataset.gated,
        "present": present,
        "path": str(path) if path else None,
    }


def _list_table(records: list[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("data set", "here", "rows", "size", "licence", "source", "what", box=None, pad_edge=False)
    for column in (2, 3):
        table.columns[column].justify = "right"
    for record in records:
        rows = sum(record["splits"].values())
        table.add_row(
            Text(record["name"], style="bold"),
            "yes" if record["present"] else "",
            f"{rows:,}" if rows else "",
            ("" if record["exact"] else "~") + memory.size_text(record["bytes"]),
            record["licence"] + (", token" if record["gated"] else ""),
            record["source"],
            f"{record['task']}: {record['summary']}",
        )
    return table
