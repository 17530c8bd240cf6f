"""What the values of masks mean: the table of schemes, `--mask-codes`, and what is recognised without it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_codes import ALIASES, SCHEMES, help_text, parse_codes
from cmcr_cli.scene.masks.mask_raster import CloudClass, open_mask
from cmcr_cli.scene.masks.mask_values import UNKNOWN, classes_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rasters import Write

CLEAR, THICK, THIN, SHADOW = CloudClass

EXPECTED: dict[str, dict[float, int]] = {
    "cmcr": {0: CLEAR, 1: THICK, 2: THIN, 3: SHADOW, 255: CLEAR, 4: UNKNOWN},
    "binary": {0: CLEAR, 1: THICK, 2: UNKNOWN, 255: UNKNOWN},
    "scl": {
        0: CLEAR,
        1: CLEAR,
        2: CLEAR,
        3: SHADOW,
        4: CLEAR,
        5: CLEAR,
        6: CLEAR,
        7: CLEAR,
        8: THICK,
        9: THICK,
    }
    | {10: THIN, 11: CLEAR, 12: UNKNOWN},
    "omnicloudmask": {0: CLEAR, 1: THICK, 2: THIN, 3: SHADOW, 4: UNKNOWN},
    "fmask": {0: CLEAR, 1: CLEAR, 2: SHADOW, 3: CLEAR, 4: THICK, 5: UNKNOWN, 255: CLEAR},
    "python-fmask": {0: CLEAR, 1: CLEAR, 2: THICK, 3: SHADOW, 4: CLEAR, 5: CLEAR, 6: UNKNOWN},
    "hls": {
        0: CLEAR,
        2: THICK,
        4: CLEAR,
        8: SHADOW,
        10: THICK,
        16: CLEAR,
        32: CLEAR,
        64 + 8: SHADOW,
        255: CLEAR,
    },
    "maja": {0: CLEAR, 1: THICK, 3: THICK, 4: CLEAR, 16: THIN, 33: SHADOW, 65: SHADOW, 128: THIN, 131: THICK},
    "kappamask": {0: CLEAR, 1: CLEAR, 2: SHADOW, 3: THIN, 4: THICK, 5: CLEAR, 6: UNKNOWN},
    "qa60": {0: CLEAR, 1: UNKNOWN, 1024: THICK, 2048: THIN, 3072: THICK, 65535: UNKNOWN},
    "s2cloudless": {0: CLEAR, 1: THICK, 255: CLEAR, 2: UNKNOWN},
    "probability": {0: CLEAR, 0.39: CLEAR, 0.3999: CLEAR, 0.4: THICK, 1: THICK, 1.1: UNKNOWN, -0.1: UNKNOWN},
    "percent": {0: CLEAR, 39: CLEAR, 40: THICK, 100: THICK, 101: UNKNOWN, 0.5: UNKNOWN},
    "clp": {0: CLEAR, 101: CLEAR, 102: THICK, 255: THICK, 256: UNKNOWN, 0.5: UNKNOWN},
}
"""Of every scheme of one band: its values and what they mean."""

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), 60, 80)


def raster(*values: float, dtype: str = "uint8") -> NDArray[Any]:
    """Pixels of GRID: a patch of each of `values`, and the first one everywhere else."""
    pixels = np.full((80, 60), values[0], dtype)
    for place, value in enumerate(values):
        pixels[3 * place : 3 * place + 3, 20:30] = value
    return pixels


def read(path: Path, codes: str | None = None) -> tuple[str, NDArray[np.uint8]]:
    """Name of the scheme that a mask is read by, and its classes."""
    with open_mask(path, GRID, codes=codes) as mask:
        return mask.scheme.name, mask.read(0, 80)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("name", EXPECTED)
def test_every_value_of_every_scheme(name: str, dtype: str) -> None:
    values = [
        value for value in EXPECTED[name] if np.array(value).astype(dtype) == np.array(value, np.float32)
    ]
    found = classes_of(SCHEMES[name], np.array([values], np.float64).astype(dtype))
    assert found.tolist() == [EXPECTED[name][value] for value in values]


def test_every_scheme_is_tested_here() -> None:
    assert {*EXPECTED, "msk_classi"} == set(SCHEMES) and ALIASES == {"cloudsen12": "omnicloudmask"}
    assert all(scheme.name in help_text() and scheme.meaning in help_text() for scheme in SCHEMES.values())
    assert "cloudsen12" in help_text()


def test_three_bands_of_msk_classi() -> None:
    thick, cirrus, snow = (array.ravel() for array in np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"))
    found = classes_of(SCHEMES["msk_classi"], np.stack([thick, cirrus, snow]).astype(np.uint8))
    assert np.array_equal(found, np.where(thick, THICK, np.where(cirrus, THIN, CLEAR)))
    assert classes_of(SCHEMES["msk_classi"], np.array([[2], [0], [0]])).tolist() == [UNKNOWN]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_list_of_codes(write: Write, dtype: str) -> None:
    path = write("classes.tif", raster(0, 1, 2, 3, 8, 9, 10, 77, dtype=dtype))
    name, found = read(path, "1=cloud, 2=THIN,3=shadow,8-10=cloud,77=nodata".lower())
    assert name == "1=cloud,2=thin,3=shadow,8-10=cloud,77=nodata"
    assert found[1::3, 25][:8].tolist() == [CLEAR, THICK, THIN, SHADOW, THICK, THICK, THICK, CLEAR]


def test_what_is_not_listed_is_refused_unless_else_says_what_it_is(write: Write) -> None:
    path = write("classes.tif", raster(0, 1, 2, 7))
    with pytest.raises(InputError, match=r"holds 2, 7; expected given codes: 1=cloud\. .*--mask-codes"):
        read(path, "1=cloud")
    assert read(path, "1=cloud,else=clear")[1][1::3, 25][:4].tolist() == [CLEAR, THICK, CLEAR, CLEAR]
    # A mask of what is valid: 0 is not clear once `else` says something of it.
    assert read(path, "1=clear,else=cloud")[1][1::3, 25][:4].tolist() == [THICK, CLEAR, THICK, THICK]


def test_else_does_not_hide_values_that_are_not_numbers(write: Write) -> None:
    with pytest.raises(InputError, match="holds nan"):
        read(write("classes.tif", raster(0, 1, np.nan, dtype="float32")), "1=cloud,else=clear")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "fmsk",
            "--mask-codes fmsk: expected one of cmcr, binary, scl, .*cloudsen12, or a list such as 1=cloud",
        ),
        ("", "expected one of"),
        ("1=clouds", "'1=clouds' is not understood.*clear, cloud, thin, shadow, nodata"),
        ("1=cloud,", "'' is not understood"),
        ("1=cloud;2=thin", "'1=cloud;2=thin' is not understood"),
        ("-1=cloud", "'-1=cloud' is not understood"),
        ("1.5=cloud", "'1.5=cloud' is not understood"),
        ("10-8=cloud", "'10-8=cloud' is not a range"),
        ("1-99999999=cloud", "not a range; expected values of 0 to 65535"),
        ("1-3=cloud,2=thin", "2 is listed twice"),
        ("1=cloud,else=clear,else=thin", "else is listed twice"),
        ("0=clear,1=nodata", "no value means cloud, thin or shadow"),
    ],
)
def test_mask_codes_that_are_not_understood(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_codes(text)


@pytest.mark.parametrize("text", ["CloudSEN12", " omnicloudmask ", "OmniCloudMask"])
def test_names_in_any_case_and_by_alias(text: str) -> None:
    assert parse_codes(text) is SCHEMES["omnicloudmask"]


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


def test_msk_classi_as_a_whole(write: Write) -> None:
    stored = np.stack([raster(0, 1, 0, 0), raster(0, 0, 1, 0), raster(0, 0, 0, 1)])
    expected = raster(0, THICK, THIN, CLEAR)
    for path, codes in ((write("MSK_CLASSI_B00.tif", stored), None), (write("m.tif", stored), "msk_classi")):
        assert np.array_equal(read(path, codes)[1], expected)
    with pytest.raises(
        InputError, match=r"has 3 bands; expected a cloud mask of one.*--mask-codes msk_classi"
    ):
        read(write("m.tif", stored))
    with pytest.raises(InputError, match="has 2 bands; expected MSK_CLASSI: three bands"):
        read(write("m.tif", stored[:2]), "msk_classi")
    with pytest.raises(InputError, match="holds 0, 2; expected MSK_CLASSI"):
        read(write("m.tif", stored * np.uint8(2)), "msk_classi")


@pytest.mark.parametrize(
    ("values", "nodata", "codes", "found"),
    [
        ((0, 1), 1, None, "1, which means thick in 0/1 codes.*-unsetnodata.*\"1=nodata\""),
        ((0, 1, 2, 3), 3, "omnicloudmask", "3, which means shadow in OmniCloudMask codes"),
        ((0, 9, 10), 10, "scl", "10, which means thin in SCL codes"),
        ((0, 255), 255, "clp", "255, which means thick in CLP codes"),
        ((0, 1), 0, "0=cloud,1=clear", "0, which means thick in given codes"),
    ],
)  # fmt: skip
def test_nodata_that_would_hide_clouds(
    write: Write, values: tuple[int, ...], nodata: int, codes: str | None, found: str
) -> None:
    with pytest.raises(InputError, match=f"its nodata value is {found}"):
        read(write("mask.tif", raster(*values), nodata=nodata), codes)


def test_nodata_that_is_said_to_be_nodata(write: Write) -> None:
    path = write("mask.tif", raster(0, 1, 2), nodata=1)
    assert np.array_equal(read(path, "1=nodata,2=cloud")[1] == THICK, raster(0, 1, 2) == 2)


@pytest.mark.parametrize(
    ("values", "codes", "silent"),
    [((0,), None, False), ((0, 1, 3), "fmask", False), ((0, 1), None, True), ((0, 2), "cmcr", True)],
)
def test_a_mask_that_covers_nothing_deserves_a_note(
    write: Write, values: tuple[int, ...], codes: str | None, silent: bool
) -> None:
    with open_mask(write("mask.tif", raster(*values)), GRID, codes=codes) as mask:
        assert any("covers nothing" in str(each) for each in mask.warnings) != silent


def test_the_note_says_how_the_mask_is_read(write: Write) -> None:
    with open_mask(write("mask.tif", raster(0, 1, 2)), GRID, codes="omnicloudmask") as mask:
        assert tuple(map(str, mask.warnings)) == (
            "the mask is read as OmniCloudMask codes: 0 clear, 1 thick cloud, 2 thin cloud, 3 shadow",
        )
