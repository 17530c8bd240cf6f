from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.environment import MOST_THREADS, check_environment


@pytest.mark.parametrize("threads", ["ALL_CPUS", "all_cpus", "1", str(MOST_THREADS)])
def test_threads_that_gdal_knows(threads: str) -> None:
    with rasterio.Env(GDAL_NUM_THREADS=threads):
        check_environment()


@pytest.mark.parametrize("threads", ["0", "-1", "many", "2.5", "1025", "²"])
def test_threads_that_mean_nothing(threads: str) -> None:
    with (
        rasterio.Env(GDAL_NUM_THREADS=threads),
        pytest.raises(OptionError, match=rf"GDAL_NUM_THREADS is {threads!r}; expected .*environment"),
    ):
        check_environment()


def test_folders_of_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPL_TMPDIR", str(tmp_path))
    check_environment()
    assert not list(tmp_path.iterdir())
    for folder in (tmp_path / "none", Path(__file__)):
        monkeypatch.setenv("CPL_TMPDIR", str(folder))
        with pytest.raises(OptionError, match=r"CPL_TMPDIR is .* no file can .*expected a writable"):
            check_environment()
