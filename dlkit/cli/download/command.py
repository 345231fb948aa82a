"""`dlkit download`: fetch, verify and prepare data sets. The only command that uses the network."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit.cli import completion
from dlkit.cli.console import Output, note
from dlkit.cli.options import DataDir, Json, Quiet
from dlkit.cli.signals import GracefulStop
from dlkit.data import registry, store
from dlkit.data.folder import data_folder
from dlkit.data.registry import DataSet
from dlkit.errors import RequestError

if TYPE_CHECKING:
    from dlkit.data.store import Manifest
    from dlkit.download.order import Order


def download_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Data sets; --list shows them.", autocompletion=completion.data_sets),
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
        bool, typer.Option("--allow-mismatch", help="Accept other numbers of rows than the published ones.")
    ] = False,
    data_dir: DataDir = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, max=32, help="Files at once.")] = 4,
    retries: Annotated[int, typer.Option(metavar="N", min=0, max=1000, help="Tries in a row that bring nothing.")] = 5,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Longest silence of the network.")] = 20.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download data sets: resumed, verified, prepared.

    Prints a record for each; -q prints its path. Ctrl-C and kills lose nothing: give the command again.

    \b
    Examples:
      dlkit download --list
      dlkit download cifar10 sst2
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
    wanted = list(dict.fromkeys(dataset for name in names for dataset in registry.named(name)))
    _check(mirror, own, wanted)

    from dlkit.cli.download.view import DownloadView
    from dlkit.download import hub
    from dlkit.download.order import Order
    from dlkit.download.transfer import CancelledError, Patience

    halt = threading.Event()
    order = Order(
        data_folder(), mirror, verify, force, allow_mismatch, hub.offline(), jobs, Patience(retries, timeout), halt, own
    )
    held: list[dict[str, Any]] = []  # whoever reads a pipe may stop before all of them are there
    try:
        with (
            GracefulStop("stopping; what has arrived is kept, once more stops at once", halt.set) as stop,
            DownloadView(output.console(), output.say) as view,
        ):
            for dataset in wanted:
                try:
                    record = _embedded(dataset) if dataset.form == "embedded" else _obtain(dataset, order, view)
                except CancelledError:
                    note(f"stopped; give the command again to go on with {dataset.name}")
                    raise typer.Exit(128 + (stop.requested or 2)) from None
                view.clear()
                if output.tables:
                    output.emit(record, None, lambda record=record: _table(record))
                else:
                    held.append(record)
    finally:
        for record in held:
            output.emit(record, record["path"], lambda: None)


def _check(mirror: str | None, own: Path | None, wanted: list[DataSet]) -> None:
    if mirror is not None and "://" in mirror and not mirror.startswith(("http://", "https://")):
        raise RequestError(f"--mirror {mirror}: not a web address", "give http(s)://... or a directory")
    if mirror is not None and "://" not in mirror and not Path(mirror).expanduser().is_dir():
        raise RequestError(f"--mirror {mirror}: no such directory", "give http(s)://... or an existing directory")
    if own is not None and [dataset.name for dataset in wanted] != ["imagenet1k"]:
        raise RequestError("--from is for imagenet1k alone", "dlkit download imagenet1k --from DIR")
    if own is not None and not own.is_dir():
        raise RequestError(f"--from {own}: no such directory", "give the folder of the archives, or of train/ and val/")


def _obtain(dataset: DataSet, order: Order, view: Any) -> dict[str, Any]:
    from dlkit.download import job

    outcome = job.obtain(dataset, order, view)
    record = _record(dataset, outcome.path, outcome.manifest, outcome.status)
    record |= {"source": outcome.manifest.source}
    if "left_out" in outcome.manifest.source:
        record["left_out"] = outcome.manifest.source["left_out"]
    if outcome.manifest.mismatch:
        record["mismatch"] = outcome.manifest.mismatch
    if order.verify:
        record |= {"verified": True, "repaired": outcome.repaired}
    return record


def _embedded(dataset: DataSet) -> dict[str, Any]:
    from dlkit.download import embedded

    return _record(dataset, *embedded.find(dataset.name), "built")


def _record(dataset: DataSet, path: Path, manifest: Manifest, status: str) -> dict[str, Any]:
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
    facts = [("data set", f"{record['name']}  {record['status']}"), ("path", record["path"]), ("rows", rows)]
    facts.append(("size", registry.size_text(record["bytes"])))
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
    records = [_listed(dataset) for dataset in registry.SETS.values()]
    if output.tables:
        output.emit({}, None, lambda: _list_table(records))
        return
    for record in records:
        output.emit(record, record["name"], lambda: None)


def _listed(dataset: DataSet) -> dict[str, Any]:
    if dataset.form == "embedded":
        from dlkit.download import embedded

        path = embedded.place(dataset.name)
        present, size = path is not None, path.stat().st_size if path else 0
    else:
        manifest = store.find(dataset.name)
        path, present = store.folder(dataset.name), manifest is not None
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
            ("" if record["exact"] else "~") + registry.size_text(record["bytes"]),
            record["licence"] + (", token" if record["gated"] else ""),
            record["source"],
            f"{record['task']}: {record['summary']}",
        )
    return table
