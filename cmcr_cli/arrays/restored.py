"""The outputs of a removal as a Dataset, with the coordinates of the array that the scene was."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import rioxarray
import xarray as xr

from cmcr_cli.arrays.array_layers import ArrayImage
from cmcr_cli.arrays.prepared import OUTPUTS, Files
from cmcr_cli.scene.layers.layer_texts import is_other_layer
from cmcr_cli.scene.layers.stack_layers import LEFT_OUT

ENCODING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "grid_mapping")
"""Of the scene, kept in the result: how values are stored, and nothing about chunks and files."""

FLAT = ("provenance", "source_date")
"""Rasters of one band."""

PREFIX = "CMCR_"
"""Of the tags that cmcr writes."""


def restored(files: Files) -> xr.Dataset:
    """Read the outputs: into memory where their files are temporary, else when they are used.

    Args:
        files: Of a removal that is done.

    Returns:
        One variable for each raster.
    """
    found: dict[str, xr.DataArray] = {}
    made_by: dict[str, str] = {}
    for option in OUTPUTS:
        path = getattr(files.options, option)
        if path is None:
            continue
        opened: Any = rioxarray.open_rasterio(path)
        if option in files.temporary:
            opened.load()
            opened.close()
        tags = {key: text for key, text in opened.attrs.items() if key.startswith(PREFIX)}
        one = _named(opened, option)
        if files.scene is not None:
            one = _laid_like(one, files.scene, files.options.bands)
        if option == "output":
            found["image"], made_by = _described_like(one, files.scene), tags
        else:
            # The meaning of values, the names of references, and the nodata value.
            own = {key: text for key, text in opened.attrs.items() if key in tags.keys() - made_by.keys()}
            one.attrs = {key.removeprefix(PREFIX).lower(): text for key, text in own.items()}
            one.attrs["_FillValue"] = opened.attrs["_FillValue"]
            found[option] = one
    return xr.Dataset(found, attrs=made_by)


def _named(opened: Any, option: str) -> xr.DataArray:
    """An output with the names of its bands, or without a dimension for its only one."""
    if option in FLAT:
        flat: xr.DataArray = opened.isel(band=0, drop=True)
        return flat
    texts = opened.attrs["long_name"]
    names = [texts] if isinstance(texts, str) else texts
    found: xr.DataArray = opened.assign_coords(band=[name.removeprefix("std_") for name in names])
    return found


def _laid_like(one: xr.DataArray, scene: ArrayImage, options: Sequence[str] | None) -> xr.DataArray:
    """An output with rows, columns and coordinates as those of the scene, or of the part that it shows."""
    place, transform = scene.place, one.rio.transform()
    top = round((transform.f - place.transform.f) / place.transform.e)
    left = round((transform.c - place.transform.c) / place.transform.a)
    parts: dict[Hashable, Any] = {}
    for name, order, start, size in (
        (place.y, place.order[0], top, one.sizes["y"]),
        (place.x, place.order[1], left, one.sizes["x"]),
    ):
        first = scene.array.sizes[name] - start - size if order.step == -1 else start
        parts[name] = slice(first, first + size)
    one = one.isel(y=place.order[0], x=place.order[1]).rename(y=place.y, x=place.x)
    if "band" in one.dims:
        bands = _bands_of(scene, options, one.sizes["band"])
        if scene.layers.stacked:
            dim = scene.layers.pieces[0].dims[0]
            one, parts[dim] = one.rename(band=dim), [scene.sources[n] for n in bands]
        else:
            one = one.assign_coords(band=[scene.layers.names[n] for n in bands])
    like = scene.array.isel({name: part for name, part in parts.items() if name in scene.array.dims})
    if like.rio.grid_mapping in like.coords:
        one = one.drop_vars("spatial_ref")
    return one.assign_coords(
        {name: each.variable for name, each in like.coords.items() if set(each.dims) <= set(one.dims)}
    )


def _bands_of(scene: ArrayImage, options: Sequence[str] | None, count: int) -> list[int]:
    """Places of the layers of the scene that are in the image: `count` of them, in their order."""
    bands = list(scene.bands)
    if options is not None and len(options) == len(scene.layers.names):
        bands = [n for n, text in enumerate(options) if text != LEFT_OUT and not is_other_layer(text)]
    return bands if len(bands) == count else bands[:count]


def _described_like(image: xr.DataArray, scene: ArrayImage | None) -> xr.DataArray:
    """The image with the attributes of the scene, and with what states how its values are stored."""
    if scene is None:
        return image
    of_all: list[Mapping[Any, Any]] = [scene.array.attrs]
    encoding: Mapping[Any, Any] = scene.array.encoding
    if isinstance(scene.array, xr.Dataset):
        variables = [scene.array[name] for name in image["band"].values]
        of_all = [each.attrs for each in variables]
        encoding = variables[0].encoding
    first, *rest = of_all
    image.attrs = {key: text for key, text in first.items() if all(_has(each, key, text) for each in rest)}
    mapping = {key: text for key, text in image.encoding.items() if key == "grid_mapping"}
    image.encoding = {**mapping, **{key: encoding[key] for key in ENCODING if key in encoding}}
    if "grid_mapping" in image.attrs:
        image.encoding.pop("grid_mapping", None)
    return image


def _has(attrs: Mapping[Any, Any], key: Any, value: Any) -> bool:
    return key in attrs and bool(attrs[key] is value or str(attrs[key]) == str(value))
