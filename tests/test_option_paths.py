from __future__ import annotations

import re
from pathlib import Path

import pytest

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.option_paths import (
    COG,
    ITEM,
    LONGEST_NAME,
    PAGE,
    PICTURE,
    Format,
    check_input_name,
    check_output_folder,
    check_output_name,
    file_name,
    style_beside,
)


def test_names_that_no_file_can_have() -> None:
    with pytest.raises(OptionError, match="zero byte"):
        check_input_name("a\0b.tif")
    with pytest.raises(InputError, match="cannot be looked up"):
        check_input_name("x" * 5000)
    check_input_name("/vsis3/bucket/absent.tif")


def test_names_of_outputs_leave_room_for_temporary_files(tmp_path: Path) -> None:
    longest = "x" * (LONGEST_NAME - 4) + ".tif"
    check_output_name("-o", tmp_path / longest, COG)
    for path, told in (
        (tmp_path / ("x" + longest), "221 bytes"),
        (tmp_path / ("x" * 256) / "a.tif", "folders of at most 255"),
        (tmp_path / "/".join(["x" * 200] * 20) / "a.tif", "4000 altogether"),
        (Path("a\0b.tif"), "zero byte"),
    ):
        with pytest.raises(OptionError, match=f"^-o .*{told}"):
            check_output_name("-o", path, COG)


@pytest.mark.parametrize(
    ("form", "good", "bad", "told"),
    [
        (COG, ("a.tif", "b.TIFF"), "x.png", "ends in .png; expected .tif or .tiff"),
        (COG, ("a.b.tif",), "x.tif.zip", "ends in .zip; expected .tif"),
        (COG, ("-.tif",), "clear", "has no ending; expected .tif or .tiff.*for example, clear.tif"),
        (COG, (), ".tif", "has no ending"),
        (PICTURE, ("a.png", "A.PNG"), "q.tif", "ends in .tif; expected .png"),
        (PAGE, ("a.html", "a.htm"), "r.pdf", "ends in .pdf; expected .html or .htm"),
        (ITEM, ("a.json", "a.geojson"), "st.tif", "ends in .tif; expected .json or .geojson"),
        *((form, (), "-", "is a stream; expected the name of a file") for form in (COG, PICTURE, PAGE, ITEM)),
    ],
)
def test_an_ending_says_what_is_written(form: Format, good: tuple[str, ...], bad: str, told: str) -> None:
    for name in good:
        check_output_name("--option", Path(name), form)
    with pytest.raises(OptionError, match=rf"^--option {re.escape(bad)}: .*{told}"):
        check_output_name("--option", Path(bad), form)


def test_a_folder_is_refused_where_it_would_be_replaced(tmp_path: Path) -> None:
    """With another reason, by what checks that an output can be written."""
    check_output_name("-o", tmp_path, COG)


def test_folders_do_not_have_names_of_files(tmp_path: Path) -> None:
    for name in ("out", "a.b", "2024.06"):
        check_output_folder("-o", Path(name))
    (tmp_path / "is.tif").mkdir()
    check_output_folder("-o", tmp_path / "is.tif")
    with pytest.raises(OptionError, match=r"^-o out.tif: ends in .tif, as a file does; expected a folder"):
        check_output_folder("-o", Path("out.tif"))
    with pytest.raises(OptionError, match="is a stream; expected a folder"):
        check_output_folder("-o", Path("-"))


def test_a_style_has_the_name_of_its_raster() -> None:
    assert style_beside(Path("a/b.c.tiff")) == Path("a/b.c.qml")


def test_names_hold_no_secrets() -> None:
    assert file_name("/vsicurl/https://host/a/B04.tif?sig=secret") == "B04.tif"
    assert file_name("in/product.SAFE") == "product.SAFE" and file_name("scl") == "scl"
