from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.output.provenance import OBSERVED, RECONSTRUCTED
from cmcr_cli.output.validation import validate_output
from cmcr_cli.removal import RemoveOptions, remove, write_mask
from tests.support.removals import Plain

Options = Callable[..., RemoveOptions]


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


@pytest.fixture(scope="module")
def small(make_scene: Callable[..., Any]) -> Any:
    """One patch, for tests that restore several times."""
    return make_scene(110, 100)


@pytest.fixture
def options(scene: Any, weights: Path, tmp_path: Path) -> Options:
    def make(**changes: Any) -> RemoveOptions:
        plain = {"s2": str(scene.s2), "output": tmp_path / "out.tif", "weights": weights, "device": "cpu"}
        return RemoveOptions(**{**plain, "overwrite": True, **changes})

    return make


@pytest.mark.parametrize("level", ["1C", "2A"])
def test_zipped_product_from_end_to_end(
    make_product: Callable[..., Any], options: Options, tmp_path: Path, level: str
) -> None:
    product = make_product(level)
    path = str(product.zipped)
    chosen = options(s2=path, provenance=tmp_path / "which.tif", mask="scl" if level == "2A" else "auto")
    report = remove(chosen)
    assert (report.level, report.offset, report.offset_source) == (f"L{level}", -1000, "product")
    findings = validate_output(chosen.output, path, chosen.provenance)
    assert len(findings) > 8 and all(finding.ok for finding in findings), findings
    provenance = read(tmp_path / "which.tif")[0]
    assert np.array_equal(
        read(chosen.output)[:, provenance == OBSERVED], product.dn[:, provenance == OBSERVED]
    )
    assert (provenance[:30, :60] == 0).all()
    with rasterio.open(chosen.output) as file:
        assert file.tags()["PRODUCT_URI"] == product.folder.name
        assert file.offsets[0] == -0.1  # the image says itself what its DN mean
    if level == "2A":
        covered = np.isin(product.scl, [3, 8, 9, 10])
        covered[:30, :60] = False
        assert (provenance[covered] == RECONSTRUCTED).all() and (provenance == OBSERVED).any()


def test_product_with_real_metadata_is_masked_by_its_scl(
    shared_data: Path, make_product: Callable[..., Any], options: Options
) -> None:
    (folder,) = (shared_data / "scenes/safe").glob("S2A_MSIL2A_20221005*")
    product = make_product(metadata=(folder / "MTD_MSIL2A.xml").read_text())
    chosen = options(s2=str(product.folder), mask="scl")
    report = write_mask(chosen)
    made, corner = read(chosen.output)[0], np.zeros(product.scl.shape, bool)
    corner[:30, :60] = True
    assert np.array_equal(made == 255, corner)
    for kind, codes in ((1, [8, 9]), (2, [10]), (3, [3])):
        assert np.array_equal(made == kind, np.isin(product.scl, codes) & ~corner)
    assert 0 < report.covered_share < 1 and any("SCL codes" in str(each) for each in report.warnings)


def test_mask_that_is_written_leads_to_the_same_image(
    options: Options, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CloudNetwork, "look_near", Plain.look_near)  # its weights are random here
    for mask, dilate in (("auto", 0), ("auto", 45), (str(small.mask), 45)):
        given = {"s2": str(small.s2), "mask": mask, "dilate": dilate}
        report = write_mask(options(output=tmp_path / "mask.tif", **given))
        remove(options(**given))
        expected = read(tmp_path / "out.tif")
        remove(options(s2=str(small.s2), mask=str(tmp_path / "mask.tif")))
        assert np.array_equal(read(tmp_path / "out.tif"), expected)
        written = read(tmp_path / "mask.tif")[0]
        assert 0 < report.covered_share < 1
        assert (written[written != 255] > 0).mean() == pytest.approx(report.covered_share)
        assert set(np.unique(written)) == ({0, 1, 2, 3} if mask == "auto" else {0, 1})


def test_mask_on_the_scenes_grid_with_nodata(make_scene: Callable[..., Any], options: Options) -> None:
    files = make_scene(300, 280, nodata=0)
    chosen = options(s2=str(files.s2))
    write_mask(chosen)
    with rasterio.open(chosen.output) as mask, rasterio.open(files.s2) as s2:
        assert (mask.transform, mask.shape, mask.crs) == (s2.transform, s2.shape, s2.crs)
        assert (mask.dtypes, mask.nodata) == (("uint8",), 255)
        assert np.array_equal(mask.read(1) == 255, (s2.read() == 0).all(axis=0))


def test_dilation_is_in_metres_and_round(options: Options, scene: Any, tmp_path: Path) -> None:
    spot = np.zeros((1, 400, 333), np.uint8)
    spot[0, 200:202, 150:152] = 1
    with rasterio.open(scene.mask) as file:
        profile = file.profile
    with rasterio.open(tmp_path / "spot.tif", "w", **profile) as file:
        file.write(spot)
    write_mask(options(mask=str(tmp_path / "spot.tif"), dilate=60))
    grown = read(tmp_path / "out.tif")[0] == 1
    exact = ndimage.distance_transform_edt(spot[0] == 0) <= 6
    assert (grown & exact == exact).all()  # and no more than the cells of 20 m that the disk touches
    assert not (grown & ~ndimage.binary_dilation(exact, np.ones((3, 3)))).any()
    assert not grown[194, 144] and grown[194, 150]


def test_radar_in_two_files_gives_the_image_of_one(options: Options, small: Any, tmp_path: Path) -> None:
    with rasterio.open(small.s1) as file:
        profile, db = file.profile | {"count": 1}, file.read()
    for name, band in zip(("vv.tif", "vh.tif"), db, strict=True):
        with rasterio.open(tmp_path / name, "w", **profile) as file:
            file.write(band[None])
    given = {"s2": str(small.s2), "mask": str(small.mask)}
    remove(options(s1=str(small.s1), **given))
    expected = read(tmp_path / "out.tif")
    remove(options(s1_vv=str(tmp_path / "vv.tif"), s1_vh=str(tmp_path / "vh.tif"), **given))
    assert np.array_equal(read(tmp_path / "out.tif"), expected)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.tags()["CMCR_S1"] == "vv.tif, vh.tif"
