"""What a config.json of timm says of images, against the transform that timm itself makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dlkit.errors import DlkitError
from dlkit.pretrained.timm_config import timm_settings

FILE = Path("config.json")


@pytest.mark.parametrize(
    "seen",
    [
        {"fixed_input_size": False},  # else timm's defaults: bicubic, 224 of 256 pixels
        {"input_size": [3, 64, 64]},
        {"crop_pct": 0.95, "interpolation": None},
        {"input_size": [3, 50, 50], "crop_pct": 0.9, "interpolation": "bilinear"},
    ],
)
def test_images_are_seen_as_timm_sees_them(seen: dict[str, Any]) -> None:
    data = pytest.importorskip("timm.data")
    see = data.create_transform(**data.resolve_data_config(pretrained_cfg=seen))
    resize, cut = see.transforms[:2]
    changes = timm_settings({"architecture": "resnet18", "pretrained_cfg": seen}, FILE).changes
    assert [changes["data.size"]] * 2 == list(cut.size)
    assert changes["data.resize"] == resize.size
    assert changes["data.interpolation"] == resize.interpolation.value


@pytest.mark.parametrize("seen", [{"input_size": [3, "64", "64"]}, {"input_size": 64}, {"crop_pct": 1e-320}])
def test_what_is_no_size_is_named(seen: dict[str, Any]) -> None:
    with pytest.raises(DlkitError, match=rf"config.json: {next(iter(seen))} = "):
        timm_settings({"architecture": "resnet18", "pretrained_cfg": seen}, FILE)
