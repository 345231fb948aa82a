"""What a finished race comes to: records, table, notes, figures and a page. Free of torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.app.race_grid import parse_target
from dlkit.errors import RequestError
from dlkit.storage.atomic_file import write_text
from dlkit.storage.run_reference import RECIPE, SUMMARY
from dlkit.storage.sweep_files import PAGE
from dlkit.strict_json import finite
from dlkit.sweep import figures, provenance, report, trajectories, tunability
from dlkit.sweep.summary import rank_optimizers
from dlkit.sweep.trials import TrialResult

if TYPE_CHECKING:
    from dlkit.app.finished_race import FinishedRace


class RaceReport:
    """The optimizers of a race, ranked.

    Args:
        race: whose runs have finished.

    Raises:
        RequestError: the runs have no metric of its target.
    """

    def __init__(self, race: FinishedRace) -> None:
        self.title, self.metric, self.outcomes = race.title, race.metric, race.outcomes
        self.exact, self.surface = race.exact, race.surface
        self.summaries, self.pairs, self.conclusion = race.summaries, race.pairs, race.conclusion
        losses = (o.loss if self.metric == "loss" else o.metrics.get(self.metric, math.inf)
                  for o in self.outcomes if not o.diverged)  # fmt: skip
        worst = max(filter(math.isfinite, losses), default=math.inf)
        self.records = tunability.optimizer_records(self.summaries, self.outcomes, self.metric, worst)
        self.repeated = self.records[0]["seeds"] > 1  # or there is one run of each setting, and no interval
        self.target = self._steps_to(race.target) if race.target else None

    def _steps_to(self, target: str) -> str:
        """Add the steps to the target to each record; returns the target in words."""
        name, value = parse_target(target)
        known = sorted({key for o in self.outcomes for _, metrics in o.curve for key in metrics})
        full = next((key for key in known if key == name or key.rpartition("/")[2] == name), None)
        if full is None and not all(o.diverged for o in self.outcomes):
            raise RequestError(f"`target` {target}: the runs have no metric {name!r}", f"they have {', '.join(known)}")
        full = full or name  # a run that diverged at once has measured nothing
        for record, summary in zip(self.records, rank_optimizers(self.summaries), strict=True):
            mine = summary.best_outcomes(self.outcomes)
            steps = tunability.steps_to(mine, full, value, full.endswith("accuracy"))
            # the time that a run takes in this race is spread evenly over its steps
            seconds = [s * o.seconds_share / max(o.steps, 1) for s, o in zip(steps, mine, strict=True)]
            record["target"] = f"{full}={value:g}"
            record["target_reached"] = sum(math.isfinite(step) for step in steps)
            record["steps_to_target"] = _middle(steps)
            record["seconds_to_target"] = _middle(seconds)
        return f"{full}={value:g}"

    def verdict_record(self) -> dict[str, Any]:
        """Who won, who ties, and the interval of each difference."""
        return {
            "kind": "verdict",
            "race": self.title,
            "metric": self.metric,
            "winner": self.conclusion.winner,
            "tied": self.conclusion.tied,
            "basis": self.conclusion.basis,
            "edges": self.conclusion.edges,
            "pairs": [
                {
                    "a": p.a,
                    "b": p.b,
                    "difference": p.difference,
                    "low": None if self.exact else p.low,  # one run each has no interval
                    "high": None if self.exact else p.high,
                    "separated": p.separated,
                }
                for p in self.pairs
            ],
            "text": self.conclusion.text,
        }

    def best_runs(self) -> list[TrialResult]:
        """One run of each optimizer at its best learning rate."""
        return [outcome for s in self.summaries for outcome in s.best_outcomes(self.outcomes)[:1]]

    def notes(self) -> list[str]:
        """What to know of the best settings beside their losses."""
        notes: list[str] = []
        for record in self.records:
            name = record["optimizer"]
            if record["at_edge"]:
                notes.append(f"{name} is best at the edge of its grid, lr {record['lr']:.3g}: widen `lr`")
            for option, end in record.get("option_edges", {}).items():
                which = "least" if end == "low" else "largest"
                value = record["options"][option]
                notes.append(
                    f"{name} is best at the {which} {option} tried, {value:.10g}: a wider `search` may do better"
                )
        return notes

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The table: its columns, and a row for each optimizer."""
        searched, repeated = any(s.searched for s in self.summaries), self.repeated
        columns = [
            "optimizer",
            "best lr",
            self.metric if repeated else f"{self.metric} of one run",
            *(("95 % interval",) if repeated else ()),
            *(() if searched else ("decades",)),
            "diverged",
        ]
        columns += [f"steps, s to\n{self.target}"] if self.target else []
        columns += ["options"] if searched else []
        rows: list[list[str]] = []
        for r in self.records:
            lr = "-" if r["lr"] is None else f"{r['lr']:.3g}" + ("*" if r["at_edge"] else "")
            bounds = f"{r['low']:.3g} to {r['high']:.3g}" if math.isfinite(r["mean"]) else "-"
            row = [
                r["optimizer"],
                lr,
                f"{r['mean']:.4g}" if math.isfinite(r["mean"]) else "-",
                *((bounds,) if repeated else ()),
                *(() if searched else (f"{r['basin_decades']:.2f}",)),
                f"{r['diverged']}/{r['runs']}",
            ]
            if self.target:
                reached = math.isfinite(r["steps_to_target"])
                row.append(f"{r['steps_to_target']:g}, {r['seconds_to_target']:.2g}" if reached else "never")
            if searched:
                row.append("\n".join(f"{name} {value:.10g}" for name, value in r.get("options", {}).items()))
            rows.append(row)
        return columns, rows

    def grid(self) -> report.ReportTable | None:
        """The loss of every optimizer at every learning rate; None where trials differ in other options, too."""
        if any(summary.searched for summary in self.summaries):
            return None
        tried = {s.optimizer: dict(zip(s.lrs, s.losses.mean(1).tolist(), strict=True)) for s in self.summaries}
        lrs = sorted({lr for losses in tried.values() for lr in losses})
        rows = [[f"{lr:.3g}", *(_loss(losses, lr) for losses in tried.values())] for lr in lrs]
        seeds = sorted({outcome.trial.seed for outcome in self.outcomes})
        of = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
        mean = "mean " if len(seeds) > 1 else ""
        return report.ReportTable(f"{mean}{self.metric} at each learning rate, {of}", ["lr", *tried], rows)

    def write(self, folder: Path) -> None:
        """Write the summary, the figures and the page into the folder of the race."""
        drawn = {folder / f"{name}.svg": caption for name, caption in _CAPTIONS.items()}
        sensitivity, curves, tuning = drawn
        figures.draw_sensitivity(sensitivity, self.summaries, self.metric, self.title)
        figures.draw_curves(curves, self.summaries, self.outcomes, self.metric, self.title)
        figures.draw_tuning_effort(tuning, self.records, self.metric, self.title)
        notes = self.notes()
        if any(record["profile"] for record in self.records):
            profile = folder / "profile.svg"
            drawn[profile] = _PROFILE
            figures.draw_performance_profile(profile, self.records, self.metric, self.title)
        else:
            notes.append("No performance profile: a loss is not above 0, and ratios to it say nothing.")
        if self.surface is not None:
            surface = folder / "surface.svg"
            drawn = {surface: _PATHS, **drawn}
            trajectories.draw_trajectories(surface, self.surface, self.best_runs(), self.title)
        summary = {"optimizers": self.records, "verdict": self.verdict_record()}
        text = json.dumps(finite(summary), indent=1, allow_nan=False)
        write_text(folder / SUMMARY, text + "\n")
        caption = "Each optimizer at its best learning rate; * marks the edge of what was tried."
        recipe = folder / RECIPE
        report.write_report(
            folder / PAGE, f"Optimizers on {self.title}", self.conclusion.text,
            report.ReportTable(caption, *self.rows()), list(drawn.items()), notes, self.grid(),
            provenance.provenance_rows(folder), recipe.read_text(encoding="utf-8") if recipe.exists() else "",
        )  # fmt: skip


_CAPTIONS = {
    "sensitivity": "The final loss at each learning rate: the mean over seeds, and a band from the best to the worst. "
    "A wide valley is easy to tune; a gap is a rate at which a run diverged.",
    "curves": "The loss over the steps, each optimizer at its best setting: the mean over seeds, and a band that is "
    "its 95 % interval.",
    "tuning": "What tuning costs: the best loss to expect after so many settings drawn at random from those tried "
    "(Dodge et al. 2019).",
}
_PROFILE = (
    "The share of seeds at which an optimizer is within a factor of the best one there: the higher and the further to "
    "the left, the better (Dolan & Moré 2002)."
)
_PATHS = "The path of each optimizer from the start, at its best learning rate, over the contours of the surface."


def _loss(losses: dict[float, float], lr: float) -> str:
    """What a learning rate came to; one of the grid that an optimizer has not tried is empty."""
    if lr not in losses:
        return ""
    return f"{losses[lr]:.4g}" if math.isfinite(losses[lr]) else "diverged"


def _middle(values: list[float]) -> float:
    """The upper median; inf of nothing."""
    return sorted(values)[len(values) // 2] if values else math.inf
