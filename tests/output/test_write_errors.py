from __future__ import annotations

import errno
from pathlib import Path

import pytest
from rasterio.errors import RasterioIOError

from cmcr_cli.errors import OutputError
from cmcr_cli.output import write_errors
from cmcr_cli.output.write_errors import output_errors


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RasterioIOError("Write failed"), "Write failed"),
        (SystemError("unknown GDAL error"), "unknown GDAL error"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
    ],
)
def test_errors_of_gdal_become_ours(tmp_path: Path, error: Exception, why: str) -> None:
    path = tmp_path / "clear.tif"
    message = rf"clear\.tif: cannot be written \(.*{why}.*with -o"
    with pytest.raises(OutputError, match=message) as told, output_errors(path):
        raise error
    assert told.value.__cause__ is error and not list(tmp_path.iterdir())


def test_a_full_disk_is_named_where_gdal_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write_errors.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"), output_errors(tmp_path / "clear.tif"):
        raise RasterioIOError("Write failed")


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), output_errors(tmp_path / "clear.tif"):
            raise error
