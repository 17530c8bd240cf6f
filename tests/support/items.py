"""STAC items as catalogues write them: asset keys, and where scale, offset, baseline and sun are stated."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from cmcr_cli.scene.bands import L2A_BANDS
from tests.support.rasters import CORNER, UTM31

COMMON = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09",
          "swir16", "swir22")  # fmt: skip
METRES = (20, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20)
"""The finest resolution in which each band is delivered."""

METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
<n1:General_Info>{}</n1:General_Info></n1:Level-2A_User_Product>"""


@dataclass(frozen=True)
class Catalogue:
    """How a catalogue describes a product.

    Attributes:
        label: Its name, and the kind of product.
        keys: Assets of the 12 bands.
        scl: Asset of the scene classification.
        fields: Of each band's asset.
        properties: Of the item.
        baseline: Of the product.
        stored: Offset in the pixels: DN = reflectance x 10 000 + stored.
        metadata: Key of the asset of the product's metadata.
        copies: Assets that are second copies, and have to be left alone.
        match: Part of a warning; empty: there is none.
        cure: For `--offset`, where the item is wrong or says nothing, and cmcr warns.
    """

    label: str
    keys: tuple[str, ...]
    scl: str
    baseline: str
    stored: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    metadata: str | None = None
    copies: tuple[str, ...] = ()
    match: str = ""
    cure: int | None = None


VIEW = {"view:sun_azimuth": 152.3, "view:sun_elevation": 41.3}
MEAN = {"s2:mean_solar_azimuth": 152.3, "s2:mean_solar_zenith": 48.7}
RASTER = {"raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": -0.1}]}
NO_OFFSET = {"raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": 0}]}
JP2 = tuple(f"{key}-jp2" for key in COMMON)
SIZED = tuple(f"{name}_{metres}m" for name, metres in zip(L2A_BANDS, METRES, strict=True))
COARSER = tuple(f"{name}_60m" for name in L2A_BANDS if name != "B09")


def _baseline(version: str, *more: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"s2:processing_baseline": version}
    for each in more:
        found |= each
    return found


APPLIED = "earthsearch:boa_offset_applied"

CATALOGUES = (
    Catalogue("Earth Search v1, removed", COMMON, "scl", "05.09", 0, RASTER,
              _baseline("05.09", VIEW, {APPLIED: True}), copies=JP2, match="applied already"),
    Catalogue("Earth Search v1, not removed", COMMON, "scl", "05.09", 1000, RASTER,
              _baseline("05.09", VIEW, {APPLIED: False}), copies=JP2, match="still in the pixels"),
    Catalogue("Earth Search v1, removed and denied", COMMON, "scl", "05.11", 0, RASTER,
              _baseline("05.11", VIEW, {APPLIED: False}), copies=JP2, match="below 0", cure=0),
    Catalogue("Earth Search v1, before 04.00", COMMON, "scl", "02.14", 0, NO_OFFSET,
              _baseline("02.14", VIEW, {APPLIED: False}), copies=JP2),
    Catalogue("Earth Search v1, before 04.00, contradicting", COMMON, "scl", "03.01", 0, RASTER,
              _baseline("03.01", VIEW, {APPLIED: False}), copies=JP2, match="which has none"),
    Catalogue("Earth Search v0", L2A_BANDS, "SCL", "04.00", 0, {},
              VIEW | {"sentinel:processing_baseline": "04.00", "sentinel:boa_offset_applied": True},
              match="applied already"),
    Catalogue("Earth Search, Collection 1", COMMON, "scl", "05.00", 1000, RASTER, _baseline("05.00", VIEW),
              metadata="product_metadata"),
    Catalogue("Planetary Computer, 05.10", L2A_BANDS, "SCL", "05.10", 1000, {}, _baseline("05.10", MEAN),
              metadata="product-metadata"),
    Catalogue("Planetary Computer, 02.12", L2A_BANDS, "SCL", "02.12", 0, {}, _baseline("02.12", MEAN),
              metadata="product-metadata"),
    Catalogue("Planetary Computer, bands alone", L2A_BANDS, "SCL", "05.10", 1000, {},
              _baseline("05.10", MEAN), match="not stated", cure=-1000),
    Catalogue("Copernicus Data Space", SIZED, "SCL_20m", "05.11", 1000,
              {"raster:scale": 0.0001, "raster:offset": -0.1, "nodata": 0, "type": "image/jp2"},
              VIEW | {"processing:version": "05.11"}, metadata="product_metadata", copies=COARSER),
    Catalogue("Copernicus Data Space, bands of STAC 1.1", SIZED, "SCL_20m", "05.11", 1000,
              {"bands": [{"raster:scale": 0.0001, "raster:offset": -0.1}]},
              VIEW | {"processing:version": "05.11"}, copies=COARSER),
)  # fmt: skip


def write_item(folder: Path, catalogue: Catalogue, reflectance: NDArray[np.float32]) -> Path:
    """Write an item and its files.

    Args:
        folder: For the files.
        catalogue: That describes them.
        reflectance: Of L2A_BANDS (12, rows, columns).

    Returns:
        The path of the item.
    """
    dn = np.rint(reflectance.clip(0.0001) * 10_000 + catalogue.stored).astype(np.uint16)
    assets: dict[str, Any] = {}
    for key, pixels in zip(catalogue.keys, dn, strict=True):
        _write(folder / f"{key}.tif", pixels)
        assets[key] = {"href": f"{key}.tif", "type": "image/tiff", "roles": ["data"]} | catalogue.fields
    _write(folder / "scl.tif", np.full(dn.shape[1:], 4, np.uint8))
    assets[catalogue.scl] = {"href": "scl.tif", "type": "image/tiff"}
    for key in catalogue.copies:
        assets[key] = {"href": f"gone/{key}.jp2", "type": "image/jp2"} | catalogue.fields
    for key in ("visual", "TCI_10m"):
        assets[key] = {"href": "tci.tif", "roles": ["visual"], "eo:bands": [{"name": "red"}] * 3}
    for key in ("AOT", "wvp", "AOT_10m", "snow", "cloud", "preview", "thumbnail"):
        assets[key] = {"href": f"{key}.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
    if catalogue.metadata is not None:
        offsets = f"<BOA_ADD_OFFSET>{-catalogue.stored}</BOA_ADD_OFFSET>" * bool(catalogue.stored)
        (folder / "MTD_MSIL2A.xml").write_text(METADATA.format(offsets))
        assets[catalogue.metadata] = {"href": "MTD_MSIL2A.xml", "type": "application/xml"}
    path = folder / "item.json"
    path.write_text(
        json.dumps({
            "type": "Feature", "stac_version": "1.0.0", "id": "S2A_31UFU_20240601_0_L2A", "links": [],
            "collection": "sentinel-2-l2a", "geometry": None, "assets": assets,
            "properties": {"datetime": "2024-06-01T10:20:31Z", "constellation": "sentinel-2"}
            | catalogue.properties,
        })
    )  # fmt: skip
    return path


def _write(path: Path, pixels: NDArray[Any]) -> None:
    height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=1, dtype=pixels.dtype, crs=UTM31,
        transform=CORNER,
    ) as dataset:  # fmt: skip
        dataset.write(pixels, 1)
