from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from numpy.typing import NDArray

from cmcr_cli.errors import InputError, RadiometryError
from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.optical import open_optical

if TYPE_CHECKING:
    from tests.support.rasters import Write


def dn(
    bands: int = 13, size: int = 40, low: int = 200, high: int = 4000, dtype: str = "uint16"
) -> NDArray[Any]:
    return np.random.default_rng(bands).integers(low, high, (bands, size, size)).astype(dtype)


@pytest.mark.parametrize(("count", "names", "level"), [(13, BANDS, "L1C"), (12, L2A_BANDS, "L2A")])
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_bands_by_count(write: Write, count: int, names: tuple[str, ...], level: str, dtype: str) -> None:
    pixels = dn(count, dtype=dtype)
    with open_optical(write("s2.tif", pixels, descriptions=())) as optical:
        assert optical.guessed and "by their number" in str(optical.warnings[0])
        assert (optical.names, optical.level, optical.dtype) == (names, level, np.dtype(dtype))
        assert (optical.radiometry.offset, optical.offset_source) == (0, "assumed 0")
        assert optical.grid.describe() == "40 x 40 px of 10 m, EPSG:32631"
        strip = optical.read(7, 20)
    assert strip.dtype == np.dtype(dtype)
    assert np.array_equal(strip, pixels[:, 7:27])


def test_bands_by_description_keep_the_file_order(write: Write) -> None:
    path = write("s2.tif", dn(5), descriptions=("B8", "B04 (red)", "band 3", "b02", "Band 8A"))
    with open_optical(path) as optical:
        assert optical.names == ("B08", "B04", "B03", "B02", "B8A")
        assert optical.level == "L2A"
        assert optical.descriptions[1] == "B04 (red)"


def test_bands_by_option(write: Write) -> None:
    path = write("s2.tif", dn(4))
    with open_optical(path, bands=("B2", "b03", "B04", "B08")) as optical:
        assert optical.names == ("B02", "B03", "B04", "B08")
    with (
        pytest.raises(RadiometryError, match="4 bands, but --bands names 2"),
        open_optical(path, bands=("B2", "B3")),
    ):
        pass
    with pytest.raises(RadiometryError, match="4 bands without names"), open_optical(path):
        pass


def test_offset_from_tags_kept_as_float32(write: Write) -> None:
    scale, shift = float(np.float32(0.0001)), float(np.float32(-0.1))
    with open_optical(write("s2.tif", dn(), scales=(scale,) * 13, offsets=(shift,) * 13)) as optical:
        assert (optical.radiometry.offset, optical.radiometry.quantification) == (-1000, 10000)


def test_offset_from_tags_and_option(write: Write) -> None:
    path = write("s2.tif", dn(), scales=(0.0001,) * 13, offsets=(-0.1,) * 13)
    with open_optical(path) as optical:
        assert (optical.radiometry.offset, optical.radiometry.quantification) == (-1000, 10000)
        assert optical.offset_source == "tag"
        assert optical.offsets == (-0.1,) * 13
        assert optical.radiometry.reflectance(np.array([3000])) == pytest.approx(0.2)
    with open_optical(path, offset=0) as optical:
        assert (optical.radiometry.offset, optical.offset_source) == (0, "option")
        assert "-1000" in str(optical.warnings[-1])
    with open_optical(write("untagged.tif", dn()), offset=-1000) as optical:
        assert (optical.radiometry.offset, optical.offset_source) == (-1000, "option")


@pytest.mark.parametrize(
    ("scales", "offsets", "message"),
    [
        ((0.0001,) * 12 + (0.001,), (0.0,) * 13, "different scale"),
        ((1.0,) * 13, (-1000.0,) * 13, "expected a scale near 0.0001"),
    ],
)
def test_tags_that_make_no_sense(
    write: Write, scales: tuple[float, ...], offsets: tuple[float, ...], message: str
) -> None:
    path = write("s2.tif", dn(), scales=scales, offsets=offsets)
    with pytest.raises(RadiometryError, match=message), open_optical(path):
        pass


@pytest.mark.parametrize("nodata", [None, 0, 65535])
def test_valid(write: Write, nodata: int | None) -> None:
    pixels = dn()
    pixels[:, :5] = nodata or 0
    pixels[BANDS.index("B10"), 3] = 9  # cirrus alone is no measurement of the ground
    pixels[BANDS.index("B10"), 10:] = 0
    pixels[:4, 20, 3:30] = 0  # dark in some bands
    with open_optical(write("s2.tif", pixels, nodata=nodata, descriptions=BANDS)) as optical:
        valid = optical.valid(optical.read(0, 40))
        assert optical.nodata == nodata
    assert valid.shape == (40, 40)
    assert not valid[:5].any() and valid[5:].all()


def test_gdal_paths_are_passed_on(write: Write) -> None:
    pixels = dn()
    path = write("s2.tif", pixels)
    vsimem = "/vsimem/cmcr_test_s2.tif"
    with rasterio.open(path) as dataset:
        rasterio.shutil.copy(dataset, vsimem, driver="GTiff")
    with open_optical(vsimem) as optical:
        assert np.array_equal(optical.read(0, 40), pixels)
    rasterio.shutil.delete(vsimem)


def test_files_that_cannot_be_opened(write: Write, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a raster")
    for path in (tmp_path / "absent.tif", text):
        with pytest.raises(InputError, match=path.name), open_optical(path):
            pass
    with pytest.raises(InputError, match="no coordinate reference system"), open_optical(_bare(write)):
        pass


def _bare(write: Write) -> Path:
    return write("bare.tif", dn(), crs=None)


def test_truncated_file_is_an_input_error_when_its_rows_are_read(write: Write) -> None:
    path = write("s2.tif", dn(size=128), interleave="band", descriptions=())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with (
        pytest.raises(InputError, match=r"rows 64 to 128 .*truncated"),
        open_optical(path, bands=BANDS) as optical,
    ):
        optical.read(64, 64)


@pytest.mark.parametrize(
    ("count", "dtype", "message"),
    [
        (2, "float32", "looks like Sentinel-1.*comes first"),
        (2, "int16", "looks like Sentinel-1"),
        (13, "uint32", "uint32 pixels.*--scale"),
        (13, "uint8", "uint8 pixels.*--scale"),
        (3, "uint8", "3 bands without names"),
        (14, "uint16", "14 bands without names.*--bands"),
    ],
)
def test_other_contents_are_refused(write: Write, count: int, dtype: str, message: str) -> None:
    with (
        pytest.raises(RadiometryError, match=message),
        open_optical(write("x.tif", dn(count, high=250, dtype=dtype))),
    ):
        pass


def test_b8a_stands_in_for_b08(write: Write) -> None:
    """Products at 20 m have no B08."""
    with open_optical(write("s2.tif", dn(5), descriptions=("B02", "B03", "B04", "B8A", "B11"))) as optical:
        assert optical.names[3] == "B8A"
    with (
        pytest.raises(RadiometryError, match="B02 B03 B04 B08 or B02 B03 B04 B8A are needed"),
        open_optical(write("few.tif", dn(3), descriptions=("B02", "B03", "B04"))),
    ):
        pass
