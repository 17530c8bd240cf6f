"""Names of the layers of a stack, and what its attributes state of each of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from cmcr_cli.errors import RadiometryError

NANOMETRES = 400.0, 2500.0
"""Wavelengths of Sentinel-2; the same numbers as micrometres are below 3."""


def names_of(array: xr.DataArray, dim: Hashable, what: str, *, named: bool) -> tuple[str | None, ...]:
    """Names: texts or wavelengths along the dimension of the layers, else rioxarray's long_name.

    Args:
        array: The stack.
        dim: Dimension of its layers.
        what: Name of the argument, for messages.
        named: Whether an option names them.

    Returns:
        One name each; None: it has none.

    Raises:
        RadiometryError: Layers without names were chosen from others or reordered, so that neither their
            number nor their order tells what they are.
    """
    count = array.sizes[dim]
    values = array.coords[dim].values if dim in array.coords else np.arange(count)
    if values.dtype.kind in "UOT":
        return tuple(map(str, values))
    # Whole numbers are never micrometres, and may be numbers of layers.
    for unit in {"i": (1.0,), "u": (1.0,), "f": (1.0, 1000.0)}.get(values.dtype.kind, ()):
        lengths = values.astype(np.float64) * unit
        if np.all((lengths >= NANOMETRES[0]) & (lengths <= NANOMETRES[1])):
            return tuple(f"{round(float(length), 1):g} nm" for length in lengths)
    stated = each_of(array, dim, array.attrs.get("long_name"))
    if all(isinstance(text, str) for text in stated) and len(set(stated)) in (count, *range(2, count)):
        return stated
    numbers = _numbers(array, dim)
    if numbers is not None and not named and numbers not in ([*range(count)], [*range(1, count + 1)]):
        raise RadiometryError(
            f"{what}: its layers are numbers {', '.join(map(str, numbers))} of a stack without names; "
            "expected names, since their order tells nothing. Give them, as in "
            f'ds.assign_coords({dim}=["B02", "B03"]), or for the scene with bands=.'
        )
    return (None,) * count


def each_of(array: xr.DataArray, dim: Hashable, value: Any) -> tuple[Any, ...]:
    """Part an attribute that states a value for each layer, or one for all.

    rioxarray numbers the layers of a file along their dimension, and its attributes stay those of the file
    where layers are chosen or reordered.

    Args:
        array: The stack.
        dim: Dimension of its layers.
        value: Value of the attribute.

    Returns:
        One value for each layer.
    """
    count = array.sizes[dim]
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str):
        return (value,) * count
    numbers = _numbers(array, dim)
    if numbers is not None and min(numbers) >= 1 and max(numbers) <= len(value):
        return tuple(value[number - 1] for number in numbers)
    return tuple(value) if len(value) == count else (value,) * count


def _numbers(array: xr.DataArray, dim: Hashable) -> list[int] | None:
    """Whole numbers along the dimension of the layers."""
    if dim not in array.coords or array.coords[dim].dtype.kind not in "iu":
        return None
    return [int(number) for number in array.coords[dim].values]
