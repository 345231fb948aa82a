"""What a layer makes of each input, as a vector: `dlkit predict --features`."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from dlkit.app.output_columns import free_name, typed_column
from dlkit.app.prediction import Prediction
from dlkit.app.predictor import Predictor
from dlkit.data.batch import Batch
from dlkit.distributed.process_group import current_world
from dlkit.errors import DlkitError, RequestError
from dlkit.storage.atomic_file import atomic_file

PENULTIMATE = "penultimate"


@dataclass(frozen=True)
class InputFeatures:
    """The features of one input, (D,) float32; `error` says why there are none."""

    input: str | dict[str, Any]
    features: NDArray[np.float32] | None
    error: str | None = None


class LayerFeatures:
    """The output of a layer for each input: averaged over rows and columns of images, or over the tokens of a text.

    Args:
        predictor: an opened model.
        layer: the name of a module; `penultimate` is what goes into the last layer.

    Raises:
        RequestError: there is no such layer.
    """

    def __init__(self, predictor: Predictor, layer: str) -> None:
        self.predictor = predictor
        modules = dict(predictor.trained.model.named_modules())
        self.before = layer == PENULTIMATE and layer not in modules
        name = _last_layer(modules, max(1, len(predictor.classes))) if self.before else layer
        if not name or name not in modules:
            near = get_close_matches(layer, filter(None, modules), n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            first = [key for key in modules if key and "." not in key]
            raise RequestError(
                f"the model has no layer {layer!r}{guess}", f"`features` takes {PENULTIMATE}, {', '.join(first)}, ..."
            )
        self.layer, self._module = layer, modules[name]

    def vectors(self, inputs: Iterable[Any]) -> Iterator[InputFeatures]:
        """The features of each input, in their order; None among them says that the next one is not there yet."""
        for item, vector, error in self.predictor.each(inputs, lambda batch: self._of(batch).cpu().numpy()):
            yield InputFeatures(item, vector, error)

    def _of(self, batch: Batch) -> Tensor:
        """(n, D) float32."""
        with self._caught() as caught:
            self.predictor.answers(batch)
        if not caught:
            raise RequestError(f"the layer {self.layer!r} takes no part in a prediction", "choose another layer")
        values = caught[-1].float()
        mask = getattr(batch, "attention_mask", None)
        if values.dim() == 4:
            values = values.mean((2, 3))  # (n, C, H, W) to (n, C)
        elif values.dim() == 3 and mask is not None and mask.shape == values.shape[:2]:
            real = mask[..., None]  # (n, T, 1)
            values = (values * real).sum(1) / real.sum(1)  # (n, T, D) to (n, D), without padding
        return values.flatten(1)

    @contextmanager
    def _caught(self) -> Generator[list[Tensor]]:
        """What the layer puts out in the block, or what goes into it."""
        caught: list[Tensor] = []

        def catch(_: nn.Module, given: tuple[Any, ...], put_out: Any) -> None:
            value = given[0] if self.before else put_out[0] if isinstance(put_out, tuple) else put_out
            caught.append(value)

        hook = self._module.register_forward_hook(catch)
        try:
            yield caught
        finally:
            hook.remove()


def _last_layer(modules: dict[str, nn.Module], outputs: int) -> str:
    """The name of the last module with a matrix of a row for each output."""
    found = ""
    for name, module in modules.items():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() == 2 and len(weight) == outputs:
            found = name
    return found


def write_vectors(features: Iterable[InputFeatures], path: Path) -> tuple[int, int, list[Prediction]]:
    """Write features to .npy, (N, D) float32 with NaN where there are none, or to .parquet beside their inputs.
    Of the ranks of a job the first one writes it.

    Returns N, D, and the inputs that have none.

    Raises:
        DlkitError: no input has features, or the file cannot be written.
    """
    kind = path.suffix.lower()
    rows: list[NDArray[np.float32] | None] = []
    inputs: list[dict[str, Any]] = []
    failed: dict[int, Prediction] = {}
    for position, one in enumerate(features):
        rows.append(one.features)
        if one.error is not None:
            failed[position] = Prediction(one.input, error=one.error)
        if kind == ".parquet":
            inputs.append(one.input if isinstance(one.input, dict) else {"input": one.input})
    width = next((len(row) for row in rows if row is not None), None)
    if width is None:
        first = f"; the first: {failed[0].error}" if failed else ""
        raise DlkitError(f"none of {len(rows)} inputs has features{first}", "are they what the run reads?")
    values = np.full((len(rows), width), np.nan, np.float32)
    for position, row in enumerate(rows):
        if row is not None:
            values[position] = row
    if current_world().first:
        with atomic_file(path) as file:
            if kind == ".npy":
                np.save(file, values)
            else:
                _write_parquet(file, inputs, values, failed)
    return len(rows), width, list(failed.values())


def _write_parquet(
    file: BinaryIO, inputs: list[dict[str, Any]], values: NDArray[np.float32], failed: dict[int, Prediction]
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    names = list(dict.fromkeys(name for row in inputs for name in row))
    table = {name: typed_column(name, [row.get(name) for row in inputs]) for name in names}
    whole = np.array([position not in failed for position in range(len(inputs))])
    # lists of one length, null where an input has none
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1], mask=pa.array(~whole))
    errors = pa.array([failed[i].error if i in failed else None for i in range(len(inputs))], pa.string())
    for name, column in (("features", vectors), ("error", errors)):
        table[free_name(name, names)] = column
    parquet.write_table(pa.table(table), file)
