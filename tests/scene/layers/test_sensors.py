from __future__ import annotations

import pytest

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.layers.sensors import check_sensor


@pytest.mark.parametrize(
    ("path", "sensor"),
    [
        ("/data/LC08_L2SP_198024_20240601_20240611_02_T1.tif", "Landsat"),
        ("LE71980242003152ASN00.tif", "Landsat"),
        ("HLS.L30.T31UFU.2024153T105031.v2.0.tif", "HLS"),
        ("20240601_101112_14_2470_3B_AnalyticMS_SR_8b.tif", "PlanetScope"),
        ("20240601_101112_ssc1_u0001_analytic.tif", "PlanetScope"),
        ("https://host/S3A_OL_1_EFR.tif?sig=1", "Sentinel-3"),
        ("MOD09GA.A2024153.h18v03.tif", "MODIS"),
        ("VNP09GA.A2024153.tif", "VIIRS"),
    ],
)
def test_by_the_name_of_a_file(path: str, sensor: str) -> None:
    with pytest.raises(RadiometryError, match=rf"is of {sensor}.* \(by its file name\); expected Sentinel-2"):
        check_sensor(path, {})


@pytest.mark.parametrize(
    ("tags", "shown"),
    [
        ({"platform": "landsat-8"}, "platform is 'landsat-8'"),
        ({"eo:instruments": ["oli", "tirs"]}, "instruments is 'oli'"),
        ({"NC_GLOBAL#sensor": "MODIS"}, "sensor is 'MODIS'"),
        ({"constellation": "sentinel-1"}, "constellation is 'sentinel-1'"),
        ({"collection": "hls2-s30"}, "collection is 'hls2-s30'"),
        ({"LANDSAT_SCENE_ID": "LC81980242024153LGN00"}, "Landsat .it has a tag LANDSAT_SCENE_ID"),
        ({"HLS_PROCESSING_TIME": "2024"}, "it has a tag HLS_PROCESSING_TIME"),
        ({"item_type": "PSScene"}, "item_type is 'PSScene'"),
        ({"TIFFTAG_IMAGEDESCRIPTION": "Landsat 8"}, "IMAGEDESCRIPTION is 'Landsat 8'"),
    ],
)
def test_by_tags(tags: dict[str, object], shown: str) -> None:
    with pytest.raises(RadiometryError, match=rf"{shown}.*If the name or tag is wrong, correct it"):
        check_sensor("s2.tif", tags)


def test_by_bands() -> None:
    for text, sensor in (("SR_B4", "Landsat"), ("green_i", "PlanetScope"), ("S30_B02", "HLS.*")):
        with pytest.raises(RadiometryError, match=rf"{sensor} \(it has a band '{text}'\)"):
            check_sensor("s2.tif", {}, [None, text])


def test_what_is_of_sentinel_2_or_says_nothing() -> None:
    tags = {
        "platform": "sentinel-2b",
        "instruments": ["msi"],
        "title": "Landsat and Sentinel-2",
        "collection": None,
    }
    for path in ("S2A_MSIL2A_20240601T102031.SAFE", "planet/s2.tif", "LC_map/s2.tif"):
        check_sensor(path, tags, ["B04", None, "B8A"])
