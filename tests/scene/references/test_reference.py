from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.bands import L2A_BANDS
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.references.reference import OpenReferences, Wanted, open_references
from cmcr_cli.simulate.write import simulate_window
from tests.support.rasters import CORNER, write

if TYPE_CHECKING:
    from tests.support.rasters import Write

__all__ = ["write"]

SCENE = "s2_2024-06-20.tif"


def ground(seed: int, cover: float = 0.0) -> NDArray[np.uint16]:
    """DN (13, 64, 64) of ground; the upper part of it is cloud."""
    dn = np.random.default_rng(seed).integers(600, 900, (13, 64, 64)).astype(np.uint16)
    dn[10] = 5
    dn[:, : round(64 * cover)] = 6000
    return dn


@contextmanager
def opened(scene: Path, *entries: str | Path, **wanted: Any) -> Iterator[OpenReferences]:
    with (
        open_optical(scene) as optical,
        open_references(list(map(str, entries)), optical, Wanted(**wanted)) as found,
    ):
        yield found


def reasons(found: OpenReferences) -> dict[str, str]:
    return {Path(each.path).name: each.reason for each in found.left_out}


@pytest.fixture
def scene(write: Write) -> Path:
    return write(SCENE, ground(0, 0.5))


def test_references_are_open_on_the_grid_of_the_scene(scene: Path, write: Write) -> None:
    near = write("a_20240618.tif", ground(1))
    far = write("b.tif", ground(2), transform=Affine(20, 0, CORNER.c, 0, -20, CORNER.f))
    with open_optical(scene) as optical, open_references([str(near), f"{far}@2025-06-21"], optical) as found:
        first, second = found.used
        assert (first.path, first.date, first.days, first.label) == (
            str(near), date(2024, 6, 18), -2, "a_20240618.tif",
        )  # fmt: skip
        assert (second.date, second.days, second.mask) == (date(2025, 6, 21), 366, None)
        assert first.optical.grid == second.optical.grid == optical.grid
        assert np.array_equal(first.optical.read(3, 9), ground(1)[:, 3:12])
        assert second.optical.valid(second.optical.read(0, 64)).all()
        assert found.left_out == ()
    (told,) = map(str, found.warnings)
    assert told.startswith("reference b.tif: is resampled (cubic) from 64 x 64 px of 20 m")


def test_order_and_number_do_not_depend_on_how_they_are_given(scene: Path, write: Write) -> None:
    paths = [
        write(f"{name}.tif", ground(seed, cover))
        for seed, (name, cover) in enumerate({"20240610": 0, "20240601": 0, "20240619": 0.5}.items(), 1)
    ]
    for order in (paths, paths[::-1]):
        with opened(scene, *order, most=2) as found:
            assert [each.label for each in found.used] == ["20240610.tif", "20240601.tif"]
        assert reasons(found) == {"20240619.tif": "--max-references 2: others promise more"}
        assert found.warnings == ()


def test_dates_are_filtered(scene: Path, write: Write) -> None:
    for name in ("20240610", "20240625", "20240101", "unknown"):
        write(f"{name}.tif", ground(len(name)))
    with opened(scene, scene.parent, earlier_only=True) as found:
        assert {each.label for each in found.used} == {"20240610.tif", "20240101.tif"}
    assert reasons(found) == {
        "20240625.tif": "--earlier-only: is 5 days later than the scene",
        "unknown.tif": "--earlier-only: its date is not known",
        SCENE: "is the scene itself",
    }
    with opened(scene, scene.parent, days=10) as found:
        assert {each.label for each in found.used} == {"20240610.tif", "20240625.tif"}
    assert reasons(found)["20240101.tif"] == "--reference-days 10: is 171 days away from the scene"


def test_a_scene_of_unknown_date_has_no_earlier_references(write: Write) -> None:
    scene, other = write("s2.tif", ground(0, 0.5)), write("20240601.tif", ground(1))
    with opened(scene, other) as found:
        assert found.used[0].days is None
    with opened(scene, other, earlier_only=True) as found:
        assert found.used == ()
    assert reasons(found) == {"20240601.tif": "--earlier-only: the date of the scene is not known"}
    assert [str(each) for each in found.warnings] == ["no reference is left: goes on without"]


def test_the_scene_itself_is_left_out(scene: Path, write: Write, tmp_path: Path) -> None:
    """By its file, a link to it, a copy, and what was made of it; not what looks like it on another day."""
    link = tmp_path / "link_20240620.tif"
    link.hardlink_to(scene)
    copy = write("copy.tif", ground(0, 0.5))
    made = ground(0, 0.5)
    made[:, :40] = ground(5)[:, :40]
    write("clear_20240620.tif", made)
    with_offset = write("baseline.tif", ground(0, 0.5) + 1000, scales=(0.0001,) * 13, offsets=(-0.1,) * 13)
    other = write("20240621.tif", ground(0, 0.5))
    with opened(scene, link, copy, tmp_path / "clear_20240620.tif", with_offset, other) as found:
        assert [each.path for each in found.used] == [str(other)]
    assert reasons(found) == {
        link.name: "is the scene itself",
        "copy.tif": "has the pixels of the scene: is a copy of it, or made of it",
        "clear_20240620.tif": "has the pixels of the scene: is a copy of it, or made of it",
        "baseline.tif": "has the pixels of the scene: is a copy of it, or made of it",
    }


def test_another_level_of_the_same_image_is_left_out(make_product: Callable[..., Any]) -> None:
    one, other = make_product("1C"), make_product("2A")
    with opened(one.folder, other.zipped) as found:
        assert found.used == ()
    assert list(reasons(found).values()) == ["is made of the same image as the scene"]


def test_what_shows_nothing_of_the_scene_is_left_out_even_if_it_is_named(scene: Path, write: Write) -> None:
    far = write("far.tif", ground(1), transform=Affine(10, 0, CORNER.c + 640, 0, -10, CORNER.f))
    empty = ground(2)
    empty[:, :, :32] = 0
    void = write("void.tif", empty, transform=Affine(10, 0, CORNER.c + 320, 0, -10, CORNER.f))
    with opened(scene, far, void) as found:
        assert found.used == ()
    assert reasons(found) == {
        "far.tif": "covers 0.0% of the scene (64 x 64 px of 10 m, EPSG:32631, against EPSG:32631)",
        "void.tif": "has no valid pixel over the scene",
    }
    assert str(found.warnings[0]).startswith(f"reference {far} is left out: covers 0.0%")


def test_damage_is_an_error_by_name_and_a_reason_in_a_folder(scene: Path, write: Write) -> None:
    cut = write("cut_20240610.tif", ground(1))
    cut.write_bytes(cut.read_bytes()[:60_000])
    few = write("few_20240610.tif", ground(1)[:4])
    with pytest.raises(InputError, match=r"cut_20240610\.tif"), opened(scene, cut):
        pass
    with pytest.raises(RadiometryError, match=r"4 bands without names.*Describe"), opened(scene, few):
        pass
    with pytest.raises(InputError, match=r"gone\.tif"), opened(scene, scene.parent / "gone.tif"):
        pass
    with opened(scene, scene.parent) as found:
        assert found.used == ()
    assert set(reasons(found)) == {cut.name, few.name, SCENE}
    assert reasons(found)[few.name] == "has 4 bands without names"


def test_a_list_with_a_missing_file_is_an_error(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("gone.tif\n")
    with pytest.raises(InputError, match=r"gone\.tif.*Check the path"), opened(scene, tmp_path / "list.txt"):
        pass


def test_items_of_a_collection(scene: Path, write: Write, tmp_path: Path) -> None:
    """One is good, one has no files, one is radar."""
    names = ("B02", "B03", "B04", "B08")
    for place, name in enumerate(names):
        write(f"{name}.tif", ground(3)[place + 1])
    features = [
        {
            "type": "Feature", "stac_version": "1.0.0", "id": name,
            "properties": {"datetime": f"2024-06-{day}T10:00:00Z", "earthsearch:boa_offset_applied": True},
            "assets": {band: {"href": f"{folder}{band}.tif"} for band in bands},
        }
        for name, day, folder, bands in (
            ("good", 10, "", names), ("gone", 11, "sub/", names), ("radar", 12, "", ("vv", "vh")),
        )
    ]  # fmt: skip
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with opened(scene, path) as found:
        (used,) = found.used
        assert (used.path, used.days, used.label) == (f"{path}#good", -10, "good")
        assert np.array_equal(used.optical.read(0, 64), ground(3)[1:5])
    assert set(reasons(found)) == {"items.json#gone", "items.json#radar"}
    assert "has no B01 B05" in str(found.warnings[0])


def test_masks_of_a_list(scene: Path, write: Write, tmp_path: Path) -> None:
    write("a.tif", ground(1))
    (tmp_path / "list.csv").write_text("path,date,mask\na.tif,2024-06-10,m.tif\n")
    with opened(scene, tmp_path / "list.csv") as found:
        assert found.used[0].mask == f"{tmp_path}/m.tif"


def test_many_that_are_left_out_are_said_in_few_words(scene: Path, write: Write) -> None:
    for number in range(9):
        write(f"far_{number}.tif", ground(1), transform=Affine(10, 0, CORNER.c + 640, 0, -10, CORNER.f))
    with opened(scene, scene.parent) as found:
        assert len(found.left_out) == 10
    told = list(map(str, found.warnings))
    assert len(told) == 7 and told[5].startswith("5 more references are left out")


def test_without_entries_there_is_nothing_to_say(scene: Path) -> None:
    with opened(scene) as found:
        assert found == OpenReferences()


@pytest.mark.parametrize(
    ("scale", "offset", "match"),
    [(4.0, 0, r"s2_20240610.*above .*; expected 2.4 at most.*gdal_edit -scale"),
     (0.02, 0, "nothing is above|mean reflectance|have too few")],
)  # fmt: skip
def test_a_reference_in_other_units(
    scene: Path, tmp_path: Path, scale: float, offset: float, match: str
) -> None:
    """By name it is an error, which says what to do; in a folder it is left out."""
    other = stored(tmp_path / "others" / "s2_20240610.tif", scale, offset)
    with pytest.raises(RadiometryError, match=match) as refused, opened(scene, other):
        pass
    assert "--scale" not in str(refused.value) and "--offset" not in str(refused.value)
    with opened(scene, other.parent) as found:
        assert found.used == () and "reflectance" in reasons(found)[other.name]


@pytest.mark.parametrize(
    ("offset", "tagged", "match"),
    [(1000, 0.0, "hardly a pixel is below .* with offset 0 .*: if the product .*gdal_edit -offset -0.1"),
     (0, -0.1, "below 0 in the visible bands with offset -1000 .*gdal_edit -offset 0")],
)  # fmt: skip
def test_a_reference_with_another_offset(
    scene: Path, tmp_path: Path, offset: float, tagged: float, match: str
) -> None:
    other = stored(tmp_path / "s2_20240610.tif", 1, offset, tagged)
    with opened(scene, other) as found:
        (told,) = map(str, found.warnings)
    assert re.search(match, told) and "--offset" not in told


def test_advice_for_scenes_is_not_left_alone(scene: Path, write: Write) -> None:
    """No option states the units or bands of a reference."""
    other = write("20240610.tif", (ground(1) // 30).astype(np.uint8))
    with (
        pytest.raises(RadiometryError, match=r"--scale .*are those of the scene.*gdal_edit"),
        opened(scene, other),
    ):
        pass


def stored(path: Path, scale: float, offset: float, tagged: float | None = None) -> Path:
    """Simulated ground, 12 bands of 64 x 64 px where the scene is, with other DN."""
    image = np.delete(simulate_window(7, 0, 0, 64, 64, 0.3).cloudy, 10, axis=0)
    dn = np.rint(image * 10_000 * scale + offset).clip(1, 65_535).astype(np.uint16)
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=12, height=64, width=64, dtype="uint16", crs="EPSG:32631",
        transform=CORNER,
    ) as dataset:  # fmt: skip
        dataset.write(dn)
        dataset.descriptions = L2A_BANDS
        if tagged is not None:
            dataset.scales, dataset.offsets = (0.0001,) * 12, (tagged,) * 12
    return path
