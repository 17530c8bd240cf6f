from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rasterio

from cmcr_cli.errors import OutputError
from cmcr_cli.output import cog
from cmcr_cli.removal import RemoveOptions, pipeline, remove
from cmcr_cli.removal.restore.steps import Restorer
from cmcr_cli.removal.results.resume import fingerprint
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.sun import Sun
from tests.support.eopf import Eopf

Options = Callable[..., RemoveOptions]

FIRST = -237
"""Top of the scene's first row of patches."""

NAMES = {"output": "clear.tif", "provenance": "which.tif", "uncertainty": "std.tif", "quicklook": "look.png"}


@pytest.fixture(scope="module")
def tall(make_scene: Callable[..., Any]) -> dict[str, str]:
    files = make_scene(900, 100)
    return {"s2": str(files.s2), "s1": str(files.s1), "mask": str(files.mask)}


@pytest.fixture(scope="module")
def undisturbed(
    tall: dict[str, str], weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], bytes]:
    """The image of a run of so many steps that nothing disturbed, made once for each number."""

    @cache
    def image(steps: int) -> bytes:
        output = tmp_path_factory.mktemp("undisturbed") / "clear.tif"
        remove(RemoveOptions(**tall, output=output, weights=weights, device="cpu", steps=steps))  # type: ignore[arg-type]
        return output.read_bytes()

    return image


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], list[int]]:
    """Lets the last step fail from some line of the scene on; lists the tops of rows it was asked about."""
    seen: list[int] = []
    advance = Restorer.advance

    def until(line: int | None) -> list[int]:
        def failing(self: Restorer, worker: Any, strip: Any, lefts: Any, step: int, *rest: Any) -> Any:
            seen.append(strip.top)
            if line is not None and strip.top > line and step == self.steps - 1:
                raise KeyboardInterrupt
            return advance(self, worker, strip, lefts, step, *rest)

        monkeypatch.setattr(Restorer, "advance", failing)
        return seen

    return until


def test_a_stopped_run_goes_on_to_the_same_bytes(
    tall: dict[str, str],
    options: Options,
    stopping: Callable[..., list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chosen(folder: str, **changes: Any) -> RemoveOptions:
        (tmp_path / folder).mkdir(exist_ok=True)
        paths = {option: tmp_path / folder / name for option, name in NAMES.items()}
        return options(**tall, **paths, steps=2, samples=2, **changes)

    remove(chosen("whole"))
    seen = stopping(500)
    with pytest.raises(KeyboardInterrupt):
        remove(chosen("again", resume=True))
    assert not (tmp_path / "again" / "clear.tif").exists() and min(seen) == FIRST
    seen.clear()
    stopping(None)
    monkeypatch.setattr(pipeline, "survey_scene", None)  # not a second time
    report = remove(chosen("again", resume=True))
    assert min(seen) > FIRST and not any("from the beginning" in str(each) for each in report.warnings)
    whole = sorted((tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [path.name for path in whole]
    for path in whole:
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_run_that_was_killed_can_be_resumed(
    tall: dict[str, str], options: Options, weights: Path, stopping: Callable[..., list[int]],
    undisturbed: Callable[[int], bytes], tmp_path: Path,
) -> None:  # fmt: skip
    output = tmp_path / "clear.tif"
    chosen = options(**tall, provenance=None, steps=2, resume=True)
    # The same run, which kills itself: nothing of it can tidy up.
    code = (
        "import os, signal, sys; from cmcr_cli.removal.restore import steps\n"
        "from cmcr_cli.cli.main import main\n"
        "advance = steps.Restorer.advance\n"
        "def dying(self, worker, strip, lefts, step, *rest):\n"
        "    if strip.top > 500 and step: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return advance(self, worker, strip, lefts, step, *rest)\n"
        "steps.Restorer.advance = dying\n"
        "main(sys.argv[1:])"
    )
    args = ["remove", tall["s2"], tall["s1"], "-o", str(output), "--mask", tall["mask"], "--steps", "2"]
    args += ["--weights", str(weights), "--device", "cpu"]
    killed = subprocess.run([sys.executable, "-c", code, *args], capture_output=True)
    assert killed.returncode == -9 and not output.exists()
    seen = stopping(None)
    report = remove(chosen)
    assert min(seen) > FIRST and not any("from the beginning" in str(each) for each in report.warnings)
    assert output.read_bytes() == undisturbed(2)
    assert list(tmp_path.iterdir()) == [output]


def test_a_run_stopped_between_two_outputs_finishes_the_other(
    tall: dict[str, str],
    options: Options,
    stopping: Callable[..., list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output, which = tmp_path / "clear.tif", tmp_path / "which.tif"
    chosen = options(**tall, provenance=which, resume=True)
    remove(chosen)
    whole = output.read_bytes(), which.read_bytes()
    output.unlink()
    which.unlink()
    copy = cog.gdal_copy

    def stopped(source: Path, target: Path, **settings: Any) -> None:
        if output.name in Path(target).parent.name:
            raise KeyboardInterrupt
        copy(source, target, **settings)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(cog, "gdal_copy", stopped)
        patched.setattr(cog, "check_creation_options", lambda spec: None)
        remove(chosen)
    assert not which.exists() and not output.exists()
    seen = stopping(None)
    remove(chosen)
    assert not seen and (output.read_bytes(), which.read_bytes()) == whole


def test_what_other_options_made_is_not_taken_over(
    tall: dict[str, str], options: Options, stopping: Callable[..., list[int]],
    undisturbed: Callable[[int], bytes], tmp_path: Path,
) -> None:  # fmt: skip
    seen = stopping(500)
    with pytest.raises(KeyboardInterrupt):
        remove(options(**tall, seed=1, resume=True))
    seen.clear()
    stopping(None)
    report = remove(options(**tall, resume=True))
    assert min(seen) == FIRST and any("starting from the beginning" in str(each) for each in report.warnings)
    assert (tmp_path / "clear.tif").read_bytes() == undisturbed(1)


def test_another_sun_is_another_run(
    tall: dict[str, str], options: Options, stopping: Callable[..., list[int]], tmp_path: Path
) -> None:
    """And the same sun is the same run, whether the option or the file states it."""
    s2 = tmp_path / "s2.tif"
    shutil.copy(tall["s2"], s2)
    with rasterio.open(s2, "r+") as file:
        file.update_tags(MEAN_SOLAR_AZIMUTH_ANGLE="152", MEAN_SOLAR_ZENITH_ANGLE="49")
    chosen = {**tall, "s2": str(s2), "resume": True}
    seen = stopping(500)
    for sun, goes_on in ((None, False), (Sun(152.0, 41.0), True), (Sun(153.0, 41.0), False)):
        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            remove(options(**chosen, sun=sun))
        assert (min(seen) > FIRST) == goes_on, sun


def test_inputs_that_changed_behind_others_are_another_run(
    tall: dict[str, str], options: Options, stopping: Callable[..., list[int]], tmp_path: Path
) -> None:
    """The source of a VRT, whatever the VRT is: its own time and size stay."""
    source, mask = tmp_path / "source.tif", tmp_path / "mask.vrt"
    shutil.copy(tall["mask"], source)
    with rasterio.open(source) as file:
        width, height, place = file.width, file.height, file.transform.to_gdal()
    mask.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>EPSG:32631</SRS>'
        f'<GeoTransform>{", ".join(map(str, place))}</GeoTransform><VRTRasterBand dataType="Byte" band="1">'
        '<SimpleSource><SourceFilename relativeToVRT="1">source.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    chosen = options(**{**tall, "mask": str(mask)}, mask_codes="binary", resume=True)
    seen = stopping(500)
    for changed in (False, True):
        with pytest.raises(KeyboardInterrupt):
            remove(chosen)
        assert min(seen) == FIRST
        seen.clear()
        if not changed:
            with rasterio.open(source, "r+") as file:
                pixels = file.read()
                pixels[:, :20] = 0
                file.write(pixels)


def test_every_chunk_of_a_product_in_zarr_counts(tmp_path: Path) -> None:
    product = Eopf(tmp_path)
    with open_optical(product.chunk("B02").parent) as optical:
        session: Any = SimpleNamespace(
            options=RemoveOptions(s2=optical.path, output=tmp_path / "clear.tif"),
            optical=optical, radar=None,
            references=(), weights=SimpleNamespace(sha256="1"), devices=(),
        )  # fmt: skip
        before = fingerprint(session)
        assert fingerprint(session) == before
        chunk = product.chunk("B12")
        chunk.write_bytes(chunk.read_bytes() + b"0")
        assert fingerprint(session) != before


@pytest.mark.parametrize("damage", ["journal.json", "survey.npz", "rows.raw", "pixels"])
def test_what_is_damaged_is_made_anew(
    tall: dict[str, str], options: Options, stopping: Callable[..., list[int]],
    undisturbed: Callable[[int], bytes], tmp_path: Path, damage: str,
) -> None:  # fmt: skip
    """Files of no bytes, and pixels that changed: a note, and the bytes of an undisturbed run."""
    chosen, folder = options(**tall, resume=True), tmp_path / ".clear.tif.cmcr-part"
    seen = stopping(500)
    with pytest.raises(KeyboardInterrupt):
        remove(chosen)
    if damage == "pixels":
        with (folder / "rows.raw").open("r+b") as file:
            file.seek(10_000)
            byte = file.read(1)[0]
            file.seek(10_000)
            file.write(bytes([byte ^ 1]))
    else:
        (folder / damage).write_bytes(b"")
    seen.clear()
    stopping(None)
    report = remove(chosen)
    assert min(seen) == FIRST and any("starting from the beginning" in str(each) for each in report.warnings)
    assert (tmp_path / "clear.tif").read_bytes() == undisturbed(1)


def test_without_the_option_a_stopped_run_leaves_nothing(
    tall: dict[str, str], options: Options, stopping: Callable[..., list[int]], tmp_path: Path
) -> None:
    stopping(500)
    with pytest.raises(KeyboardInterrupt):
        remove(options(**tall))
    assert not list(tmp_path.iterdir())


def test_two_runs_must_not_write_one_output(
    tall: dict[str, str], options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    surveyed = pipeline.survey_scene

    def meanwhile(*args: Any) -> Any:
        monkeypatch.setattr(pipeline, "survey_scene", surveyed)
        with pytest.raises(OutputError, match="another run"):
            remove(options(**tall))
        return surveyed(*args)

    monkeypatch.setattr(pipeline, "survey_scene", meanwhile)
    remove(options(**tall))
    assert options().output.is_file()
