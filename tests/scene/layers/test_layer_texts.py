from __future__ import annotations

import pytest

from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.layers.layer_texts import is_other_layer, names_of_texts, says_nothing


@pytest.mark.parametrize(
    "text",
    [
        "SCL",
        "dataMask",
        "MSK_CLDPRB",
        "std_B02",
        "B04_mask",
        "QA60",
        "cloud probability",
        "B02_anomaly",
        "B04_diff",
    ],
)
def test_layers_that_are_no_reflectance(text: str) -> None:
    assert is_other_layer(text)


@pytest.mark.parametrize("text", ["B04", "red", "B02_cloudless", "Band 9 (water vapour)", "cirrus", ""])
def test_layers_that_may_be_bands(text: str) -> None:
    assert not is_other_layer(text)


@pytest.mark.parametrize(
    "texts",
    [
        [f"Band {i}" for i in range(1, 14)],
        [f"B{i}" for i in range(1, 13)],
        [f"stack_{i}" for i in range(12)],
        [f"Band {i}" for i in range(1, 5)],
        ["Gray"] * 12,
        [""] * 13,
    ],
)
def test_texts_that_only_count_say_nothing(texts: list[str]) -> None:
    assert says_nothing(texts)


def test_texts_that_say_something() -> None:
    assert not says_nothing(["B1", "B2", "B3", "B4"])
    assert not says_nothing(L2A_BANDS)
    assert names_of_texts(tuple(reversed(BANDS))) == tuple(reversed(BANDS))


def test_the_same_name_in_different_tools() -> None:
    assert names_of_texts(["nir", "swir1", "swir2"]) == ("B08", "B11", "B12")
    assert names_of_texts(["BROADNIR", "NIR"]) == ("B08", "B8A")
    assert names_of_texts(["swir_2", "swir_3"]) == ("B11", "B12")
    assert names_of_texts(["nbart_swir_2"]) == ("B11",)
    assert names_of_texts(["red", "swir_2"]) == ("B04", None)
