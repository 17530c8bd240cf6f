"""Sentinel-1 as its tools write it: names, units, marks of nodata and grids of each."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.errors import CmcrError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.radar import open_radar
from tests.support.tables import cases_of_table

if TYPE_CHECKING:
    from tests.support.rasters import Write

SIDE = 24
GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), SIDE, SIDE)
COARSE = {"transform": Affine(30, 0, 599970, 0, -30, 5900070)}
OPERA = "OPERA_L2_RTC-S1_T087-185679-IW2_20240601T054316Z_20240601T123016Z_S1A_30_v1.0_{}.tif"
HYP3 = "S1A_IW_20240601T054316_DVP_RTC30_G_g{}uned_12AB_{}.tif"
GRD = "s1a-iw-grd-{}-20240601t054316-20240601t054341-054130-069511-001.tiff"
PC = "iw-{}.rtc.tiff"


@dataclass(frozen=True)
class Case:
    """A product, and how it is to be read.

    Attributes:
        label: The tool, and what it was asked for.
        files: Names, {} stands for the polarisation; one without {} holds both, and what `names` says.
        unit: Of the stored values: db, power or amplitude.
        nodata: That its tags state.
        void: What it holds where nothing was measured.
        names: Descriptions of the layers of one file.
        profile: Of the files.
        item: Whether a STAC item refers to them.
        match: Of a warning beside that about units and grids, or of the refusal.
        refused: Whether it is to be refused.
        misread: Whether it is read as something else, with the warning.
    """

    label: str
    files: str = "s1.tif"
    unit: str = "power"
    nodata: float | None = None
    void: float = float("nan")
    names: tuple[str, ...] = ()
    profile: dict[str, Any] = field(default_factory=dict)
    item: bool = False
    match: str = ""
    refused: bool = False
    misread: bool = False


CASES = (
    Case("SNAP, linear", names=("Sigma0_VV", "Sigma0_VH"), void=0),
    Case("SNAP, gamma0 of date", names=("Gamma0_VV_mst_01Jun2024", "Gamma0_VH_mst_01Jun2024"), void=0),
    Case("SNAP, dB", unit="db", names=("Sigma0_VV_db", "Sigma0_VH_db"), void=0),
    Case("HyP3, power", HYP3.replace("g{}", "gp", 1), nodata=0, void=0, profile=COARSE),
    Case("HyP3, dB", HYP3.replace("g{}", "gd", 1), "db", 0, 0, profile=COARSE),
    Case("HyP3, amplitude", HYP3.replace("g{}", "ga", 1), "amplitude", 0, 0, profile=COARSE,
         match="amplitude, which is squared"),
    Case("OPERA RTC-S1", OPERA, nodata=float("nan"), profile=COARSE),
    Case("OPERA, as an item", OPERA, nodata=float("nan"), profile=COARSE, item=True),
    Case("Planetary Computer, RTC", PC, nodata=-32768, void=-32768, item=True),
    Case("Earth Engine, S1_GRD", unit="db", names=("VV", "VH", "angle")),
    Case("Earth Engine, S1_GRD_FLOAT", names=("VV", "VH", "angle"), void=0),
    Case("Sentinel Hub, linear and dataMask", names=("VV", "VH", "dataMask"), void=0),
    Case("openEO, sigma0", names=("VV", "VH"), profile={"dtype": "float64"}),
    Case("odc-stac", names=("vh", "vv"), nodata=-32768, void=-32768),
    Case("GRD of Earth Search", GRD, nodata=0, void=0, item=True, profile={"crs": None}, refused=True,
         match="no coordinate reference system"),
    Case("GRD, digital numbers on a map", "s1.tif", "dn", void=0, names=("VV", "VH"),
         profile={"dtype": "uint16"}, refused=True, match="digital numbers|median"),
    Case("amplitude without a name", unit="amplitude", names=("VV", "VH"), void=0, misread=True,
         match="if the values are amplitude, square them"),
    Case("dB times 100", unit="hundredths", names=("VV", "VH"), profile={"dtype": "int16"}, void=0,
         refused=True, match="--s1-units"),
)  # fmt: skip


def decibel() -> NDArray[np.float32]:
    """VV and VH that vary little, so that another grid does not change them much."""
    ground = np.random.default_rng(2).normal(0, 0.05, (2, SIDE, SIDE)).astype(np.float32)
    return ground + np.array([-11, -18], np.float32)[:, None, None]


def stored(case: Case) -> NDArray[Any]:
    db = decibel()
    units = {
        "db": db, "power": 10 ** (db / 10), "amplitude": 10 ** (db / 20), "hundredths": 100 * db,
        "dn": 500 * 10 ** (db / 20),
    }  # fmt: skip
    values = np.asarray(units[case.unit], np.float32)
    values[:, :4, :4] = case.void
    return values.astype(case.profile.get("dtype", "float32"))


def made(case: Case, write: Write, folder: Path) -> Path | tuple[str, str]:
    """The files of a case, as they are given to cmcr."""
    values, more = stored(case), {"nodata": case.nodata} | case.profile
    if "{}" not in case.files:
        layers = {"VV": values[0], "VH": values[1]}
        names = case.names
        stack = [
            next((layers[key] for key in layers if key in name.upper()), np.full_like(values[0], 38))
            for name in names
        ]
        return write(case.files, np.stack(stack), descriptions=names, **more)
    paths = [
        write(case.files.format(name), band, **more) for name, band in zip(("VV", "VH"), values, strict=True)
    ]
    if not case.item:
        return str(paths[0]), str(paths[1])
    item = folder / "item.json"
    assets = {
        key: {"href": path.name, "type": "image/tiff"} for key, path in zip(("vv", "vh"), paths, strict=True)
    }
    content = {"type": "Feature", "stac_version": "1.0.0", "id": "x", "properties": {}, "assets": assets}
    item.write_text(json.dumps(content))
    return item


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_as_it_comes(case: Case, write: Write, tmp_path: Path) -> None:
    path = made(case, write, tmp_path)
    if case.refused:
        with pytest.raises(CmcrError, match=case.match), open_radar(path, GRID):
            pass
        return
    with open_radar(path, GRID) as radar:
        values, valid = radar.read(0, SIDE)
        told = [
            text for text in map(str, radar.warnings) if "resampled" not in text and "detected" not in text
        ]
    assert (case.match in " ".join(told)) if case.match else told == []
    assert not valid[0, 0] and valid[-1, -1]
    if case.misread:
        return
    # Another grid mixes pixels; VV and VH are 7 dB apart, and wrong units further than that.
    assert np.abs(values - decibel())[:, valid].max() < (0.35 if "transform" in case.profile else 1e-3)


def test_the_table_of_tools_names_cases() -> None:
    """Each row of the documentation is shown by cases here."""
    assert cases_of_table("what it writes") <= {case.label for case in CASES}


@pytest.mark.parametrize("names", [("a_VH.tif", "b_VV.tif"), ("a_vh.tif", "b.tif"), ("a.tif", "x-VV.tiff")])
def test_files_given_the_wrong_way_round(write: Write, names: tuple[str, str]) -> None:
    """Their names say so, whatever is in them."""
    paths = [str(write(name, band)) for name, band in zip(names, decibel(), strict=True)]
    with (
        pytest.raises(CmcrError, match=r"its name says V[VH]; expected VV as --s1-vv"),
        open_radar((paths[0], paths[1]), GRID),
    ):
        pass
