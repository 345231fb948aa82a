"""Whether a name of the Hub is a data set or a model: by its prefix, by what is here, or by asking the Hub."""

from __future__ import annotations

from dlkit.data import store
from dlkit.data.registry import DatasetInfo, repository_info
from dlkit.download.hub import hub_endpoint
from dlkit.download.request import DownloadRequest, Reporter
from dlkit.download.sources import hub_has, web_errors
from dlkit.errors import DlkitError, RequestError
from dlkit.hub_reference import HubReference


def find_repository(
    reference: HubReference, request: DownloadRequest, reporter: Reporter, include: tuple[str, ...] = ()
) -> DatasetInfo:
    """The repository that a name means, of which only the files of some patterns are taken, if any are given.

    Raises:
        RequestError: it is a data set and a model.
        DlkitError: there is neither, or the Hub cannot be asked.
    """
    if reference.kind is not None:
        return repository_info(reference, include)
    both = [repository_info(reference.of("datasets"), include), repository_info(reference.of("models"), include)]
    here = [info for info in both if store.find_manifest(info.place, request.root)]
    if len(here) == 1:
        return here[0]
    if request.offline and request.directory is None:
        raise DlkitError(f"offline, and {reference.name} is not here", "unset HF_HUB_OFFLINE")
    found: list[DatasetInfo] = []
    for info in both:
        with web_errors(info, request):
            if hub_has(info, request, reporter):
                found.append(info)
    place = request.directory or hub_endpoint(request.mirror)
    if not found:
        raise DlkitError(
            f"{place} has no data set and no model {reference.name}",
            "is it spelled correctly? if it is private, set HF_TOKEN",
        )
    if len(found) > 1:
        names = " or ".join(info.name for info in found)
        raise RequestError(f"{reference.name} is a data set and a model", f"say which one: dlkit download {names}")
    return found[0]
