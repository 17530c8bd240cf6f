from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cmcr_cli.errors import OptionError, OutputError
from cmcr_cli.output.provenance import NODATA, OBSERVED, RECONSTRUCTED
from cmcr_cli.removal import RemoveOptions, remove
from cmcr_cli.removal.estimation import _bytes_of_rasters
from cmcr_cli.removal.finished import unfinished
from cmcr_cli.removal.opening.native_files import native_files
from cmcr_cli.removal.opening.session import open_session
from cmcr_cli.removal.restore.second_pass import FinishedStrip
from cmcr_cli.removal.results import resume
from cmcr_cli.removal.results.native import Spread, area_to_compute, in_own_pixels
from cmcr_cli.removal.results.outputs import open_outputs
from cmcr_cli.removal.results.rasters import Setting
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.span import Span
from tests.support.eopf import METRES, Eopf

SIZE = 120
STEM = "T31UFU_20240601T102031"
Options = Callable[..., RemoveOptions]


@pytest.fixture(scope="module")
def product(make_product: Callable[..., Any]) -> Any:
    """Level-2A, 120 pixels of 10 m, the upper left corner nodata."""
    return make_product(size=SIZE)


@pytest.fixture(scope="module")
def whole(product: Any, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> RemoveOptions:
    """A full run, against which others are compared; to be read only."""
    folder = tmp_path_factory.mktemp("whole")
    given = RemoveOptions(
        s2=str(product.folder), output=folder / "clear.tif", provenance=folder / "which.tif",
        stac=folder / "clear.json", native=folder / "native", mask="scl", weights=weights, device="cpu",
    )  # fmt: skip
    assert len(remove(given).native) == 12
    return given


@pytest.fixture
def chosen(whole: RemoveOptions, tmp_path: Path) -> Options:
    plain = {
        "output": tmp_path / "clear.tif",
        "provenance": None,
        "stac": None,
        "native": tmp_path / "native",
    }
    return lambda **changes: replace(whole, **{**plain, **changes})


def read(path: Path | str) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


def own_file(product: Any, name: str) -> Path:
    (path,) = product.folder.rglob(f"*_{name}_*0m.jp2")
    return Path(path)


def blocks(image: NDArray[Any], step: int) -> NDArray[Any]:
    """Blocks of pixels (rows, columns, step * step)."""
    rows, columns = (size // step for size in image.shape)
    found = image.reshape(rows, step, columns, step).swapaxes(1, 2)
    return found.reshape(rows, columns, step * step)


def test_bands_of_a_product_in_their_own_pixels(whole: RemoveOptions, product: Any) -> None:
    """What was observed is the product's own, bit for bit; elsewhere the mean of the image."""
    folder = whole.output.parent
    image, provenance = read(whole.output), read(folder / "which.tif")[0]
    assert (provenance == 2).any() and (provenance == 0).any()
    with rasterio.open(whole.output) as file:
        names, tags = file.descriptions, file.tags()
    for band, name in enumerate(names):
        own = own_file(product, name)
        path = folder / "native" / f"{STEM}_{name}_{own.stem[-3:]}.tif"
        step = int(own.stem[-3:-1]) // 10
        with rasterio.open(path) as file, rasterio.open(own) as source:
            assert (file.crs, file.transform, file.shape) == (source.crs, source.transform, source.shape)
            assert (file.nodata, file.descriptions, file.dtypes) == (0, (name,), ("uint16",))
            assert (file.scales, file.offsets) == ((0.0001,), (-0.1,))
            assert file.tags()["CMCR_NATIVE"] == tags["CMCR_NATIVE"] and path.name in tags["CMCR_NATIVE"]
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            made, stored = file.read(1), source.read(1)
        new = (blocks(provenance, step) >= RECONSTRUCTED).any(axis=-1)
        assert new.any() and np.array_equal(made[~new], stored[~new]), name
        known = blocks(provenance, step) != NODATA
        sums = (blocks(image[band], step) * known).sum(axis=-1, dtype=float)
        assert np.array_equal(made[new], np.rint(sums[new] / known.sum(axis=-1)[new])), name
    asset = json.loads((folder / "clear.json").read_text())["assets"]["native-B05"]
    assert asset["href"] == f"./native/{STEM}_B05_20m.tif"


def test_an_area_has_the_same_pixels(whole: RemoveOptions, chosen: Options, tmp_path: Path) -> None:
    """Also where its edge cuts through pixels of 60 m, whose rest must be restored as well."""
    with rasterio.open(whole.output) as file:
        a, _, c, _, e, f = file.transform[:6]
    ring = [[c + a * x, f + e * y] for x, y in ((47, 41), (101, 41), (47, 97), (47, 41))]
    crs = {"type": "name", "properties": {"name": "EPSG:32631"}}
    aoi = tmp_path / "a.geojson"
    aoi.write_text(json.dumps({"type": "Polygon", "coordinates": [ring], "crs": crs}))
    part = chosen(aoi=aoi)
    with open_session(part) as session:
        area = area_to_compute(session)
    assert area is not None and (area.top, area.left) == (36, 42)
    assert (area.grid.height, area.grid.width) == (102 - 36, 102 - 42)
    remove(part)
    assert whole.native is not None and part.native is not None and read(part.output).shape[1:] == (56, 54)
    for name, step, shape in (("B02_10m", 1, (56, 54)), ("B05_20m", 2, (29, 28)), ("B01_60m", 6, (11, 10))):
        made, full = (read(folder / f"{STEM}_{name}.tif")[0] for folder in (part.native, whole.native))
        assert made.shape == shape
        full = full[41 // step :, 47 // step :][: shape[0], : shape[1]]
        inside = made > 0
        assert np.array_equal(made[inside], full[inside]) and 0.4 < inside.mean() < 0.8
        assert inside[0, 0] and not inside[-1, -1]


def test_names_that_are_taken(chosen: Options, tmp_path: Path) -> None:
    given = chosen()
    assert given.native is not None
    with open_session(given) as session:
        assert len(session.native) == 12 and given.native.is_dir()
    assert not given.native.exists(), "nothing was written to it"
    given.native.mkdir()
    (given.native / f"{STEM}_B05_20m.tif").touch()
    nowhere = replace(given, native=tmp_path / "none" / "native")
    clash = replace(given, overwrite=True, output=given.native / f"{STEM}_B05_20m.tif")
    for wrong, message in (
        (given, r"B05_20m\.tif: exists already"),
        (nowhere, "cannot be created"),
        (clash, "is also used as"),
    ):
        with pytest.raises(OutputError, match=message), open_session(wrong):
            pass


def test_a_stack_has_no_pixels_of_its_own(options: Options, tmp_path: Path) -> None:
    given = options(native=tmp_path / "native")
    with pytest.raises(OptionError, match=r"--native .*native: .*s2\.tif is a stack .*Give the product"):
        remove(given)
    assert not list(tmp_path.iterdir())


def test_plans_count_the_bands(chosen: Options) -> None:
    sizes = []
    for given in (chosen(native=None), chosen()):
        with open_session(given) as session:
            setting = Setting(given, session.optical, session.optical.grid, {}, native=session.native)
            sizes.append(_bytes_of_rasters(session, setting))
    assert sizes[0] == 2 * 12 * SIZE**2
    assert sizes[1] - sizes[0] == 2 * sum((SIZE // step) ** 2 for step in (1,) * 4 + (2,) * 6 + (6,) * 2)


def test_complete_means_the_bands_too(whole: RemoveOptions, tmp_path: Path) -> None:
    """Each band is there, whole, and of the same run as the image."""
    shutil.copytree(whole.output.parent, tmp_path / "copy")
    given = replace(
        whole, output=tmp_path / "copy" / "clear.tif", native=tmp_path / "copy" / "native", provenance=None
    )
    assert unfinished(whole) is None and unfinished(given) is None
    band = tmp_path / "copy" / "native" / f"{STEM}_B05_20m.tif"
    content = band.read_bytes()
    band.write_bytes(content[: len(content) // 2])
    assert "not a complete image" in str(unfinished(given))
    band.unlink()
    assert "B05_20m.tif is not there, which --native asks for" in str(unfinished(given))
    with rasterio.open(given.output) as source:
        profile, pixels = source.profile, source.read()
    with rasterio.open(band, "w", **profile) as file:
        file.write(pixels)
    assert "was not made together with" in str(unfinished(given))
    shutil.copy(band, given.output)
    assert "made without --native" in str(unfinished(given))


@pytest.fixture
def item(tmp_path: Path) -> tuple[Path, dict[str, NDArray[np.uint16]]]:
    """A STAC item of 300 x 24 px with a file for each band, and their pixels."""
    rng, assets, pixels = np.random.default_rng(3), {}, {}
    for name in ("B01", "B02", "B03", "B04", "B05", "B08"):
        metres = METRES[name]
        pixels[name] = rng.integers(1000, 4000, (3000 // metres, 240 // metres), np.uint16)
        path = tmp_path / f"{name}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=3000 // metres, width=240 // metres, count=1, dtype="uint16",
            crs="EPSG:32631", transform=rasterio.Affine(metres, 0, 600_000, 0, -metres, 5_900_040),
        ) as file:  # fmt: skip
            file.write(pixels[name], 1)
        assets[name] = {"href": f"./{name}.tif", "type": "image/tiff"}
    content = {"type": "Feature", "stac_version": "1.0.0", "id": "S2A_31UFU_20240601_0_L2A", "properties": {}}
    path = tmp_path / "item.json"
    path.write_text(json.dumps({**content, "assets": assets}))
    return path, pixels


def test_a_stopped_run_goes_on_where_all_bands_are_whole(
    item: tuple[Path, dict[str, NDArray[np.uint16]]],
    chosen: Options,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows of the image are safe before those of its coarser bands are whole."""
    monkeypatch.setattr(resume, "_read_survey", lambda path: SimpleNamespace())
    path, pixels = item
    given = chosen(s2=str(path), mask="all", resume=True)

    def run(stop: int) -> int:
        """Write rows up to `stop` from where an earlier run has stopped, and tell where that is."""
        with open_session(given) as session, open_outputs(session) as outputs:
            started = outputs.finished
            for top in range(started // 64 * 64, stop, 64):
                span = Span(top, min(top + 64, 300))
                before = session.optical.read(span.start, span.size)
                provenance = np.full((span.size, 24), RECONSTRUCTED, np.uint8)
                outputs.write(FinishedStrip(span, before, before + np.uint16(7), provenance))
            if stop < 300:
                raise KeyboardInterrupt
            outputs.finish()
        return started

    with pytest.raises(KeyboardInterrupt):
        run(stop=256)
    assert given.native is not None and not list(given.native.glob("*.tif"))
    assert run(stop=300) == 252, "four rows were safe of six that a row of 60 m needs"
    names = {f"clear_{name}_{METRES[name]}m.tif": band + 7 for name, band in pixels.items()}
    assert {each.name for each in given.native.iterdir()} == names.keys()
    for name, expected in names.items():
        assert np.array_equal(read(given.native / name)[0], expected), name


def test_bands_of_a_product_in_zarr_and_their_grids(chosen: Options, tmp_path: Path) -> None:
    product = Eopf(tmp_path)
    with open_optical(str(product.root)) as optical:
        found = native_files(chosen(s2=str(product.root)), optical)
    assert [each.name for each in found] == list(product.names)
    for each in found:
        metres = METRES[each.name]
        assert each.path.name == f"{STEM}_{each.name}_{metres}m.tif" and each.grid.width == 1200 // metres
        assert each.grid.corners == optical.grid.corners


def test_strips_may_end_within_coarse_pixels(chosen: Options, tmp_path: Path) -> None:
    """Strips of 7 rows, of which the lower half is reconstructed."""
    with open_session(chosen(mask="all")) as session, open_outputs(session) as outputs:
        before = session.optical.read(0, SIZE)
        provenance = np.where(session.optical.valid(before), OBSERVED, NODATA).astype(np.uint8)
        provenance[61:][provenance[61:] == OBSERVED] = RECONSTRUCTED
        after = np.where(provenance == RECONSTRUCTED, np.arange(SIZE * SIZE).reshape(SIZE, SIZE), before)
        after = after.astype(before.dtype)
        for top in range(0, SIZE, 7):
            rows = slice(top, min(top + 7, SIZE))
            span = Span(rows.start, rows.stop)
            outputs.write(FinishedStrip(span, before[:, rows], after[:, rows], provenance[rows]))
        outputs.finish()
    made = read(tmp_path / "native" / f"{STEM}_B01_60m.tif")[0]
    assert np.array_equal(made[:10], before[0, :60:6, ::6])
    assert np.array_equal(made[10:], np.rint(blocks(after[0], 6)[10:].mean(axis=-1)))


@pytest.mark.parametrize(("fine", "coarse"), [(120, 120), (120, 60), (120, 20), (101, 50), (7, 3), (100, 33)])
def test_every_row_shows_the_coarse_one_in_which_its_centre_is(fine: int, coarse: int) -> None:
    spread = Spread.of(fine, coarse)
    owners = np.searchsorted(spread.starts, np.arange(fine), side="right") - 1
    assert np.array_equal(owners, np.floor((np.arange(fine) + 0.5) * coarse / fine))
    assert spread.shown(Span(0, coarse)) == (0, fine) and spread.touched(Span(0, fine)) == (0, coarse)
    first = spread.touched(Span(1, 2))
    assert first.size == 1 and spread.shown(first).start <= 1 < spread.shown(first).stop


@pytest.mark.parametrize(("nodata", "low", "expected"), [(0, 0, 1), (65535, 65535, 65534), (500, 500, 501)])
def test_a_mean_is_never_nodata(nodata: int, low: int, expected: int) -> None:
    pixels = np.full((1, 2, 4), low, np.uint16)
    provenance = np.array([[2, 2, 0, 1], [2, 2, 0, 0]], np.uint8)
    starts = np.array([0, 2]), np.array([0, 2, 4])
    values, valid = in_own_pixels(pixels, provenance, *starts, nodata)
    assert values.tolist() == [[[expected, low]]] and valid.tolist() == [[True, True]]


def test_floats_keep_their_fractions() -> None:
    pixels = np.array([[[0.1, 0.4, np.nan, np.nan]]], np.float32)
    provenance = np.array([[2, 1, 0, 0]], np.uint8)
    values, valid = in_own_pixels(pixels, provenance, np.array([0, 1]), np.array([0, 2, 4]), np.nan)
    assert values[0, 0, 0] == pytest.approx(0.25) and np.isnan(values[0, 0, 1])
    assert valid.tolist() == [[True, False]]
