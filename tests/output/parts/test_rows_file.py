from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine

from cmcr_cli.output.parts.rows_file import RowsFile, checksum_of

TRANSFORM = Affine(10, 0, 600000, 0, -10, 5900040)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("masked", [False, True])
def test_gdal_reads_what_was_written(tmp_path: Path, dtype: str, masked: bool) -> None:
    path = tmp_path / "ö <&> 'rows\".raw"
    chance = np.random.default_rng(0)
    pixels, valid = chance.integers(0, 99, (3, 150, 7)).astype(dtype), chance.random((150, 7)) < 0.5
    checksum = 0
    with RowsFile(path, (3, 7), dtype, masked=masked) as rows:
        for part in (slice(0, 1), slice(1, 100), slice(100, 150)):
            checksum = rows.write(pixels[:, part], valid[part] if masked else None, checksum)
        np.testing.assert_array_equal(rows.read(99, 3), pixels[:, 99:102])
    assert checksum_of(path, 150) == checksum
    with rows.opened(150, TRANSFORM) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)
        assert dataset.transform == TRANSFORM
        if masked:
            np.testing.assert_array_equal(dataset.read_masks(1) > 0, valid)


def test_rows_of_a_stopped_run_are_continued_after_the_last_safe_one(tmp_path: Path) -> None:
    path, what = tmp_path / "rows.raw", ((1, 7), "uint16")
    pixels = np.arange(150 * 7, dtype=np.uint16).reshape(1, 150, 7)
    with RowsFile(path, *what) as rows:
        safe = rows.write(pixels[:, :100], None, 0)
        rows.write(pixels[:, :33], None, safe)  # never told of
    assert checksum_of(path, 100) == safe
    with RowsFile(path, *what, resumed=100) as rows:
        assert rows.write(pixels[:, 100:], None, safe) == checksum_of(path, 150)
        np.testing.assert_array_equal(rows.read(0, 150), pixels)
        with pytest.raises(OSError, match="ends after"):
            rows.read(149, 2)
    with pytest.raises(EOFError):
        checksum_of(path, 151)


def test_no_link_is_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "rows.raw", tmp_path / "other"
    other.write_bytes(b"mine")
    path.symlink_to(other)
    with pytest.raises(OSError, match="symbolic link"):
        RowsFile(path, (1, 7), "uint16", resumed=1)
    with RowsFile(path, (1, 7), "uint16"):
        pass
    assert other.read_bytes() == b"mine" and not path.is_symlink()
