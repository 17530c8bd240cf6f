from __future__ import annotations

from pathlib import Path

import pytest

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.option_paths import LONGEST_NAME, check_input_name, check_output_name, file_name


def test_names_that_no_file_can_have() -> None:
    with pytest.raises(OptionError, match="zero byte"):
        check_input_name("a\0b.tif")
    with pytest.raises(InputError, match="cannot be looked up"):
        check_input_name("x" * 5000)
    check_input_name("/vsis3/bucket/absent.tif")


def test_names_of_outputs_leave_room_for_temporary_files(tmp_path: Path) -> None:
    check_output_name("-o", tmp_path / ("x" * LONGEST_NAME))
    for path, told in (
        (tmp_path / ("x" * (LONGEST_NAME + 1)), "221 bytes"),
        (tmp_path / ("x" * 256) / "a.tif", "folders of at most 255"),
        (tmp_path / "/".join(["x" * 200] * 20) / "a.tif", "4000 altogether"),
        (Path("a\0b.tif"), "zero byte"),
    ):
        with pytest.raises(OptionError, match=f"^-o .*{told}"):
            check_output_name("-o", path)


def test_names_hold_no_secrets() -> None:
    assert file_name("/vsicurl/https://host/a/B04.tif?sig=secret") == "B04.tif"
    assert file_name("in/product.SAFE") == "product.SAFE" and file_name("scl") == "scl"
