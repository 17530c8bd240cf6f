from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.errors import OptionError
from cmcr_cli.option_checks import check_contradictions
from cmcr_cli.options import RemoveOptions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s1_vv": "a.tif"}, "--s1-vv and --s1-vh"),
        ({"s1_vv": "a.tif", "s1_vh": "b.tif", "s1": "c.tif"}, "--s1-vv and --s1-vh"),
        ({"aoi": "a.geojson", "bbox": (1, 2, 3, 4)}, "--aoi and --bbox"),
        ({"mask_codes": "scl"}, "--mask auto, which has no codes"),
        ({"mask": "m.tif", "mask_codes": "1=fog"}, "fog"),
        ({"uncertainty": "u.tif"}, "--samples 2 or more"),
        ({"samples": 2}, "--steps 2 or more"),
        ({"native": "o.tif"}, "--native o.tif: is also the name of --output"),
    ],
)
def test_options_that_contradict_each_other(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        RemoveOptions(s2="s2.tif", output=Path("o.tif"), **changes)


def test_options_that_agree() -> None:
    check_contradictions(
        RemoveOptions(s2="s2.tif", output=Path("o.tif"), steps=2, samples=2, uncertainty=Path("u.tif"))
    )
