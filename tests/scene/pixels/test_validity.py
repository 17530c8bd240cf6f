"""Rasters that say in different ways where they hold no measurement: all are read alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.layers.radiometry_check import check_radiometry
from cmcr_cli.scene.optical import Optical, open_optical

if TYPE_CHECKING:
    from tests.support.rasters import Write

SIDE = 72
WEDGE = np.zeros((SIDE, SIDE), np.bool_)
WEDGE[:, :20] = True
Pixels = NDArray[Any]


def ground(dtype: str = "uint16") -> Pixels:
    return np.random.default_rng(4).integers(300, 4000, (13, SIDE, SIDE)).astype(dtype)


def strips(optical: Optical, rows: int = 25) -> Pixels:
    tops = range(0, optical.grid.height, rows)
    return np.concatenate([optical.read(top, min(rows, optical.grid.height - top)) for top in tops], axis=1)


def check(path: Path, gone: NDArray[np.bool_], stored: Pixels) -> None:
    """Assert that a raster is valid but for `gone`, in strips of any height, and knows what it stores."""
    with open_optical(path) as optical:
        for rows in (SIDE, 25):
            dn = strips(optical, rows)
            assert np.array_equal(optical.valid(dn), ~gone)
            assert np.array_equal(dn[:, ~gone], stored[:, ~gone])
            assert np.array_equal(optical.source.as_stored(0, dn), stored)


@pytest.mark.parametrize(
    ("bands", "value", "nodata", "dtype"),
    [
        (range(13), 65535, 65535, "uint16"),
        (range(2, 3), 65535, 65535, "uint16"),
        (range(10, 13), -9999, -9999, "int16"),
        (range(5), -32768, None, "int16"),
        (range(13), 0, 65535, "uint16"),
        (range(13), 65535, None, "uint16"),
        (range(13), 0, None, "uint16"),
    ],
)
def test_values(write: Write, bands: range, value: int, nodata: int | None, dtype: str) -> None:
    pixels = ground(dtype)
    pixels[np.ix_(bands, range(SIDE), range(20))] = value
    check(write("s2.tif", pixels, nodata=nodata), WEDGE, pixels)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(None), slice(0, 20)), (slice(None), slice(-9, None)), (slice(0, 8), slice(None)),
     (slice(-6, None), slice(None)), (slice(0, 30), slice(0, 15))],
)  # fmt: skip
def test_bands_that_end_before_others(write: Write, rows: slice, columns: slice) -> None:
    pixels, gone = ground(), np.zeros_like(WEDGE)
    pixels[4:8, rows, columns] = 0
    gone[rows, columns] = True
    check(write("s2.tif", pixels, nodata=0), gone, pixels)


def test_bands_that_end_at_an_oblique_swath(write: Write) -> None:
    pixels = ground()
    for row in range(SIDE):
        pixels[:, row, : row // 2] = 0
        pixels[5:8, row, : row // 2 + 6] = 0
    check(write("s2.tif", pixels), pixels[5] == 0, pixels)


def test_dark_ground_and_empty_bands_stay(write: Write) -> None:
    pixels = ground()
    pixels[11:, 30:50, 30:50] = 0  # a lake
    pixels[3, 5, :3] = 0
    pixels[BANDS.index("B10")] = 0
    pixels[0] = 0
    path = write("s2.tif", pixels, nodata=0)
    check(path, np.zeros_like(WEDGE), pixels)
    with open_optical(path) as optical:
        (found,) = check_radiometry(optical)
    assert "B01 (100.0%)" in str(found) and "B10" not in str(found)


def test_a_block_at_the_rim_that_cannot_be_told_from_dark_ground_is_reported(write: Write) -> None:
    pixels = ground()
    pixels[1, :12, 30:50] = 0
    pixels[2, 40:45, 30:36] = 65535
    with open_optical(write("s2.tif", pixels)) as optical:
        found = [str(each) for each in check_radiometry(optical)]
    assert ["DN is 0 in B02" in found[0], "DN is 65535 in B03" in found[1]] == [True, True]


@pytest.mark.parametrize("internal", [True, False])
@pytest.mark.parametrize("nodata", [None, 0])
def test_mask_of_the_file(write: Write, internal: bool, nodata: int | None) -> None:
    path = write("s2.tif", ground(), nodata=nodata)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
        file.write_mask(~WEDGE)
    check(path, WEDGE, ground())
    with open_optical(path) as optical:
        assert optical.masked


@pytest.mark.parametrize("name", ["dataMask", "valid", None])
def test_mask_among_the_bands(write: Write, name: str | None) -> None:
    mask = np.where(WEDGE, 0, 1 if name else 65535).astype(np.uint16)
    options = {"descriptions": (*BANDS, name)} if name else {}
    path = write("s2.tif", np.concatenate([ground(), mask[None]]), **options)
    if name is None:
        with rasterio.open(path, "r+") as file:
            file.colorinterp = (ColorInterp.gray, *[ColorInterp.undefined] * 12, ColorInterp.alpha)
    check(path, WEDGE, ground())
    with open_optical(path) as optical:
        assert optical.names == BANDS and optical.masked


def test_a_band_that_programs_for_pictures_call_alpha_is_a_band(write: Write) -> None:
    pixels = ground()[:4]
    path = write("s2.tif", pixels, alpha="YES", photometric="RGB")
    with open_optical(path, bands=("B04", "B03", "B02", "B08")) as optical:
        dn = strips(optical)
        assert np.array_equal(dn, pixels) and optical.valid(dn).all() and not optical.masked


def test_a_mask_of_clouds_is_not_taken_for_one_of_nodata(write: Write) -> None:
    path = write("s2.tif", np.concatenate([ground(), ground()[:1]]), descriptions=(*BANDS, "cloudmask"))
    with open_optical(path) as optical:
        assert optical.names == BANDS and not optical.masked
        assert optical.valid(strips(optical)).all()


def _vrt(write: Write, pixels: Pixels, nodata: list[int | None], band: str, source: str = "") -> Path:
    """A virtual raster of one file a band; `band` and `source` are formats of what it says of band 4."""
    parts = []
    for index, (plane, value) in enumerate(zip(pixels, nodata, strict=True), 1):
        file = write(f"band{index}.tif", plane, nodata=value)
        kind = "ComplexSource" if index == 4 and source else "SimpleSource"
        parts.append(
            f'<VRTRasterBand dataType="UInt16" band="{index}">{band if index == 4 else ""}<{kind}>'
            f'<SourceFilename relativeToVRT="1">{file.name}</SourceFilename><SourceBand>1</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{SIDE}" ySize="{SIDE}"/>'
            f'<DstRect xOff="0" yOff="0" xSize="{SIDE}" ySize="{SIDE}"/>'
            f"{source if index == 4 else ''}</{kind}></VRTRasterBand>"
        )
    place = write("mask.tif", pixels[0]).with_name("stack.vrt")
    place.write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32631</SRS>'
        f"<GeoTransform>600000,10,0,5900040,0,-10</GeoTransform>{''.join(parts)}</VRTDataset>"
    )
    return place


@pytest.mark.parametrize(
    ("band", "source"),
    [
        ("<NoDataValue>65535</NoDataValue>", ""),
        ("", ""),
        ("<NoDataValue>0</NoDataValue>", ""),
        ("", "<NODATA>65535</NODATA>"),
        ("<NoDataValue>0</NoDataValue><HideNoDataValue>1</HideNoDataValue>", "<NODATA>65535</NODATA>"),
    ],
)
def test_nodata_of_one_source(write: Write, band: str, source: str) -> None:
    pixels = ground()
    pixels[3, WEDGE] = 65535
    path = _vrt(write, pixels, [65535 if index == 3 else None for index in range(13)], band, source)
    with open_optical(path) as optical:
        assert np.array_equal(optical.valid(strips(optical)), ~WEDGE)


def test_mask_of_one_source(write: Write) -> None:
    path = _vrt(write, ground(), [None] * 13, "")
    with rasterio.open(path.with_name("band7.tif"), "r+") as file:
        file.write_mask(~WEDGE)
    check(path, WEDGE, ground())


@pytest.mark.parametrize("crs", [32631, 32630])
def test_nothing_bleeds_into_a_reference(write: Write, crs: int) -> None:
    """Moved by half a pixel, or warped: black below a mask must not darken its neighbours."""
    pixels = np.full((13, SIDE, SIDE), 3000, np.uint16)
    pixels[:, WEDGE] = 1
    path = write("s2.tif", pixels)
    with rasterio.open(path, "r+") as file:
        file.write_mask(~WEDGE)
    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 600005, 0, -10, 5900035), SIDE - 1, SIDE - 1)
    if crs == 32630:
        corner = Grid(CRS.from_epsg(32631), Affine(10, 0, 600150, 0, -10, 5899900), 1, 1)
        west, _, _, north = corner.footprint(CRS.from_epsg(crs)).bounds
        grid = Grid(CRS.from_epsg(crs), Affine(10, 0, west, 0, -10, north), 30, 30)
    with open_optical(path, onto=grid) as optical:
        dn = strips(optical)
        valid = optical.valid(dn)
    assert 0.3 < valid.mean() < 0.95
    assert (np.abs(dn[:, valid].astype(int) - 3000) <= 1).all()


def test_values_are_read_again_that_are_no_longer_kept(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmcr_cli.scene.pixels.validity.KEPT_BYTES", 1)
    pixels = ground()
    pixels[3, WEDGE] = 65535
    with open_optical(write("s2.tif", pixels, nodata=65535)) as optical:
        strips(optical, 8)
        assert np.array_equal(optical.source.as_stored(8, optical.read(8, 8)), pixels[:, 8:16])
        assert np.array_equal(optical.source.as_stored(40, np.zeros_like(pixels[:, :8]))[3, :, :20],
                              pixels[3, 40:48, :20])  # fmt: skip
