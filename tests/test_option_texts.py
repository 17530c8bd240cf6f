from __future__ import annotations

import pytest

from cmcr_cli.errors import OptionError
from cmcr_cli.option_texts import batch_size_of, bounds_of, creation_options_of, names_of, sun_of_text
from cmcr_cli.scene.sun import Sun


def test_texts_are_read() -> None:
    assert (batch_size_of("auto"), batch_size_of("8")) == (None, 8)
    assert bounds_of("4.6, 53.1,4.8,53.2") == (4.6, 53.1, 4.8, 53.2)
    assert sun_of_text("152.3, 41") == Sun(152.3, 41.0)
    assert names_of("B02,B8A") == ("B02", "B8A")
    options = creation_options_of(["compress=ZSTD", "ZSTD_LEVEL = 9", "X=a=b"])
    assert options == {"COMPRESS": "ZSTD", "ZSTD_LEVEL": "9", "X": "a=b"}


@pytest.mark.parametrize("text", ["", "some", "-1", "2.5"])
def test_batch_sizes_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match=f"--batch-size '{text}': expected auto or a number"):
        batch_size_of(text)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,north"])
def test_boxes_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match=r"--bbox .*: expected west,south,east,north"):
        bounds_of(text)


@pytest.mark.parametrize("text", ["", "152", "152,41,3", "south,high"])
def test_suns_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match=r"--sun .*: expected AZIMUTH,ELEVATION"):
        sun_of_text(text)


@pytest.mark.parametrize("item", ["COMPRESS", "=ZSTD", "COMPRESS="])
def test_creation_options_need_a_name_and_a_value(item: str) -> None:
    with pytest.raises(OptionError, match="NAME=VALUE"):
        creation_options_of([item])
