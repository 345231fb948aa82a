"""The page of a review: `dlkit review run --report`."""

from __future__ import annotations

import time
from pathlib import Path

from dlkit.app.review_events import Reviewed


def write_review_report(target: Path, reviewed: Reviewed, device: str) -> None:
    """Write an offline page of a review, with when and on what it was run.

    Args:
        target: the file.
        reviewed: the claims, those of a section beside each other.
        device: as given to `run_review`.
    """
    from dlkit.review.inline_figures import inline_figures
    from dlkit.review.page import write_review_page
    from dlkit.training.device import pick_device
    from dlkit.training.environment import describe_environment

    found = describe_environment(pick_device(device), {})
    hardware = found["gpu"] or f"{found['cores']} cores of {found['processor']}"
    facts = {
        "run": time.strftime("%Y-%m-%d"), "on": hardware, "torch": found["packages"]["torch"], "dlkit": found["dlkit"],
    }  # fmt: skip
    order = list(dict.fromkeys(record["section"] for record in reviewed.records))
    records = sorted(reviewed.records, key=lambda record: order.index(record["section"]))
    write_review_page(target, records, facts, {section: inline_figures(section) for section in order})
