from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cmcr_cli.errors import CmcrError, GridMismatchError, InputError, OutputError, WeightsError
from cmcr_cli.removal import RemoveOptions, estimate, remove, survey
from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.cog import NODATA, OBSERVED, RECONSTRUCTED
from cmcr_cli.scene.validate import validate_output

Options = Callable[..., RemoveOptions]


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


@pytest.fixture
def options(scene: Any, weights: Path, tmp_path: Path) -> Options:
    def make(**changes: Any) -> RemoveOptions:
        plain: dict[str, Any] = {
            "s2": str(scene.s2),
            "s1": str(scene.s1),
            "mask": str(scene.mask),
            "output": tmp_path / "clear.tif",
            "provenance": tmp_path / "provenance.tif",
            "weights": weights,
            "device": "cpu",
            "overwrite": True,
        }
        return RemoveOptions(**{**plain, **changes})

    return make


def test_output_is_a_valid_cog_on_the_input_grid_with_clear_pixels_untouched(
    options: Options, scene: Any, tmp_path: Path
) -> None:
    chosen = options(steps=4, quicklook=tmp_path / "look.png")
    report = remove(chosen)
    findings = validate_output(chosen.output, scene.s2, chosen.provenance)
    assert all(finding.ok for finding in findings), findings
    before, after, provenance = read(scene.s2), read(chosen.output), read(tmp_path / "provenance.tif")[0]
    assert np.array_equal(after[:, provenance == OBSERVED], before[:, provenance == OBSERVED])
    assert (read(scene.mask)[0][provenance != RECONSTRUCTED] == 0).all()
    assert (after != before).any(axis=0)[read(scene.mask)[0] > 0].mean() > 0.99
    with rasterio.open(chosen.output) as file:
        tags = file.tags()
    assert tags["CMCR_STEPS"] == "4" and tags["CMCR_S1"] == "s1.tif" and tags["CMCR_WEIGHTS_SHA256"]
    assert (tmp_path / "look.png").read_bytes().startswith(b"\x89PNG")
    assert report.patches_restored <= report.patches and 0 < report.covered_share < 1
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("changes", [{"batch_size": 1}, {"batch_size": 7}])
def test_result_does_not_depend_on_the_batch_size(options: Options, changes: dict[str, Any]) -> None:
    remove(options(batch_size=3, steps=2))
    expected = read(options().output)
    remove(options(steps=2, **changes))
    assert np.array_equal(read(options().output), expected)


def test_result_does_not_depend_on_the_height_of_strips(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(options(mask="auto"))
    expected = read(options().output)
    monkeypatch.setattr(survey, "STRIP", 34)
    remove(options(mask="auto"))
    # The context's sums are taken in another order, so a value may round to the neighbouring DN.
    apart = np.abs(read(options().output).astype(int) - expected)
    assert apart.max() <= 1 and (apart > 0).mean() < 0.01


def test_a_crop_gives_the_pixels_of_the_whole(make_scene: Callable[..., Any], options: Options) -> None:
    """Without context, away from the crop's edges: patches, noise and cells are locked to the map."""
    top, left, edge = 37, 53, 256
    whole, crop = make_scene(700, 680), make_scene(640, 600, top, left)
    images = []
    for files in (whole, crop):
        chosen = options(
            s2=str(files.s2), s1=str(files.s1), mask=str(files.mask), steps=2, context=False, provenance=None
        )
        remove(chosen)
        images.append(read(chosen.output)[:, edge:-edge, edge:-edge])
    rows, cols = images[1].shape[1:]
    same = images[0][:, top : top + rows, left : left + cols]
    assert np.array_equal(images[1], same)
    observed = read(whole.s2)[:, edge + top : edge + top + rows, edge + left : edge + left + cols]
    assert (same != observed).mean() > 0.1


def test_nodata_stays_and_is_never_made(make_scene: Callable[..., Any], options: Options) -> None:
    files = make_scene(300, 280, nodata=0)
    chosen = options(s2=str(files.s2), s1=str(files.s1), mask="all")
    remove(chosen)
    before, after, provenance = read(files.s2), read(chosen.output), read(chosen.outputs["--provenance"])[0]
    empty = (before == 0).all(axis=0)
    assert empty.any() and np.array_equal((after == 0).all(axis=0), empty)
    assert np.array_equal(provenance == NODATA, empty) and (after[:, ~empty] != 0).all()
    assert (provenance[~empty] == RECONSTRUCTED).all()


def test_samples_give_their_mean_and_their_spread(options: Options, tmp_path: Path) -> None:
    singles = []
    for seed in (0, 1):
        remove(options(seed=seed, steps=2))
        singles.append(read(options().output).astype(float))
    chosen = options(samples=3, steps=2, uncertainty=tmp_path / "std.tif")
    remove(chosen)
    provenance, spread = read(tmp_path / "provenance.tif")[0], read(tmp_path / "std.tif")
    assert (spread[:, provenance == OBSERVED] == 0).all()
    assert (spread[:, provenance == RECONSTRUCTED].mean(axis=1) > 0).all()
    with rasterio.open(tmp_path / "std.tif") as file:
        assert file.descriptions == tuple(f"std_{name}" for name in BANDS)
    assert (singles[0] != singles[1]).any()


def test_network_output_everywhere_when_clear_pixels_are_not_kept(options: Options, scene: Any) -> None:
    remove(options(keep_clear=False))
    assert (read(options().output) != read(scene.s2)).mean() > 0.9
    assert (read(options().outputs["--provenance"]) == RECONSTRUCTED).all()


def test_scene_without_radar_without_cirrus_and_as_int16(
    options: Options, scene: Any, tmp_path: Path
) -> None:
    with rasterio.open(scene.s2) as file:
        profile, pixels = file.profile, file.read()
    keep = [BANDS.index(name) for name in L2A_BANDS]
    profile.update(dtype="int16", count=12, nodata=-9999)
    path = tmp_path / "l2a.tif"
    with rasterio.open(path, "w", **profile) as file:
        file.write((pixels[keep] + 1000).astype(np.int16))
    chosen = options(s2=str(path), s1=None, offset=-1000)
    report = remove(chosen)
    assert report.level == "L2A" and report.offset == -1000 and not report.radar
    assert any("no Sentinel-1" in note for note in report.notes)
    after = read(chosen.output)
    assert after.dtype == np.int16 and after.shape[0] == 12
    assert all(finding.ok for finding in validate_output(chosen.output, path, chosen.provenance))


def test_scene_smaller_than_a_patch_and_odd(make_scene: Callable[..., Any], options: Options) -> None:
    for height, width in ((1, 1), (7, 300), (61, 33)):
        files = make_scene(height, width)
        chosen = options(s2=str(files.s2), s1=str(files.s1), mask="all", steps=2)
        remove(chosen)
        assert read(chosen.output).shape == (13, height, width)


def test_radar_elsewhere_is_refused_and_nothing_is_written(
    make_scene: Callable[..., Any], options: Options
) -> None:
    far = make_scene(60, 60, top=5_000, left=5_000)
    with pytest.raises(GridMismatchError, match=r"covers 0\.0%"):
        remove(options(s1=str(far.s1)))
    assert not options().output.exists()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"s2": "missing.tif"}, InputError),
        ({"s1": "missing.tif"}, InputError),
        ({"mask": "missing.tif"}, InputError),
        ({"weights": Path("missing.safetensors")}, WeightsError),
        ({"steps": 0}, CmcrError),
        ({"uncertainty": Path("std.tif")}, CmcrError),
        ({"overlap": 33}, CmcrError),
        ({"device": "cuda:99"}, CmcrError),
    ],
)
def test_bad_requests_leave_no_file(
    options: Options, tmp_path: Path, changes: dict[str, Any], error: type[CmcrError]
) -> None:
    with pytest.raises(error):
        remove(options(**changes))
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_kept_unless_overwriting(options: Options) -> None:
    options().output.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        remove(options(overwrite=False))
    assert options().output.read_text() == "precious"


def test_estimate_writes_nothing_and_counts_what_remove_does(options: Options, tmp_path: Path) -> None:
    chosen = options()
    expected = estimate(chosen)
    assert list(tmp_path.iterdir()) == []
    report = remove(chosen)
    assert (expected.patches, expected.patches_to_restore) == (report.patches, report.patches_restored)
    assert expected.seconds > 0 and expected.memory_mb > 0


def test_clear_scene_is_copied(options: Options, scene: Any, tmp_path: Path) -> None:
    clear = tmp_path / "clear_mask.tif"
    with rasterio.open(scene.mask) as file:
        profile = file.profile
    with rasterio.open(clear, "w", **profile) as file:
        file.write(np.zeros((1, profile["height"], profile["width"]), np.uint8))
    report = remove(replace(options(), mask=str(clear)))
    assert report.patches_restored == 0
    assert np.array_equal(read(options().output), read(scene.s2))
