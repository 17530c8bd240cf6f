from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_codes import SCHEMES
from cmcr_cli.scene.masks.mask_raster import CloudClass, open_mask
from tests.support.masks import GRID, raster, read

if TYPE_CHECKING:
    from tests.support.rasters import Write


CLEAR, THICK, THIN, SHADOW = CloudClass


def test_omnicloudmask_output_is_not_read_as_scl(write: Write) -> None:
    """In 0.4 its codes were read as SCL, where 1 and 2 are clear: no cloud was masked, with exit code 0."""
    stored = raster(0, 1, 2, 3)
    path = write("predicted.tif", stored)
    with pytest.raises(
        InputError,
        match=r"holds 0, 1, 2, 3, which may be codes of cmcr, scl, omnicloudmask, fmask, python-fmask, "
        r"kappamask; expected .* certain\. Say which with --mask-codes NAME.*1=cloud,2=thin,3=shadow",
    ):
        read(path)
    for codes in ("omnicloudmask", "cloudsen12", "1=cloud,2=thin,3=shadow"):
        assert np.array_equal(read(path, codes)[1], stored)


def test_fmask_output_is_not_read_as_scl(write: Write) -> None:
    """In 0.4 it masked nothing but snow: 4 is vegetation in SCL, and 3 is shadow."""
    stored = raster(0, 1, 2, 3, 4)
    path = write("predicted.tif", stored, nodata=255)
    with pytest.raises(InputError, match=r"may be codes of scl, fmask, python-fmask, kappamask;"):
        read(path)
    expected = np.select([stored == 2, stored == 4], [SHADOW, THICK], CLEAR)
    assert np.array_equal(read(path, "fmask")[1], expected)


NAMED = [
    ("T29UNU_20221005T115411_SCL_20m.tif", "scl", (0, 3)),
    ("scl.TIF", "scl", (4, 8)),
    ("T31UFU_x_MSK_CLDPRB_20m.tif", "percent", (0, 90)),
    ("CLD_20m.tif", "percent", (0, 90)),
    ("20240601_QA60.tif", "qa60", (0, 1024)),
    ("L1C_T31UFU_A1_Fmask4.tif", "fmask", (0, 1, 2, 3, 4)),
    ("HLS.S30.T31UFU.2024153T105031.v2.0.Fmask.tif", "hls", (0, 2, 64)),
    ("SENTINEL2A_20240601-105_L2A_T31UFU_C_V3-1_CLM_R1.tif", "maja", (0, 3, 33)),
    ("CLM.tif", "s2cloudless", (0, 1, 255)),
    ("s2_CLP.tif", "clp", (0, 200)),
    ("scene_OCM_v1_8_1.tif", "omnicloudmask", (0, 1, 2, 3)),
]


@pytest.mark.parametrize(("file", "name", "values"), NAMED)
def test_names_that_products_and_tools_give(
    write: Write, file: str, name: str, values: tuple[int, ...]
) -> None:
    dtype = "uint16" if name == "qa60" else "uint8"
    found, classes = read(write(file, raster(*values, dtype=dtype)))
    assert found == name and classes.any()


@pytest.mark.parametrize("file", ["fmask.tif", "my_Fmask.tif", "SCL_edited.tif", "OCM.tif", "muSCL.tif"])
def test_names_that_prove_nothing(write: Write, file: str) -> None:
    with pytest.raises(InputError, match="may be codes of"):
        read(write(file, raster(0, 1, 2, 3)))


@pytest.mark.parametrize(
    ("band", "name"),
    [("SCL", "scl"), ("QA60", "qa60"), ("CLM", "s2cloudless"), ("CLP", "clp"), ("mask", None)],
)
def test_names_of_bands(write: Write, band: str, name: str | None) -> None:
    path = write("one.tif", raster(0, 1, 3), descriptions=(band,))
    if name in ("scl", "clp"):
        assert read(path)[0] == name
    else:  # these codes do not fit
        words = "may be codes of" if name is None else f"expected {SCHEMES[name].title} codes"
        with pytest.raises(InputError, match=re.escape(words)):
            read(path)


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({"CMCR_VALUES": "0 clear, 1 cloud or shadow, 2 thin cirrus, 255 nodata"}, "cmcr"),  # 0.4
        ({"CMCR_VALUES": "0 clear, 1 thick cloud, 2 thin cloud, 3 shadow, 255 nodata"}, "cmcr"),
        ({"OCM_VERSION": "1.8.1"}, "omnicloudmask"),
        ({"CMCR_VALUES": "0 nodata, 1 observed, 2 reconstructed", "CMCR_MASK": "auto"}, None),
    ],
)
@pytest.mark.parametrize("values", [(0, 2), (1, 1), (0, 1, 2, 3)])
def test_tags(write: Write, tags: dict[str, str], name: str | None, values: tuple[int, ...]) -> None:
    path = write("T31UFU_SCL_20m_edited.tif", raster(*values))
    with rasterio.open(path, "r+") as file:
        file.update_tags(**tags)
    if name is None:
        with pytest.raises(InputError, match="--mask-codes"):
            read(path)
    else:
        found, classes = read(path)
        assert found == name and np.array_equal(classes, raster(*values))


@pytest.mark.parametrize("values", [(4, 5, 8, 9), (0, 3, 6, 9), (5, 6), (2, 4, 7, 10, 11)])
def test_values_that_only_scl_has(write: Write, values: tuple[int, ...]) -> None:
    with open_mask(write("classes.tif", raster(*values)), GRID) as mask:
        assert mask.scheme.name == "scl"


@pytest.mark.parametrize(
    "values",
    [
        (1, 1),  # all covered, all water (Fmask), all clear (KappaMask), all saturated (SCL)
        (2, 2),
        (0, 2),
        (1, 2),
        (0, 1, 255),  # covered (CLM) or water (Fmask)
        (4, 5),  # vegetation and soil (SCL) or cloud and nodata (KappaMask)
        (0, 2, 4, 6, 8, 10),  # flags of HLS, all of them even
        (0, 3, 7, 11),  # flags of MAJA
        (0, 12, 40),  # per cent, or flags
        (0, 200),
    ],
)
def test_values_that_several_tools_use(write: Write, values: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"may be codes of .*--mask-codes NAME"):
        read(write("classes.tif", raster(*values)))


def test_values_beyond_the_sample_count(write: Write) -> None:
    stored = np.zeros((2000, 130), np.uint8)
    stored[0, 0], stored[200, 7] = 1, 2
    grid = Grid(GRID.crs, GRID.transform, 130, 2000)
    path = write("classes.tif", stored)
    with pytest.raises(InputError, match="holds 0, 1, 2, which may be codes of"), open_mask(path, grid):
        pass


@pytest.mark.parametrize("values", [(0, -1), (0, 4000), (0, 1, np.nan), (0.5, 1.5), (0, np.inf)])
def test_values_that_no_tool_uses(write: Write, values: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"codes of no tool.*Spell them out as in --mask-codes"):
        read(write("classes.tif", raster(*values, dtype="float32")))


def test_fractions_are_a_probability(write: Write) -> None:
    stored = raster(0, 0.2, 0.39, 0.41, 1, dtype="float32")
    name, found = read(write("p.tif", stored))
    assert name == "probability" and np.array_equal(found == THICK, stored > 0.4)
    with pytest.raises(InputError, match=r"holds 0\.2, 0\.39, 0\.41; expected per cent codes"):
        read(write("p.tif", stored), "percent")


def test_a_file_of_one_bit_is_binary_even_when_all_is_covered(write: Write) -> None:
    name, found = read(write("mask.tif", raster(1), nbits=1))
    assert name == "binary" and (found == THICK).all()
