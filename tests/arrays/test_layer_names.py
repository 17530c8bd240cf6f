from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmcr_cli.arrays.layer_names import each_of, names_of
from cmcr_cli.errors import RadiometryError


def stack(values: Any, names: Any = None) -> xr.DataArray:
    attrs = {} if names is None else {"long_name": names}
    size = 3 if values is None else len(values)
    coords = {} if values is None else {"band": values}
    return xr.DataArray(np.zeros((size, 2, 2)), dims=("band", "y", "x"), coords=coords, attrs=attrs)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (stack(["red", "nir"], ("a", "b")), ("red", "nir")),
        (stack(None, ("blue", "green", "red")), ("blue", "green", "red")),
        # Chosen and reordered layers of a file whose attributes rioxarray leaves as they were.
        (stack([3, 1], ("blue", "green", "red")), ("red", "blue")),
        (stack([2, 1, 3], ["blue", "green", "red"]), ("green", "blue", "red")),
        (stack([2], ("blue", "green", "red")), ("green",)),
        (stack([664.6, 492.4]), ("664.6 nm", "492.4 nm")),
        (stack(np.array([0.6646, 2.1857], "float32")), ("664.6 nm", "2185.7 nm")),
        (stack([1, 2, 3]), (None, None, None)),
        (stack([0, 1], "reflectance"), (None, None)),
    ],
)
def test_names(given: xr.DataArray, names: tuple[str | None, ...]) -> None:
    assert names_of(given, "band", "ds", named=False) == names


@pytest.mark.parametrize("numbers", [[2, 1], [3, 4, 5], [1, 2, 4]])
def test_numbers_of_layers_without_names_tell_nothing(numbers: list[int]) -> None:
    with pytest.raises(
        RadiometryError, match=rf"^ds: .* numbers {numbers[0]}, {numbers[1]}.*assign_coords\(band"
    ):
        names_of(stack(numbers), "band", "ds", named=False)
    assert names_of(stack(numbers), "band", "ds", named=True) == (None,) * len(numbers)


def test_an_attribute_of_each_layer() -> None:
    assert each_of(stack([3, 1]), "band", (0.1, 0.2, 0.3)) == (0.3, 0.1)
    assert each_of(stack(["a", "b"]), "band", np.array([1, 2])) == (1, 2)
    assert each_of(stack([1, 2]), "band", 0.0001) == (0.0001, 0.0001)
