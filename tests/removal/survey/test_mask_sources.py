from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.errors import InputError, OptionError, WeightsError
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.output.provenance import OBSERVED, RECONSTRUCTED
from cmcr_cli.output.validation import validate_output
from cmcr_cli.removal import RemoveOptions, remove, write_mask
from cmcr_cli.removal.survey import mask_choice, omnicloudmask
from cmcr_cli.removal.survey.mask_sources import RasterMask
from cmcr_cli.scene.optical import open_optical
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


def test_scl_of_what_has_none(options: Options) -> None:
    with pytest.raises(InputError, match=r"no scene classification.*--mask auto"):
        remove(options(mask="scl"))


def test_the_classification_of_a_product_is_scl_whatever_its_name(
    options: Options, scene: Any, tmp_path: Path
) -> None:
    """Its values alone may be those of other tools."""
    stored = np.zeros((400, 333), np.uint8)
    stored[:9], stored[200:220] = 3, 1
    with rasterio.open(scene.mask) as file:
        profile = file.profile
    with rasterio.open(tmp_path / "classes.tif", "w", **profile) as file:
        file.write(stored, 1)
    with open_optical(scene.s2) as optical:
        product = replace(optical, scl=str(tmp_path / "classes.tif"))
        with mask_choice.chosen_mask(options(mask="scl"), product, None) as mask:  # type: ignore[arg-type]
            assert isinstance(mask, RasterMask)
            assert np.array_equal(mask._read(0, 400), np.where(stored == 3, 3, 0))


@pytest.mark.parametrize("dilate", [-1, 5000])
def test_dilation_out_of_range(options: Options, dilate: float) -> None:
    with pytest.raises(OptionError, match="--dilate"):
        options(dilate=dilate)


@pytest.mark.parametrize("given", [{"s1_vv": "a.tif"}, {"s1": "s1.tif", "s1_vv": "a.tif", "s1_vh": "b.tif"}])
def test_radar_that_is_given_by_halves_or_twice(options: Options, given: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="--s1-vv and --s1-vh"):
        options(**given)


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


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A module that answers as OmniCloudMask does: bright is cloud. Returns the calls it got."""
    package = tmp_path / "omnicloudmask"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model_download_links.csv").write_text("file_name,version\nold.pth,1.0\nnew.safetensors,4.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "omnicloudmask", raising=False)
    calls: list[dict[str, Any]] = []

    def predict(image: NDArray[Any], **settings: Any) -> NDArray[np.uint8]:
        calls.append({"shape": image.shape, **settings})
        return (image.mean(axis=0) > 3000).astype(np.uint8)[None]

    module = __import__("omnicloudmask")
    module.predict_from_array = predict
    return calls


def test_omnicloudmask_runs_over_strips(
    options: Options,
    scene: Any,
    stand_in: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(omnicloudmask, "OMNI_ROWS", 128)
    monkeypatch.setattr(omnicloudmask, "OMNI_MARGIN", 40)
    (tmp_path / "new.safetensors").write_bytes(bytes(2**20 + 1))
    report = write_mask(options(mask="omnicloudmask", mask_weights=tmp_path))
    assert [call["shape"][1:] for call in stand_in] == [(167, 333), (208, 333), (185, 333), (57, 333)]
    assert all(call["destination_model_dir"] == tmp_path for call in stand_in)
    bright = read(scene.s2)[[3, 2, 8]].mean(axis=0) > 3000
    found = read(tmp_path / "out.tif")[0] == 1
    assert bright.any() and found[bright].all()
    assert not (found & ~ndimage.binary_dilation(bright, np.ones((3, 3)))).any()
    assert "OmniCloudMask" in str(report.warnings[0])


def test_omnicloudmask_is_never_let_to_download(
    options: Options, stand_in: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="--mask-weights DIR"):
        write_mask(options(mask="omnicloudmask"))
    (tmp_path / "new.safetensors").write_bytes(b"an empty shell")
    with pytest.raises(WeightsError, match=r"lacks new\.safetensors") as caught:
        write_mask(options(mask="omnicloudmask", mask_weights=tmp_path))
    assert caught.value.exit_code == 3 and not stand_in


def test_omnicloudmask_that_is_not_installed(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "omnicloudmask", ModuleType("omnicloudmask"))
    monkeypatch.setitem(sys.modules, "omnicloudmask", None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"cmcr\[mask\]"):
        write_mask(options(mask="omnicloudmask"))
