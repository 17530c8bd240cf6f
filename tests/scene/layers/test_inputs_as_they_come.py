"""Stacks as other tools write them: read as what they are, refused with a cure, or read with a warning."""

# ruff: noqa: E501 - tables
from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import ColorInterp

from cmcr_cli.errors import CmcrError
from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.layers.radiometry_check import check_radiometry
from cmcr_cli.scene.layers.reflectance_units import OURS
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.simulate.write import simulate_window
from tests.support.items import CATALOGUES
from tests.support.tables import cases_of_table

COMMON = dict(
    zip(
        BANDS,
        [
            "coastal",
            "blue",
            "green",
            "red",
            "rededge1",
            "rededge2",
            "rededge3",
            "nir",
            "nir08",
            "nir09",
            "cirrus",
            "swir16",
            "swir22",
        ],
        strict=True,
    )
)
FORCE = dict(
    zip(
        ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
        ["BLUE", "GREEN", "RED", "REDEDGE1", "REDEDGE2", "REDEDGE3", "BROADNIR", "NIR", "SWIR1", "SWIR2"],
        strict=True,
    )
)
DEA = dict(
    zip(
        ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
        [
            "coastal_aerosol",
            "blue",
            "green",
            "red",
            "red_edge_1",
            "red_edge_2",
            "red_edge_3",
            "nir_1",
            "nir_2",
            "swir_2",
            "swir_3",
        ],
        strict=True,
    )
)
NANOMETRES = dict(
    zip(BANDS, (443, 490, 560, 665, 705, 740, 783, 842, 865, 945, 1375, 1610, 2190), strict=True)
)
TEN = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
LAST = tuple(sorted(L2A_BANDS, key=lambda name: (name == "B8A", name)))
"""As `ls` sorts the files of a product."""


@dataclass(frozen=True)
class Case:
    """A file, and what is to be found of it.

    Attributes:
        label: Where such a file comes from.
        bands: The bands that its layers hold; other words are layers of that kind.
        texts: Descriptions of the layers, by default none.
        found: The bands as they are to be read; () where the file is to be refused.
        match: Part of the message, or of a warning.
        cure: What a refusal must name.
        options: For `open_optical`.
        profile: For the file.
        tags: Of the file.
        band_tags: Of each layer.
        scale: Of the stored numbers.
        reflectance: Of 10 000 DN as it is to be read.
    """

    label: str
    bands: Sequence[str]
    texts: Sequence[str | None] | None = None
    found: Sequence[str] = ()
    match: str = ""
    cure: str = "--bands"
    options: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    band_tags: Sequence[dict[str, str]] = ()
    scale: float = 10_000.0
    offset: float = 0.0
    name: str = "stack.tif"
    colours: Sequence[ColorInterp] = ()
    scaling: tuple[float, float] | None = None


def ok(label: str, bands: Sequence[str], texts: Sequence[str | None] | None = None, **more: Any) -> Case:
    more.setdefault("found", [name for name in bands if name in BANDS])
    return Case(label, bands, texts, **more)


NAMED = [
    ok("plain names", L2A_BANDS, L2A_BANDS),
    ok("sorted files, named", LAST, LAST),
    ok("Earth Engine S2_SR", L2A_BANDS, [name.replace("B0", "B") for name in L2A_BANDS]),
    ok("Earth Engine with QA60", (*L2A_BANDS, "flags"), [*L2A_BANDS, "QA60"], match="QA60"),
    ok("Earth Engine with cloud score", (*L2A_BANDS, "flags"), [*L2A_BANDS, "cs_cdf"], match="cs_cdf"),
    ok(
        "Earth Engine, all layers",
        (*L2A_BANDS, "flags", "flags", "classes", "flags", "flags"),
        [*L2A_BANDS, "AOT", "WVP", "SCL", "MSK_CLDPRB", "QA60"],
        match="--mask scl",
    ),
    ok("lower case", L2A_BANDS, [name.lower() for name in L2A_BANDS]),
    ok("with resolutions", L2A_BANDS, [f"{name}_20m" for name in L2A_BANDS]),
    ok("ESA names", L2A_BANDS, [f"T31UFU_20240601T102031_{name}_10m" for name in L2A_BANDS]),
    ok("Band 8A", L2A_BANDS, [f"Band {name[1:].lstrip('0')}" for name in L2A_BANDS]),
    ok(
        "GDAL's driver", BANDS, [f"{name}, central wavelength {nm} nm" for name, nm in NANOMETRES.items()]
    ),
    ok("STAC common names, alphabetical", sorted(L2A_BANDS, key=lambda n: COMMON[n]),
       sorted(COMMON[name] for name in L2A_BANDS)),
    ok("odc-stac", ("B04", "B03", "B02", "B08", "classes"), ["red", "green", "blue", "nir", "scl"], match="scl"),
    ok("rededge071", TEN, ["blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir08",
                           "swir16", "swir22"]),
    ok("FORCE", FORCE, [*FORCE.values()]),
    ok("Digital Earth Australia", DEA, [f"nbart_{text}" for text in DEA.values()]),
    ok("SNAP", TEN, [f"{name}-{NANOMETRES[name]}nm" for name in TEN]),
    ok("wavelengths", BANDS, [f"{nm} nm" for nm in NANOMETRES.values()]),
    ok("wavelengths in um", BANDS, [f"{nm / 1000} um" for nm in NANOMETRES.values()]),
    ok("Sentinel Hub, ten bands and masks", (*TEN, "flags", "full"), [*TEN, "CLM", "dataMask"], match="CLM"),
    ok("probability of cloud", (*TEN, "flags"), [*TEN, "cloud_probability"], match="cloud_probability"),
    ok("long_name of each band", L2A_BANDS, band_tags=[{"long_name": name} for name in L2A_BANDS]),
    ok("GDAL's IMAGERY domain", L2A_BANDS,
       band_tags=[{"CENTRAL_WAVELENGTH_UM": str(NANOMETRES[name] / 1000)} for name in L2A_BANDS]),
    ok("long_name of the file", LAST, tags={"long_name": str(LAST)}),
    ok("FORCE's wavelength tags", TEN, band_tags=[{"Wavelength": str(NANOMETRES[name] / 1000)} for name in TEN]),
    ok("cmcr's own", L2A_BANDS, L2A_BANDS, colours=[ColorInterp.undefined] * 12, tags={OURS: "0 (assumed 0)"}),
    ok("names and alpha", (*L2A_BANDS, "full"), [*L2A_BANDS, None],
       colours=[*[ColorInterp.gray] * 12, ColorInterp.alpha]),
]  # fmt: skip

REFUSED = [
    Case("13 sorted files", tuple(sorted(BANDS, key=lambda n: (n == "B8A", n))), match="do not fit"),
    Case("12 sorted files", LAST, match="do not fit"),
    Case("B1, B10, B11, ...", sorted(L2A_BANDS, key=lambda n: n.replace("B0", "B")), match="do not fit"),
    Case("alphabetical without names", sorted(L2A_BANDS, key=lambda n: COMMON[n]), match="do not fit"),
    Case("reversed", L2A_BANDS[::-1], match="do not fit"),
    Case("by resolution", ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09"),
         match="do not fit"),
    Case("12 and an unnamed mask", (*L2A_BANDS, "flags"), match="flags or classes"),
    Case("12 and an unnamed classification", (*L2A_BANDS, "classes"), match="do not fit"),
    Case("12 and an unnamed full mask", (*L2A_BANDS, "full"), match="flags or classes"),
    Case("ten and two masks", (*TEN, "flags", "full"), match="flags or classes"),
    Case("L1C without B8A", tuple(n for n in BANDS if n != "B8A"), match="do not fit"),
    Case("counted without B8A", tuple(n for n in BANDS if n != "B8A"), [f"B{i}" for i in range(1, 13)],
         match="do not fit"),
    Case("ten without names", TEN, match="10 bands without names"),
    Case("unknown names", L2A_BANDS, [f"foo{name[1:]}x" for name in L2A_BANDS], match="foo"),
    Case("one unknown name", TEN, [*TEN[:-1], "mystery"], match="'mystery'"),
    Case("rededge without a number", TEN, ["blue", "green", "red", "rededge", "B06", "B07", "nir", "nir08", "swir16",
                                            "swir22"], match="'rededge'"),
    Case("two spellings", ("B02", "B03", "B04", "B08", "B08"), ["blue", "green", "red", "nir", "B8"],
         match="B08 occurs 2 times, as 'nir' and 'B8'"),
    Case("Landsat by number and colour", ("B02", "B03", "B04", "B08", "B11"),
         ["B2 (blue)", "B3 (green)", "B4 (red)", "B5 (nir)", "B6 (swir)"], match=r"'B5 \(nir\)'"),
    Case("standard deviations", TEN, [f"std_{name}" for name in TEN], match="none of its layers"),
    Case("no near infrared", ("B02", "B03", "B04"), ["red", "green", "blue"], match="are needed"),
    Case("Landsat, surface reflectance", TEN[:7], [f"SR_B{i}" for i in range(1, 8)], match="Landsat", cure="Sentinel-2"),
    Case("Landsat by file name", L2A_BANDS, L2A_BANDS, match="Landsat", cure="Sentinel-2",
         name="LC08_L2SP_198024_20240601_20240611_02_T1_stack.tif"),
    Case("HLS", L2A_BANDS, L2A_BANDS, match="HLS", cure="Sentinel-2", name="HLS.S30.T31UFU.2024153T105031.v2.0.tif"),
    Case("PlanetScope", ("B02", "B03", "B04", "B08"), ["B2", "B3", "B4", "B8"], match="PlanetScope", cure="Sentinel-2",
         name="20240601_101112_14_2470_3B_AnalyticMS_SR_8b.tif"),
    Case("SuperDove bands", TEN[:8],
         ["coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"], match="PlanetScope",
         cure="Sentinel-2"),
    Case("Sentinel-3 by tag", TEN, TEN, match="Sentinel-3", cure="Sentinel-2", tags={"platform": "sentinel-3a"}),
    Case("MODIS by tag", TEN, TEN, match="MODIS", cure="Sentinel-2", tags={"INSTRUMENTSHORTNAME": "MODIS"}),
    Case("Landsat 8 by tag", TEN, TEN, match="Landsat", cure="Sentinel-2", tags={"SPACECRAFT_ID": "LANDSAT_8"}),
    Case("pixels of 300 m", TEN, TEN, match="300 m", cure="gdalwarp",
         profile={"transform": Affine(300, 0, 600000, 0, -300, 5900040)}),
    Case("x 65535", L2A_BANDS, L2A_BANDS, match="multiples|above", cure="--scale", scale=65535),
    Case("x 255", L2A_BANDS, L2A_BANDS, match="nothing is above", cure="--scale", scale=255),
    Case("x 1000", L2A_BANDS, L2A_BANDS, match="nothing is above", cure="--scale", scale=100),
    Case("cast to 0 and 1", L2A_BANDS, L2A_BANDS, match="cut off", cure="times 10000", scale=1.4),
    Case("8 bits", L2A_BANDS, L2A_BANDS, match="uint8", cure="--scale", scale=255, profile={"dtype": "uint8"}),
    Case("per cent as fractions", L2A_BANDS, L2A_BANDS, match="above", cure="--scale 0.01", scale=10,
         profile={"dtype": "float32"}),
    Case("tags of another unit", L2A_BANDS, L2A_BANDS, match="expected a scale near", cure="--scale",
         scaling=(0.02, 0.0)),
]  # fmt: skip

WARNED = [
    ok("13 without names", BANDS, match="by their number and order"),
    ok("12 without names", L2A_BANDS, match="by their number and order"),
    ok("12 counted", L2A_BANDS, [f"Band {i}" for i in range(1, 13)], match="by their number and order"),
    ok("12 of one name", L2A_BANDS, ["reflectance"] * 12, match="by their number and order"),
    ok("12 counted by R", L2A_BANDS, [f"stack_{i}" for i in range(1, 13)], match="by their number and order"),
    ok("12 and alpha", (*L2A_BANDS, "full"), match="by their number and order",
       colours=[*[ColorInterp.gray] * 12, ColorInterp.alpha]),
    ok("12 and dataMask", (*L2A_BANDS, "full"), [None] * 12 + ["dataMask"], match="by their number and order"),
    ok("12 and SCL", (*L2A_BANDS, "classes"), [None] * 12 + ["SCL"], match="SCL"),
    ok("pixels of 20 m", TEN, TEN, match="pixels are of 20 m",
       profile={"transform": Affine(20, 0, 600000, 0, -20, 5900040)}),
    ok("pixels of 60 m", TEN, TEN, match="pixels are of 60 m",
       profile={"transform": Affine(60, 0, 600000, 0, -60, 5900040)}),
    Case("names in another order than the pixels", L2A_BANDS[::-1], L2A_BANDS, found=L2A_BANDS, match="do not look like"),
    ok("bands of two dates", TEN, [f"{20240601 + (name > 'B04')}_{name}" for name in TEN],
       match="of several dates (20240601, 20240602)"),
    ok("degrees", TEN, TEN, match="6.78 x 11.1 m",
       profile={"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 5.0, 0, -1e-4, 52.6)}),
]  # fmt: skip

UNITS = [
    ok("Earth Engine, reflectance", L2A_BANDS, L2A_BANDS, scale=1, profile={"dtype": "float32"}),
    ok(
        "openEO, reflectance and NaN", TEN, TEN, scale=1, profile={"dtype": "float32", "nodata": float("nan")}
    ),
    ok("xarray, DN as fractions", TEN, TEN, profile={"dtype": "float32", "nodata": float("nan")}),
    ok(
        "stackstac, rescaled",
        L2A_BANDS,
        [COMMON[name] for name in L2A_BANDS],
        scale=1,
        profile={"dtype": "float64", "nodata": float("nan")},
    ),
    ok(
        "rioxarray with scale and offset",
        L2A_BANDS,
        [COMMON[name] for name in L2A_BANDS],
        offset=1000,
        scaling=(0.0001, -0.1),
    ),
    ok("double precision", TEN, TEN, scale=1, profile={"dtype": "float64"}),
    ok("scale and offset of 04.00", TEN, TEN, offset=1000, scaling=(0.0001, -0.1)),
    ok("a scale of its own", TEN, TEN, scale=50_000, scaling=(2e-5, 0.0)),
    ok("--scale of 16 bits", TEN, TEN, scale=65535, options={"scale": 1 / 65535}),
    ok("--scale of 8 bits", TEN, TEN, scale=255, profile={"dtype": "uint8"}, options={"scale": 1 / 255}),
    ok("--scale of per cent", TEN, TEN, scale=100, profile={"dtype": "float32"}, options={"scale": 0.01}),
    ok("--bands with masks", (*TEN, "flags", "full"), options={"bands": (*TEN, "-", "dataMask")}),
]


@pytest.fixture(scope="module")
def reflectance() -> dict[str, NDArray[np.float32]]:
    """A scene with clouds, 13 bands of 96 x 96 px, and other layers by kind."""
    image = simulate_window(7, 0, 0, 96, 96, 0.3).cloudy
    rows, columns = np.indices(image.shape[1:])
    found = dict(zip(BANDS, image.astype(np.float32), strict=True))
    found["flags"] = (rows > columns).astype(np.float32)
    found["classes"] = ((rows // 8 + columns // 8) % 11 + 1).astype(np.float32)
    found["full"] = np.ones_like(found["flags"])
    return found


Make = Callable[[Case], Path]


@pytest.fixture
def make(tmp_path: Path, reflectance: dict[str, NDArray[np.float32]]) -> Make:
    """Write the file of a case."""

    def write(case: Case) -> Path:
        dtype = np.dtype(case.profile.get("dtype", "uint16"))
        layers = []
        for name in case.bands:
            values = reflectance[name]
            if name in BANDS:
                values = values * case.scale + case.offset
            elif name == "full" and dtype.kind == "u":
                values = values * np.iinfo(dtype).max
            if dtype.kind != "f":
                values = np.rint(values).clip(0, np.iinfo(dtype).max)
            layers.append(values.astype(dtype))
        profile = {
            "driver": "GTiff", "crs": "EPSG:32631", "transform": Affine(10, 0, 600000, 0, -10, 5900040),
            "width": 96, "height": 96, "count": len(layers), "dtype": dtype, "nodata": 0,
        } | case.profile  # fmt: skip
        path = tmp_path / case.name
        with rasterio.open(path, "w", **profile) as dataset:
            if case.colours:
                dataset.colorinterp = case.colours
            dataset.write(np.stack(layers))
            dataset.update_tags(**case.tags)
            for index, text in enumerate(case.texts or (), 1):
                if text is not None:
                    dataset.set_band_description(index, text)
            for index, tags in enumerate(case.band_tags, 1):
                dataset.update_tags(index, ns="IMAGERY" if "CENTRAL_WAVELENGTH_UM" in tags else None, **tags)
            if case.scaling is not None:
                dataset.scales, dataset.offsets = ([each] * len(layers) for each in case.scaling)
        return path

    return write


def check_values(optical: Optical, case: Case, reflectance: dict[str, NDArray[np.float32]]) -> None:
    """Each band must show the reflectance of the band that it is called."""
    dn = optical.read(0, 96)
    shown = optical.radiometry.reflectance(dn)
    step = 1e-4 + (0 if np.dtype(case.profile.get("dtype", "uint16")).kind == "f" else 0.5 / case.scale)
    for name, values in zip(optical.names, shown, strict=True):
        assert np.abs(values - reflectance[name].clip(0, 65535 / case.scale)).max() <= step + 1e-6, name


@pytest.mark.parametrize("case", [*NAMED, *UNITS], ids=lambda case: case.label)
def test_read_as_it_is(case: Case, make: Make, reflectance: dict[str, NDArray[np.float32]]) -> None:
    with open_optical(make(case), **case.options) as optical:
        assert optical.names == tuple(case.found)
        told = [str(warning) for warning in (*optical.warnings, *check_radiometry(optical))]
        unstated = [text for text in told if "not stated: reflectance = " in text]
        assert len(unstated) == (
            case.scaling is None and "scale" not in case.options and not case.tags.get(OURS)
        )
        told = [text for text in told if text not in unstated]
        assert (case.match in " ".join(told)) if case.match else told == []
        assert not optical.guessed
        check_values(optical, case, reflectance)


@pytest.mark.parametrize("case", WARNED, ids=lambda case: case.label)
def test_read_with_a_warning(case: Case, make: Make, reflectance: dict[str, NDArray[np.float32]]) -> None:
    with open_optical(make(case), **case.options) as optical:
        assert optical.names == tuple(case.found)
        assert case.match in " ".join(map(str, optical.warnings))
        check_radiometry(optical)
        if "another order" not in case.label:
            check_values(optical, case, reflectance)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.label)
def test_refused_with_a_cure(case: Case, make: Make) -> None:
    path = make(case)
    with (
        warnings.catch_warnings(),
        pytest.raises(CmcrError, match=case.match) as refused,
        open_optical(path, **case.options) as optical,
    ):
        check_radiometry(optical)
    assert case.cure in str(refused.value)


def test_the_table_of_tools_names_cases() -> None:
    """Each row of the documentation is shown by cases here, or by items of catalogues."""
    labels = {case.label for case in (*NAMED, *UNITS, *WARNED, *REFUSED, *CATALOGUES)}
    assert cases_of_table("files") <= labels


def test_the_table_is_large_enough() -> None:
    labels = [case.label for case in (*NAMED, *UNITS, *WARNED, *REFUSED)]
    assert len(labels) == len(set(labels)) >= 50
