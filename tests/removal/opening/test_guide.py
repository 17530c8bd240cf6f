from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import Resampling

from cmcr_cli.errors import CmcrError
from cmcr_cli.ground.ground import Ground
from cmcr_cli.ground.spectral_basis import USED, spectrum
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.opening.guide import MOST_CLASSES, _sample, columns_of, open_guide
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.mask_choice import KnownMasks
from cmcr_cli.removal.survey.reference_pass import ReferenceMasks, ReferenceSurvey, survey_references
from cmcr_cli.scene.bands import BANDS, present
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.masks.mask_codes import THICK
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.pixels.warped import window_around
from cmcr_cli.scene.references.listing import LeftOut
from cmcr_cli.scene.references.reference import Reference
from tests.support.removals import Plain

SIZE = 96
PLACE = Affine(10, 0, 600_000, 0, -10, 5_000_000)


@pytest.fixture(scope="module")
def classes() -> NDArray[np.uint8]:
    """Fields of 8 x 8 px of five crops."""
    fields = np.random.default_rng(2).choice([10, 20, 30, 40, 95], (SIZE // 8, SIZE // 8))
    return fields.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)


def write(path: Path, pixels: NDArray[Any], transform: Affine = PLACE, **profile: Any) -> Path:
    fixed = {"driver": "GTiff", "crs": "EPSG:32631", "transform": transform, "dtype": pixels.dtype}
    height, width = pixels.shape[1:]
    with rasterio.open(path, "w", count=len(pixels), height=height, width=width, **fixed | profile) as file:
        file.write(pixels)
        if len(pixels) == len(BANDS):
            file.descriptions = BANDS
    return path


@pytest.fixture(scope="module")
def optical(classes: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Optical]:
    """A scene whose crops have spectra of their own."""
    rng = np.random.default_rng(3)
    of_crop = rng.integers(500, 4000, (13, 100))
    dn = (of_crop[:, classes] + rng.integers(0, 40, (13, SIZE, SIZE))).astype(np.uint16)
    with open_optical(write(tmp_path_factory.mktemp("scene") / "s2.tif", dn)) as optical:
        yield optical


def opened(path: Path, optical: Optical) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    with open_guide(str(path), optical) as guide:
        assert isinstance(guide, Reference) and guide.guide and guide.when == "guide"
        dn = guide.optical.read(0, SIZE)
        np.testing.assert_array_equal(guide.optical.read(9, 7), dn[:, 9:16])  # whatever the window
        return guide.optical.valid(dn), spectrum(guide.optical.reflectance(dn))[: len(dn)]


def test_each_class_has_a_column(optical: Optical, classes: NDArray[np.uint8], tmp_path: Path) -> None:
    valid, columns = opened(write(tmp_path / "map.tif", classes[None]), optical)
    assert valid.all() and len(columns) == 5
    for column, code in zip(columns, (10, 20, 30, 40, 95), strict=True):
        assert column[classes == code].min() > column[classes != code].max()
    np.testing.assert_allclose(columns.std(axis=(1, 2)), 0.5, atol=0.02)


def test_what_is_not_known_is_no_ground(optical: Optical, classes: NDArray[np.uint8], tmp_path: Path) -> None:
    image = np.stack([classes, classes[::-1]]).astype(np.float32)
    image[1, :30] = np.nan
    valid, columns = opened(write(tmp_path / "image.tif", image), optical)
    assert len(columns) == 2 and not valid[:30].any() and valid[30:].all()
    hidden = np.where(classes == 95, 0, 255).astype(np.uint8)
    picture = np.stack([classes, classes, classes[::-1], hidden])
    path = write(tmp_path / "picture.tif", picture, photometric="RGB", alpha="yes")
    valid, columns = opened(path, optical)
    assert len(columns) == 3
    np.testing.assert_array_equal(valid, classes != 95)


def test_a_guide_may_lie_on_another_grid(
    optical: Optical, classes: NDArray[np.uint8], tmp_path: Path
) -> None:
    coarse = classes[::2, ::2]
    valid, columns = opened(write(tmp_path / "map.tif", coarse[None], PLACE @ Affine.scale(2)), optical)
    assert valid.all()
    np.testing.assert_array_equal(columns[0] > 0, classes == 10)  # classes are not interpolated


def test_many_bands_become_their_main_components() -> None:
    rng = np.random.default_rng(4)
    few = rng.standard_normal((3, 1000))
    values = np.concatenate([rng.standard_normal((20, 3)) @ few, np.ones((1, 1000))]) + 7
    found = columns_of(values, classes=False)
    assert found is not None and found.count == len(USED)
    columns = found.of(values)
    # All that varies is in the first three.
    assert np.abs(columns[3:]).max() < 1e-3 < np.abs(columns[2]).max()
    codes = np.arange(MOST_CLASSES, dtype=float).repeat(3)[None]
    classes, quantity = (
        columns_of(each, classes=True) for each in (codes, np.arange(MOST_CLASSES + 1.0)[None])
    )
    assert classes is not None and classes.codes is not None and classes.count == len(USED)
    assert not classes.of(np.array([[-1.0]])).any(), "a class that was not seen before"
    assert quantity is not None and quantity.codes is None


@pytest.mark.parametrize(
    ("shift", "values", "reason"),
    [(0, [7], "is the same all over the scene"), (9000, [7, 8], "shows nothing of the ground of the scene")],
)
def test_guides_that_tell_nothing_are_left_out(
    optical: Optical, tmp_path: Path, shift: int, values: list[int], reason: str
) -> None:
    image = np.resize(np.array(values, np.uint8), (1, SIZE, SIZE))
    path = write(tmp_path / "guide.tif", image, Affine.translation(shift, 0) @ PLACE)
    with open_guide(str(path), optical) as guide:
        assert guide == LeftOut(str(path), reason)


@pytest.mark.parametrize("kind", ["text", "complex", "nowhere"])
def test_bad_guides_end_in_one_line(optical: Optical, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "guide.tif"
    if kind == "text":
        path.write_text("land cover")
    else:
        dtype = np.complex64 if kind == "complex" else np.uint8
        place: dict[str, Any] = {"crs": None} if kind == "nowhere" else {}
        write(path, np.ones((1, 8, 8), dtype), **place)
    with pytest.raises(CmcrError, match="expected") as error, open_guide(str(path), optical):
        pass
    assert "\n" not in str(error.value)


def surveyed(optical: Optical, path: Path, covered: NDArray[np.bool_]) -> ReferenceSurvey:
    cloud_map = CloudMap.empty(optical.grid)
    cloud_map.mark(0, np.where(covered, THICK, 0).astype(np.uint8))
    options = RemoveOptions(s2=optical.path, output=path.parent / "o.tif", guide=str(path))
    with ExitStack() as stack:
        guide = stack.enter_context(open_guide(options.guide, optical))
        assert isinstance(guide, Reference)
        ground = Ground.unknown(present(optical.names))
        masks = ReferenceMasks(options, Plain(), KnownMasks())
        return survey_references(optical, None, cloud_map, ground, [guide], masks)


def test_a_guide_explains_the_ground_like_a_reference(
    optical: Optical, classes: NDArray[np.uint8], tmp_path: Path
) -> None:
    covered = np.zeros((SIZE, SIZE), np.bool_)
    covered[30:60, 30:60] = True
    found = surveyed(optical, write(tmp_path / "map.tif", classes[None]), covered)
    (used,) = found.used
    assert found.fitted is not None and used.clear_share == 1 and used.error < 0.2
    # Without clear ground nothing is known of what a guide means.
    assert surveyed(optical, tmp_path / "map.tif", np.ones_like(covered)).fitted is not None


def test_a_guide_of_another_place_is_left_out(optical: Optical, tmp_path: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (2, SIZE, SIZE)).astype(np.uint8)
    covered = np.zeros((SIZE, SIZE), np.bool_)
    found = surveyed(optical, write(tmp_path / "noise.tif", noise), covered)
    assert found.fitted is None and "predicts the clear ground" in found.unfit[0][1]


def test_bands_of_several_types_are_read_and_a_gap_in_one_is_a_gap(optical: Optical, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    height = rng.normal(500, 90, (1, SIZE, SIZE)).astype(np.float32)
    height[:, :, SIZE // 2 :] = -9999
    kinds = rng.integers(1, 9, (1, SIZE, SIZE)).astype(np.uint8)
    files = [write(tmp_path / "map.tif", kinds), write(tmp_path / "height.tif", height, nodata=-9999)]
    joined = tmp_path / "both.vrt"
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{band}">{more}<SimpleSource><SourceFilename>{path}'
        "</SourceFilename></SimpleSource></VRTRasterBand>"
        for band, (path, kind, more) in enumerate(
            zip(files, ("Byte", "Float32"), ("", "<NoDataValue>-9999</NoDataValue>"), strict=True), 1
        )
    )
    joined.write_text(
        f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}"><SRS>EPSG:32631</SRS><GeoTransform>'
        f"600000, 10, 0, 5000000, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    with open_guide(str(joined), optical) as guide:
        assert isinstance(guide, Reference)
        dn = guide.optical.read(0, SIZE)
        valid = guide.optical.valid(dn)
        assert valid[:, : SIZE // 2 - 2].all() and not valid[:, SIZE // 2 + 2 :].any()
        assert dn[1][valid].std() > 100


def test_classes_are_those_of_the_pixels_not_of_overviews(
    optical: Optical, classes: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = write(tmp_path / "map.tif", classes[None])
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.cubic)
    with rasterio.open(path) as dataset:
        grid = Grid.from_dataset(dataset)
        values = _sample(dataset, window_around(optical.grid, grid), [1])
    assert set(np.unique(values)) == set(np.unique(classes))
