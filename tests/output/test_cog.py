from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.env import get_gdal_config
from rasterio.shutil import copy as gdal_copy
from rio_cogeo.cogeo import cog_validate

from cmcr_cli.errors import OutputError
from cmcr_cli.option_texts import creation_options_of
from cmcr_cli.output import cog
from cmcr_cli.output.catalogue.categories import MASK, PROVENANCE, Categories, colour_table, source_categories
from cmcr_cli.output.catalogue.spectrum import SPECTRUM
from cmcr_cli.output.cog import StripWriter
from cmcr_cli.output.cog_spec import OutputSpec
from cmcr_cli.output.files import folder_of
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.grid import Grid


def _grid(height: int, width: int) -> Grid:
    return Grid(CRS.from_epsg(32631), Affine(10, 0, 600000, 0, -10, 5900040), width, height)


def _optical(path: Path, height: int = 301, width: int = 280, **changes: Any) -> OutputSpec:
    spec = OutputSpec(
        path,
        _grid(height, width),
        13,
        "uint16",
        nodata=0,
        descriptions=BANDS,
        scales=(1e-4,) * 13,
        offsets=(-0.1,) * 13,
        tags={"SOFTWARE": "cmcr 0", "CMCR_INPUT": "a b=c é"},
    )
    return replace(spec, **changes)


def _pixels(spec: OutputSpec) -> NDArray[Any]:
    shape = (spec.count, spec.grid.height, spec.grid.width)
    values = np.random.default_rng(0).normal(1500, 300, shape)
    return values.astype(spec.dtype)


def _write(spec: OutputSpec, pixels: NDArray[Any], rows: int = 100) -> None:
    with StripWriter(spec) as writer:
        for top in range(0, pixels.shape[1], rows):
            writer.write(pixels[:, top : top + rows])


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_written_is_a_valid_cog_with_everything_on_it(tmp_path: Path) -> None:
    spec = _optical(tmp_path / "clear.tif", height=1200, width=520)
    pixels = _pixels(spec)
    pixels[:, :300, :300] = 0
    _write(spec, pixels)
    assert cog_validate(spec.path, strict=True) == (True, [], [])
    with rasterio.open(spec.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)
        assert Grid.from_dataset(dataset) == spec.grid
        assert dataset.nodata == 0
        assert dataset.descriptions == BANDS
        assert dataset.scales == spec.scales and dataset.offsets == spec.offsets
        assert spec.tags.items() <= dataset.tags().items()
        assert dataset.overviews(1) == [2, 4]
        assert dataset.block_shapes[0] == (512, 512)
        assert dataset.colorinterp[1:4] == (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        statistics = dataset.tags(4)
        seen = pixels[3][pixels[3] > 0]
        assert float(statistics["STATISTICS_MEAN"]) == pytest.approx(seen.mean())
        assert float(statistics["STATISTICS_MINIMUM"]) == seen.min()
    # Overviews average measurements only: nodata does not darken the edge of what was measured.
    with rasterio.open(spec.path, OVERVIEW_LEVEL=1) as overview:
        small = overview.read()
    assert small[small > 0].min() > 1000
    assert _names(tmp_path) == {"clear.tif"}


@pytest.mark.parametrize("rows", [1, 37, 256, 257, 601])
def test_strip_height_does_not_matter(tmp_path: Path, rows: int) -> None:
    spec = OutputSpec(tmp_path / "out.tif", _grid(601, 70), 2, "int16", nodata=-32768)
    pixels = _pixels(spec)
    _write(spec, pixels, rows)
    with rasterio.open(spec.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)
        assert dataset.nodata == -32768


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 900), (900, 3), (256, 256), (513, 512), (513, 256)]
)
def test_any_size_is_a_valid_cog(tmp_path: Path, height: int, width: int) -> None:
    spec = _optical(tmp_path / "out.tif", height, width)
    pixels = _pixels(spec)
    _write(spec, pixels)
    assert cog_validate(spec.path, strict=True) == (True, [], [])
    with rasterio.open(spec.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)


@pytest.mark.parametrize("name", ["a b.tif", "Évora 雪.tif", "zip:x!y%20#1.tif", "no suffix", "-o.tif"])
def test_names_are_taken_as_they_are(tmp_path: Path, name: str) -> None:
    spec = OutputSpec(tmp_path / name, _grid(20, 30), 1, "uint8")
    _write(spec, _pixels(spec))
    assert _names(tmp_path) == {name}
    with rasterio.open(spec.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), _pixels(spec))


def test_categories_are_never_averaged(tmp_path: Path) -> None:
    spec = OutputSpec(tmp_path / "provenance.tif", _grid(800, 700), 1, "uint8", nodata=0, categorical=True)
    pixels = np.random.default_rng(0).choice(np.array([1, 3], dtype=np.uint8), (1, 800, 700))
    _write(spec, pixels)
    assert cog_validate(spec.path, strict=True) == (True, [], [])
    with rasterio.open(spec.path, OVERVIEW_LEVEL=0) as overview:
        assert set(np.unique(overview.read())) == {1, 3}


@pytest.mark.parametrize(
    "categories", [PROVENANCE, MASK, source_categories(["2024-06-01 a", "2024-05-02 b"])]
)
def test_classes_have_their_colours_at_every_scale(tmp_path: Path, categories: Categories) -> None:
    values = np.array([each.value for each in categories], np.uint8)
    spec = OutputSpec(tmp_path / "classes.tif", _grid(800, 700), 1, "uint8", categories=categories)
    pixels = np.random.default_rng(0).choice(values, (1, 800, 700))
    _write(spec, pixels)
    assert cog_validate(spec.path, strict=True) == (True, [], []) and _names(tmp_path) == {"classes.tif"}
    for level in ({}, {"OVERVIEW_LEVEL": 0}):
        with rasterio.open(spec.path, **level) as dataset:
            assert dataset.colorinterp == (ColorInterp.palette,)
            assert set(np.unique(dataset.read())) == set(values)
            shown = dataset.colormap(1)
        for value, colour in colour_table(categories).items():
            assert shown[value][:3] == colour[:3]


@pytest.mark.parametrize("empty", [False, True])
def test_spectral_bands_have_wavelengths_as_gdal_knows_them(tmp_path: Path, empty: bool) -> None:
    """Also where a band has no valid pixel, of which there are no statistics."""
    spec = _optical(tmp_path / "clear.tif", height=600, spectrum=tuple(SPECTRUM[name] for name in BANDS))
    pixels = _pixels(spec)
    pixels[10] *= not empty
    _write(spec, pixels)
    assert cog_validate(spec.path, strict=True) == (True, [], [])
    with rasterio.open(spec.path) as dataset:
        assert dataset.tags(4, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.665", "FWHM_UM": "0.03"}
        assert [dataset.tags(index)["common_name"] for index in (1, 4, 8)] == ["coastal", "red", "nir"]
        assert float(dataset.tags(4)["STATISTICS_MEAN"]) == pytest.approx(pixels[3].mean())
        assert ("STATISTICS_MEAN" in dataset.tags(11)) != empty


def test_tags_may_come_last(tmp_path: Path) -> None:
    spec = _optical(tmp_path / "clear.tif")
    with StripWriter(spec) as writer:
        writer.write(_pixels(spec))
        writer.add_tags({"CMCR_COVER": "half"})
    with rasterio.open(spec.path) as dataset:
        assert dataset.tags()["CMCR_COVER"] == "half" and dataset.tags()["CMCR_INPUT"] == "a b=c é"


@pytest.mark.parametrize(
    "tags",
    [
        {"empty": ""},
        {"odd": "a\x01b"},
        {"TIFFTAG_RESOLUTIONUNIT": "2"},
        {"TIFFTAG_XRESOLUTION": "72.0"},
        {"TIFFTAG_MINSAMPLEVALUE": "1.5"},
    ],
    ids=str,
)
def test_tags_that_a_geotiff_holds_otherwise_do_not_end_a_run(tmp_path: Path, tags: dict[str, str]) -> None:
    spec = replace(_optical(tmp_path / "clear.tif"), tags={"CMCR_INPUT": "a", **tags})
    _write(spec, _pixels(spec))
    with rasterio.open(spec.path) as dataset:
        assert dataset.tags()["CMCR_INPUT"] == "a"


def test_floats_keep_their_bits_and_their_names(tmp_path: Path) -> None:
    names = tuple(f"std_{name}" for name in BANDS)
    spec = OutputSpec(
        tmp_path / "std.tif", _grid(300, 600), 13, "float32", nodata=float("nan"), descriptions=names
    )
    pixels = np.random.default_rng(0).random((13, 300, 600), dtype=np.float32)
    pixels[:, 5:9] = np.nan
    _write(spec, pixels)
    assert cog_validate(spec.path, strict=True) == (True, [], [])
    with rasterio.open(spec.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)
        assert dataset.descriptions == names
        assert np.isnan(dataset.nodata)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "3"


def test_all_nodata_is_written_all_the_same(tmp_path: Path) -> None:
    spec = _optical(tmp_path / "empty.tif")
    _write(spec, np.zeros((13, 301, 280), dtype=np.uint16))
    assert cog_validate(spec.path, strict=True) == (True, [], [])


def test_absent_descriptions_stay_absent(tmp_path: Path) -> None:
    spec = OutputSpec(tmp_path / "out.tif", _grid(9, 9), 3, "uint16", descriptions=(None, "B8A", None))
    _write(spec, _pixels(spec))
    with rasterio.open(spec.path) as dataset:
        assert dataset.descriptions == (None, "B8A", None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_interruption_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    spec = _optical(tmp_path / "clear.tif")
    with pytest.raises(error), StripWriter(spec) as writer:
        writer.write(_pixels(spec)[:, :270])
        assert _names(tmp_path), "the temporary file lies beside the output"
        raise error
    assert _names(tmp_path) == set()


def test_interruption_leaves_the_old_output(tmp_path: Path) -> None:
    spec = _optical(tmp_path / "clear.tif")
    spec.path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), StripWriter(spec):
        raise KeyboardInterrupt
    assert spec.path.read_bytes() == b"old"
    assert _names(tmp_path) == {"clear.tif"}


def test_several_outputs_at_once_do_not_touch_each_other(tmp_path: Path) -> None:
    one, other = (OutputSpec(tmp_path / name, _grid(300, 40), 1, "uint8") for name in ("a.tif", "a.tif.tif"))
    with StripWriter(one) as first, StripWriter(other) as second:
        first.write(_pixels(one))
        second.write(_pixels(other))
    assert _names(tmp_path) == {"a.tif", "a.tif.tif"}


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    spec = OutputSpec(tmp_path / "out.tif", _grid(10, 20), 2, "uint16")
    for wrong in [
        np.zeros((2, 5, 20), np.int16),
        np.zeros((1, 5, 20), np.uint16),
        np.zeros((2, 5, 21), np.uint16),
    ]:
        with pytest.raises(ValueError, match="do not fit"), StripWriter(spec) as writer:
            writer.write(wrong)
    with pytest.raises(ValueError, match="more than 10 rows"), StripWriter(spec) as writer:
        writer.write(np.zeros((2, 11, 20), np.uint16))
    with pytest.raises(ValueError, match="only 9 of 10 rows"), StripWriter(spec) as writer:
        writer.write(np.zeros((2, 9, 20), np.uint16))
    assert _names(tmp_path) == set()


@contextmanager
def _small_disk(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes; writing fails then as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("missing", [1, 400, 5_000, 50_000, 500_000])
@pytest.mark.parametrize("threads", ["1", "ALL_CPUS"])
def test_a_full_disk_is_an_error_and_leaves_nothing(
    tmp_path: Path, missing: int, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_NUM_THREADS", threads)
    # The COG is larger than the temporary file, so that the smaller cuts hit only the copy.
    spec = OutputSpec(tmp_path / "out.tif", _grid(560, 560), 2, "uint16")
    pixels = np.random.default_rng(0).integers(0, 9000, (2, 560, 560)).astype(np.uint16)
    _write(spec, pixels)
    size = spec.path.stat().st_size
    spec.path.unlink()
    with pytest.raises(OutputError, match="cannot be written"), _small_disk(size - missing):
        _write(spec, pixels)
    assert _names(tmp_path) == set()


@pytest.mark.parametrize(
    ("options", "compression"),
    [(["compress=lzw"], "LZW"), (["COMPRESS=ZSTD", "LEVEL=9"], "ZSTD"), (["LEVEL=6"], "DEFLATE")],
)
def test_creation_options_override_the_defaults(tmp_path: Path, options: list[str], compression: str) -> None:
    given = creation_options_of([*options, "BLOCKSIZE=128"])
    spec = _optical(tmp_path / "out.tif", creation_options=given)
    _write(spec, _pixels(spec))
    with rasterio.open(spec.path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == compression
        assert dataset.block_shapes[0] == (128, 128)


def test_overviews_may_overshoot_where_the_user_asks_for_it(tmp_path: Path) -> None:
    """CUBIC makes values at a step that are in neither side of it."""
    spec = _optical(tmp_path / "out.tif", 600, 600, creation_options={"OVERVIEW_RESAMPLING": "CUBIC"})
    pixels = np.full((13, 600, 600), 1000, np.uint16)
    pixels[:, :, 301:] = 9000
    _write(spec, pixels)
    with rasterio.open(spec.path, overview_level=0) as dataset:
        assert dataset.read(1).min() < 1000


@pytest.mark.parametrize("what", ["pixel", "tag", "nothing"])
def test_a_copy_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """As when a write fails that GDAL does not report."""

    def copy(source: Path, target: Any, **options: Any) -> None:
        gdal_copy(source, target, **options)
        if what != "nothing" and isinstance(target, Path):
            with rasterio.open(target, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
                if what == "pixel":
                    dataset.write(np.zeros((1, 1, 1), np.uint16), [13], window=((300, 301), (279, 280)))
                else:
                    dataset.update_tags(CMCR_INPUT="other")

    monkeypatch.setattr(cog, "gdal_copy", copy)
    spec = _optical(tmp_path / "clear.tif")
    if what == "nothing":
        _write(spec, _pixels(spec))
        return
    with pytest.raises(OutputError, match="differs from what was written"):
        _write(spec, _pixels(spec))
    assert _names(tmp_path) == set()


def test_overviews_are_built_in_the_hidden_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever GDAL is told to put its temporary files; those of a killed run are known to the next."""
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir(), out.mkdir()
    monkeypatch.setenv("CPL_TMPDIR", str(elsewhere))
    spec = _optical(out / "clear.tif", height=600)
    used = []

    def copy(source: Path, target: Any, **options: Any) -> None:
        if isinstance(target, Path):
            used.append(get_gdal_config("CPL_TMPDIR"))
        gdal_copy(source, target, **options)

    monkeypatch.setattr(cog, "gdal_copy", copy)
    folder = folder_of(spec.path)
    folder.mkdir()
    (folder / "whole_123_1.ovr.tmp").write_bytes(b"of a run that was killed")
    _write(spec, _pixels(spec))
    assert used == [str(folder)]
    assert _names(out) == {"clear.tif"} and _names(elsewhere) == set()
