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
from cmcr_cli.removal.survey import mask_choice
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.mask_choice import KnownMasks, chosen_mask, key_of, key_of_scene
from cmcr_cli.removal.survey.mask_sources import DilatedMask, NetworkMask, NoMask, RasterMask
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.references.reference import Reference
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


def _map(seed: int) -> CloudMap:
    classes = np.random.default_rng(seed).integers(0, 4, (30, 50), np.uint8)
    return CloudMap.of(classes, 99)


def test_what_was_kept_is_found_again() -> None:
    known, cloud_map = KnownMasks(), _map(1)
    assert known.find("a") is None
    known.keep("a", cloud_map, 0.25)
    found = known.find("a")
    assert found is not None and found[1] == 0.25 and found[0].width == 99
    np.testing.assert_array_equal(found[0].cells(0, 30), cloud_map.cells(0, 30))


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_choice, "MOST_BYTES", 1500)
    known = KnownMasks()
    for name in "abcd":
        known.keep(name, _map(ord(name)), 1.0)
    assert known.find("a") is None and known.find("d") is not None


def test_a_key_tells_files_grids_masks_and_shifts_apart(scene: Any, options: Options, tmp_path: Path) -> None:
    chosen = options(mask="auto")
    with open_optical(scene.s2) as optical:
        one = Reference(optical=optical, date=None, days=None, mask=None, label="one")
        other_grid = replace(optical, source=replace(optical.source, grid=replace(optical.grid, height=7)))
        keys = [
            key_of(one, chosen),
            key_of(replace(one, undone=(3.0, 0.0)), chosen),
            key_of(replace(one, mask=str(tmp_path / "mask.tif")), chosen),
            key_of(replace(one, optical=other_grid), chosen),
            key_of(one, replace(chosen, dilate=20)),
            key_of(one, replace(chosen, mask="omnicloudmask")),
        ]
        assert len(set(keys)) == len(keys)
        assert key_of(replace(one, shift=(1.0, 0.0), days=4), chosen) == keys[0]


def test_the_map_of_a_scene_serves_where_a_reference_is_read_alike(scene: Any, options: Options) -> None:
    chosen = options(mask="auto")
    with open_optical(scene.s2) as optical:
        one = Reference(optical=optical, date=None, days=None, mask=None, label="one")
        assert key_of_scene(optical, chosen) == key_of(one, chosen)
        for odd in ({"mask": "all"}, {"offset": -1000.0}, {"scale": 0.0001}):
            assert key_of_scene(optical, replace(chosen, **odd)) is None  # type: ignore[arg-type]
