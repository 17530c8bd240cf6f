from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cmcr_cli.errors import InputError
from cmcr_cli.removal import RemoveOptions, remove
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.mask_choice import chosen_mask
from cmcr_cli.removal.survey.mask_sources import DilatedMask, NetworkMask, NoMask, RasterMask
from cmcr_cli.scene.optical import Optical, open_optical
from tests.support.removals import Plain

Options = Callable[..., RemoveOptions]


@pytest.fixture
def opened(scene: Any) -> Iterator[Optical]:
    with open_optical(scene.s2) as optical:
        yield optical


@pytest.mark.parametrize(
    ("mask", "dilate", "kind"),
    [
        ("all", 0, NoMask),
        ("all", 100, NoMask),
        ("auto", 0, NetworkMask),
        ("auto", 30, DilatedMask),
        ("a raster", 0, RasterMask),
        ("a raster", 30, RasterMask),
    ],
)
def test_each_word_has_its_source(
    options: Options, scene: Any, opened: Optical, mask: str, dilate: float, kind: type
) -> None:
    chosen = options(mask=str(scene.mask) if mask == "a raster" else mask, dilate=dilate)
    with chosen_mask(chosen, opened, Plain()) as source:
        assert type(source) is kind
        assert source.reads_ahead == (kind is DilatedMask)
        assert bool(source.warnings) == (mask == "a raster")


def test_a_raster_is_dilated_when_it_is_read(options: Options, scene: Any, opened: Optical) -> None:
    masks: list[NDArray[Any]] = []
    for dilate in (0, 40):
        with chosen_mask(options(mask=str(scene.mask), dilate=dilate), opened, Plain()) as source:
            assert isinstance(source, RasterMask)
            masks.append(source._read(0, 400) > 0)
    assert masks[1][masks[0]].all() and masks[1].sum() > masks[0].sum() > 0


def test_opening_one_computes_nothing(
    options: Options, opened: Optical, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any) -> Any:
        raise AssertionError("a network was asked")

    monkeypatch.setattr(Plain, "look_near", never)
    monkeypatch.setattr(CloudMap, "enter", never)
    for dilate in (0, 30):
        with chosen_mask(options(mask="auto", dilate=dilate), opened, Plain()):
            pass


def test_scl_of_what_has_none(options: Options) -> None:
    with pytest.raises(InputError, match=r"no scene classification.*--mask auto"):
        remove(options(mask="scl"))


def test_the_classification_of_a_product_is_scl_whatever_its_name(
    options: Options, scene: Any, tmp_path: Path
) -> None:
    """Its values alone may be those of other tools."""
    stored = np.zeros((400, 333), np.uint8)
    stored[:9], stored[200:220] = 3, 1
    with rasterio.open(scene.mask) as file:
        profile = file.profile
    with rasterio.open(tmp_path / "classes.tif", "w", **profile) as file:
        file.write(stored, 1)
    with open_optical(scene.s2) as optical:
        product = replace(optical, scl=str(tmp_path / "classes.tif"))
        with chosen_mask(options(mask="scl"), product, None) as mask:  # type: ignore[arg-type]
            assert isinstance(mask, RasterMask)
            assert np.array_equal(mask._read(0, 400), np.where(stored == 3, 3, 0))
