"""A model as a graph of torch's own operations, which needs none of its modules: `torch.export`."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from dlkit.errors import DlkitError
from dlkit.export.exportable import Exportable

TOLERANCE = 1e-4  # of the relative difference below: more than the rounding of other kernels means a wrong graph


def trace(exportable: Exportable) -> ExportedProgram:
    """The graph, with its dimensions named. Raises DlkitError where torch cannot express the model."""
    names = {name for axes in exportable.axes.values() for name in axes.values()}
    sizes = {name: Dim(name, max=exportable.limits.get(name)) for name in names}
    shapes = {of: {axis: sizes[name] for axis, name in axes.items()} for of, axes in exportable.axes.items()}
    with said_by_nobody(), torch.no_grad():
        try:
            program = torch.export.export(exportable.graph, (), exportable.examples, dynamic_shapes=shapes)
        except Exception as error:
            raise untraceable(exportable, error) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def untraceable(exportable: Exportable, error: Exception) -> DlkitError:
    """The error of a model that has no graph, such as one with an activation of the user's own."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return DlkitError(
        f"torch cannot write {exportable.path} as a graph: {reason}",
        "a graph holds operations of torch only: look at components of your own",
    )


@contextlib.contextmanager
def said_by_nobody() -> Iterator[None]:
    """Silence what exporters print, log and warn of, which is about themselves."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    nowhere = io.StringIO()
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def other_shape(exportable: Exportable) -> dict[str, Tensor]:
    """Inputs of other sizes than those the model was traced with: one example more, one token fewer."""
    found: dict[str, Tensor] = {}
    for name, value in exportable.examples.items():
        longer = torch.cat([value, value[:1].flip(-1)])
        found[name] = longer[:, :-1] if "sequence" in exportable.axes[name].values() else longer
    return found


@torch.no_grad()
def require_same_answers(exportable: Exportable, inputs: Mapping[str, Tensor], answers: Tensor) -> float:
    """The largest difference of an output from the model's own, in units of the largest logit or of 1.

    The numbers of a regression are compared as the network computes them, standardized.

    Raises DlkitError where it is more than rounding.
    """
    ours = exportable.graph(**inputs)
    mean, deviation = exportable.target
    unit = deviation * max(1.0, (ours - mean).abs().max().item() / deviation)
    difference = (answers - ours).abs().max().item() / unit if ours.shape == answers.shape else float("inf")
    if not difference <= TOLERANCE:
        raise DlkitError(
            f"the exported model answers otherwise than {exportable.path}: "
            f"an output differs by {difference:.2g} of the largest",
            "try another `format`",
        )
    return difference
