from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.vrt import WarpedVRT

from cmcr_cli.arrays.prepared import Arguments, as_files
from cmcr_cli.errors import CmcrError, InputError, OptionError, OutputError
from tests.support.arrays import TIME, like_odc_stac, like_rioxarray
from tests.support.rasters import CORNER, UTM31
from tests.support.removals import Files


@pytest.fixture(scope="module")
def small(make_scene: Any) -> Files:
    files: Files = make_scene(20, 16)
    return files


def arguments(ds: Any, s1: Any = None, references: Any = (), transform: Any = None, crs: Any = None,
              **options: Any) -> Arguments:  # fmt: skip
    return Arguments(ds, s1, references, options, transform, crs)


def prepare(given: Arguments) -> Any:
    with as_files(given, lambda stage, done: None) as files:
        return files


def test_paths_and_open_files_are_not_written_again(small: Files, tmp_path: Path) -> None:
    with rasterio.open(small.s2) as s2, rasterio.open(small.s1) as s1, rasterio.open(small.mask) as mask:
        found = prepare(arguments(s2, s1, [small.s2, s2], mask=mask, output=tmp_path / "clear.tif"))
    assert (found.options.s2, found.options.s1) == (str(small.s2), str(small.s1))
    assert found.options.references == (str(small.s2),) * 2 and found.options.mask == str(small.mask)
    assert found.scene is None and found.temporary == () and list(tmp_path.iterdir()) == []


def test_what_is_open_and_no_file_is_copied(small: Files, tmp_path: Path) -> None:
    content = small.s2.read_bytes()
    with (
        rasterio.open(small.s2) as s2,
        WarpedVRT(s2, width=8, height=8, transform=s2.transform) as part,
        rasterio.MemoryFile(content) as memory,
        memory.open() as held,
        as_files(arguments(part, references=[held]), lambda stage, done: None) as files,
    ):
        assert files.options.references == (held.name,)  # GDAL finds it by its name
        with rasterio.open(files.options.s2) as copy:
            assert np.array_equal(copy.read(), s2.read()[:, :8, :8]) and copy.descriptions == s2.descriptions


def test_files_are_beside_the_output_and_removed_whatever_happens(small: Files, tmp_path: Path) -> None:
    stages: list[tuple[str, float]] = []
    array, output = like_rioxarray(small.s2), tmp_path / "clear.tif"
    given = arguments(array, like_odc_stac(small.s1, time=False), output=output)
    with as_files(given, lambda *stage: stages.append(stage)) as files:
        assert Path(files.options.s2).parent.parent == tmp_path
        assert files.temporary == () and files.options.output == output
    assert list(tmp_path.iterdir()) == [] and stages[-1] == ("read", 1.0)
    with pytest.raises(ZeroDivisionError), as_files(given, lambda *stage: None):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_rasters_of_a_result_in_memory(small: Files, tmp_path: Path) -> None:
    array = like_rioxarray(small.s2)
    assert prepare(arguments(array)).temporary == ("output", "provenance")
    found = prepare(arguments(array, None, small.s2, steps=2, samples=2, provenance=tmp_path / "which.tif"))
    assert found.temporary == ("output", "uncertainty", "source_date")
    assert found.options.provenance == tmp_path / "which.tif"


def test_each_time_of_a_reference_but_that_of_the_scene(small: Files) -> None:
    one = like_odc_stac(small.s2)
    cube = xr.concat([one.assign_coords(time=[TIME + np.timedelta64(d, "D")]) for d in (-9, 0, 4)], "time")
    names = [
        [Path(path).name for path in prepare(arguments(ds, None, references)).options.references]
        for ds, references in ((one, cube), (one.drop_vars("time"), [cube]), (one, [one, small.s2]))
    ]
    times = [f"references[0].isel(time={number})" for number in range(3)]
    assert names == [[times[0], times[2]], times, ["references[0]", small.s2.name]]


@pytest.mark.parametrize(("dtype", "fill", "nodata"), [
    ("int16", None, 0), ("int16", -9999, -9999), ("uint8", None, 0), ("float32", None, np.nan),
])  # fmt: skip
def test_masked_pixels_of_numpy(dtype: str, fill: Any, nodata: float) -> None:
    """The value that numpy has for them unless told otherwise could be a measurement."""
    pixels = np.ma.masked_less(np.arange(4 * 6, dtype=dtype).reshape(4, 2, 3), 5)
    pixels.fill_value = fill
    given = arguments(pixels, transform=CORNER, crs=UTM31)
    with as_files(given, lambda *stage: None) as files, rasterio.open(files.options.s2) as file:
        np.testing.assert_equal(file.nodata, nodata)
        assert np.array_equal(file.read(), pixels.filled(nodata), equal_nan=True)
        assert file.transform == CORNER and file.crs.to_string() == UTM31


PIXELS = np.ones((13, 4, 5), "uint16")


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (arguments(["s2.tif"]), InputError, "ds: found list of str; expected a path, a Dataset"),
        (arguments(None), InputError, "ds: found NoneType; expected a path"),
        (arguments(io.BytesIO()), InputError, r"ds: found _io\.BytesIO; expected a path"),
        (arguments("s2.tif", {"VV": 1}), InputError, "s1: found dict; expected a path"),
        (arguments("s2.tif", None, 7), InputError, "references: found int; expected one or a list"),
        (arguments("s2.tif", None, [b"a"]), InputError, r"references\[0\]: found bytes; expected a path"),
        (arguments("s2.tif", mask=3), InputError, "mask: found int; expected a path"),
        (arguments(PIXELS), InputError, r"ds: found numpy\.ndarray of the shape \(13, 4, 5\).*transform="),
        (arguments(PIXELS, transform=CORNER), InputError, "no place on the map is known"),
        (arguments(PIXELS[None], transform=CORNER, crs=UTM31), InputError, r"an array \(band, y, x\)"),
        (arguments(np.ones((40, 50, 13)), transform=CORNER, crs=UTM31), InputError, "bands last; .*moveaxis"),
        (arguments(PIXELS, transform=CORNER.to_gdal(), crs=UTM31), OptionError, "transform: found tuple"),
        (arguments(PIXELS, transform=CORNER, crs="here"), OptionError, "crs: 'here' is not understood"),
        (arguments(PIXELS, transform=CORNER, crs=UTM31, resume=True), OptionError, "resume=True with arrays"),
        (arguments(PIXELS, transform=CORNER, crs=UTM31, stac="a.json"), OptionError, "stac=a.json"),
        (arguments("s2.tif", steps=0), OptionError, "--steps 0"),
        (arguments("s2.tif", output="gone/clear.tif"), OutputError, "gone"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(given: Arguments, error: type[CmcrError], words: str) -> None:
    with pytest.raises(error, match=words):
        prepare(given)


def test_open_files_that_are_closed_or_written(tmp_path: Path, small: Files) -> None:
    with rasterio.open(small.s2) as file:
        profile = file.profile
    with pytest.raises(InputError, match=r"^ds: .*s2\.tif is closed; expected .* open for reading"):
        prepare(arguments(file))
    with rasterio.open(tmp_path / "new.tif", "w", **profile) as new:
        with pytest.raises(InputError, match=r"^ds: .*new\.tif is open for writing"):
            prepare(arguments(new))
        new.write(np.ones((13, 20, 16), np.uint16))


def test_messages_name_arguments_and_not_temporary_files(small: Files) -> None:
    with (
        pytest.raises(InputError) as error,
        as_files(arguments(like_rioxarray(small.s2)), lambda *_: None) as found,
    ):
        raise InputError(f"{found.options.s2}: is odd")
    assert str(error.value) == "ds: is odd"


def test_outputs_are_checked_before_anything_is_computed(small: Files, tmp_path: Path) -> None:
    (tmp_path / "clear.tif").touch()
    array = like_odc_stac(small.s2, chunks={"x": 9})
    array["red"] = array.red.copy(data=array.red.data.map_blocks(lambda pixels: 1 / 0, dtype="uint16"))
    with pytest.raises(OutputError, match="exists"):
        prepare(arguments(array, output=tmp_path / "clear.tif"))
