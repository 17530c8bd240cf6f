"""What the values of masks mean: the table of schemes, and `--mask-codes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.scene.masks.mask_codes import ALIASES, SCHEMES, help_text, parse_codes
from cmcr_cli.scene.masks.mask_raster import CloudClass, open_mask
from cmcr_cli.scene.masks.mask_values import UNKNOWN, classes_of
from tests.support.masks import GRID, raster, read

if TYPE_CHECKING:
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
