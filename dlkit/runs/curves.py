"""Learning curves of several runs in one figure: a panel for each metric, a colour and dashes for each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError, RequestError
from dlkit.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, SKY, VERMILION, make_panels, save_figure
from dlkit.recipe.check import closest
from dlkit.storage.run_reference import METRICS
from dlkit.strict_json import parse_json
from dlkit.text_input import ordinary_file

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, BLACK)
_STYLES = ("-", "--", ":", "-.")  # a run beneath another shows through its gaps
_SPLITS = ("train", "val", "test")
_DRAWN = ("loss", "accuracy")
_LONGEST = 52  # characters of a run in the legend
_THIN: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.55}  # training
_THICK: dict[str, Any] = {"linewidth": 1.6, "marker": "o", "markersize": 3}  # an evaluation is a dot

Records = list[dict[str, Any]]


def plot_runs(paths: Sequence[Path], target: Path, metrics: Sequence[str] = ()) -> list[str]:
    """Draw runs over each other; returns the metrics drawn.

    Of a metric such as `accuracy` training is a thin line, and the split that was evaluated meanwhile a thick one with
    a dot for each evaluation; `val/accuracy` draws one split, `lr` the learning rate.

    Args:
        paths: directories of runs.
        target: an SVG, PNG or PDF file.
        metrics: empty for the loss and the accuracy, as far as the runs have them.

    Raises:
        RequestError: no run has such a metric.
        DlkitError: the records of a run cannot be read.
    """
    records = [list(_records(path)) for path in paths]
    known = {name for lines in records for line in lines for name in line if name == "lr" or "/" in name}
    names = {name.rpartition("/")[2] for name in known}
    for metric in metrics:
        if metric not in known | names:
            raise RequestError(
                f"`metric`: no run has {metric!r}{closest(metric, known | names)}",
                f"these runs have {', '.join(sorted(known))}" if known else "they have not logged a step yet",
            )
    chosen = list(dict.fromkeys(metrics)) or [name for name in _DRAWN if name in names]
    if not chosen:
        raise DlkitError("these runs have no loss and no accuracy to draw yet", "dlkit train RUN --resume goes on")
    labels = _labels(paths)
    figure, axes = make_panels(5.8, 2.7 * len(chosen) + 0.6 + 0.2 * len(labels), rows=len(chosen), share_x=True)
    for axis, metric in zip(axes, chosen, strict=True):
        for index, lines in enumerate(records):
            _draw_run(axis, lines, metric, index)
        axis.set_ylabel({"lr": "learning rate"}.get(metric, metric))
    axes[-1].set_xlabel("step")
    grey = {"color": "#777777"}
    kinds = [
        axes[0].plot([], [], label="training", **grey, **_THIN)[0],
        axes[0].plot([], [], label="evaluation", **grey, **_THICK)[0],
    ]
    handles = [axes[0].plot([], [], **_style(index), label=name)[0] for index, name in enumerate(labels)]
    figure.legend(
        handles=[*handles, *kinds],
        loc="outside lower center",
        ncols=1 if max(map(len, labels)) > 24 else 2,
        frameon=False,
    )
    save_figure(figure, target)
    return chosen


def _records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = ordinary_file(path / METRICS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DlkitError(f"cannot read {path / METRICS}: {error}", "a run has it from its first step on") from error
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_json(line)
        except ValueError:
            record = None
        if is_mapping(record) and "step" in record:
            yield record
        elif number < len(lines):  # the last line may be half written
            raise DlkitError(f"damaged: {path / METRICS}:{number} is not a record", "restore it from a copy")


def _draw_run(axis: Any, records: Records, metric: str, index: int) -> None:
    for name in [metric] if metric == "lr" or "/" in metric else [f"{split}/{metric}" for split in _SPLITS]:
        points = [(line["step"], line[name]) for line in records if line.get(name) is not None]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        if name.startswith("train/") or name == "lr":
            axis.plot(steps, values, **_style(index), **_THIN)
        else:
            axis.plot(steps, values, **_style(index), **_THICK)


def _style(index: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "linestyle": _STYLES[index % len(_STYLES)],
    }


def _labels(paths: Sequence[Path]) -> list[str]:
    """The names of runs, or their paths where two have one name; of a long one the end."""
    names = [path.resolve().name for path in paths]
    names = names if len(set(names)) == len(names) else [str(path) for path in paths]
    return [name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}" for name in names]
