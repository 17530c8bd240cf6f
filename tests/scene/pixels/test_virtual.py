from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import MaskFlags

from cmcr_cli.scene.pixels.virtual import mask_of_sources, says_more_than_nodata
from cmcr_cli.scene.raster import open_raster

if TYPE_CHECKING:
    from tests.support.rasters import Write

VRT = """<VRTDataset rasterXSize="8" rasterYSize="6">
<GeoTransform>600000, 10, 0, 5900040, 0, -10</GeoTransform><VRTRasterBand dataType="Int16" band="1">{nodata}
<SimpleSource><SourceFilename relativeToVRT="1">part.tif</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"""


@pytest.fixture
def mosaic(write: Write, tmp_path: Path) -> Any:
    """Path of a virtual raster of one file with the given nodata value, in which two columns have it."""

    def make(own: int | None, nodata: str = "") -> Path:
        pixels = np.full((6, 8), 900, np.int16)
        pixels[:, :2] = -9999
        write("part.tif", pixels, nodata=own)
        path = tmp_path / "s2.vrt"
        path.write_text(VRT.format(nodata=nodata))
        return path

    return make


def test_nodata_of_the_files_that_the_raster_does_not_state(mosaic: Any) -> None:
    with rasterio.open(mosaic(-9999)) as dataset:
        text = mask_of_sources(dataset, [1])
        assert text is not None
        with open_raster(text, "mask") as mask:
            valid = mask.read(1)
    assert (valid[:, :2] == 0).all() and (valid[:, 2:] == 255).all()


@pytest.mark.parametrize(
    ("own", "nodata"), [(None, ""), (-9999, "<NoDataValue>-9999</NoDataValue>"), (900, "")]
)
def test_files_that_say_no_more_than_the_raster(mosaic: Any, own: int | None, nodata: str) -> None:
    """Nor is a nodata value believed that may be a measurement."""
    with rasterio.open(mosaic(own, nodata)) as dataset:
        assert mask_of_sources(dataset, [1]) is None


def test_other_rasters_have_no_sources(write: Write) -> None:
    with rasterio.open(write("s2.tif", np.ones((6, 8), np.int16))) as dataset:
        assert mask_of_sources(dataset, [1]) is None


def test_masks_that_say_more_than_a_nodata_value() -> None:
    assert says_more_than_nodata([]) and says_more_than_nodata([MaskFlags.per_dataset])
    assert not says_more_than_nodata([MaskFlags.nodata]) and not says_more_than_nodata([MaskFlags.all_valid])
