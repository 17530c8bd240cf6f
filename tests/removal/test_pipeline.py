from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from cmcr_cli.errors import CmcrError, GridMismatchError, InputError, OutputError, WeightsError
from cmcr_cli.ground import cirrus
from cmcr_cli.ground.context import TYPICAL_STD
from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.ground.ridge import learnt_prior
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig, scalings
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.model.weights import Weights, save
from cmcr_cli.output.provenance import NODATA, OBSERVED, RECONSTRUCTED
from cmcr_cli.output.validation import validate_output
from cmcr_cli.removal import RemoveOptions, remove
from cmcr_cli.removal.restore import schedule, steps
from cmcr_cli.removal.survey import learning
from cmcr_cli.runtime import workers
from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.patches import PATCH
from cmcr_cli.simulate import simulate_window

Options = Callable[..., RemoveOptions]


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


@pytest.fixture(scope="module")
def of_two_steps(scene: Any, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> NDArray[Any]:
    """The image of `options(steps=2)`, to be read only."""
    output = tmp_path_factory.mktemp("plain") / "clear.tif"
    inputs = {"s2": str(scene.s2), "s1": str(scene.s1), "mask": str(scene.mask)}
    remove(RemoveOptions(**inputs, output=output, weights=weights, device="cpu", steps=2))  # type: ignore[arg-type]
    return read(output)


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


def test_result_does_not_depend_on_the_batch_size(options: Options, of_two_steps: NDArray[Any]) -> None:
    """On a CPU a batch is one patch unless a size is asked for."""
    for size in (3, 7):
        remove(options(batch_size=size, steps=2))
        assert np.array_equal(read(options().output), of_two_steps)


def test_result_does_not_depend_on_the_height_of_strips(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(options(mask="auto"))
    expected = read(options().output)
    monkeypatch.setattr(learning, "STRIP", 34)
    remove(options(mask="auto"))
    assert np.array_equal(read(options().output), expected)


def test_result_does_not_depend_on_threads_or_devices(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = []
    for device, cores in (("cpu", 1), ("cpu", 3), ("cpu,cpu", 1)):
        monkeypatch.setattr(workers, "usable_cores", lambda cores=cores: cores)
        report = remove(options(device=device, steps=2, mask="auto"))
        assert report.device == device
        images.append(read(options().output))
    assert all(np.array_equal(image, images[0]) for image in images[1:])


def test_batches_are_halved_when_a_gpu_is_out_of_memory(
    options: Options, of_two_steps: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    resample, sizes = steps.resample, []

    def scarce(denoiser: Any, condition: Any, features: Any, level: float, last: Any) -> Any:
        sizes.append(len(condition.mean))
        # In the last step, when what the first one found out has been fetched already.
        if last is not None and len(condition.mean) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return resample(denoiser, condition, features, level, last)

    monkeypatch.setattr(steps, "resample", scarce)
    room = 1
    report = remove(options(steps=2, batch_size=3))
    assert np.array_equal(read(options().output), of_two_steps)
    assert max(sizes) == 2 and sizes[-1] == 1  # two patches side by side are all that this scene has
    assert sum("memory is low: continuing with batch size 1" in str(each) for each in report.warnings) == 1
    room = 0
    with pytest.raises(CmcrError, match="too small for a patch"):
        remove(options(steps=2))


def test_the_precision_of_a_gpu_changes_the_image_by_a_hundredth_of_its_std(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, images = options(steps=2, keep_clear=False, weights=None), []
    for _ in range(2):
        remove(chosen)
        images.append(read(chosen.output).astype(float))
        monkeypatch.setattr(steps, "_precision", lambda device, exact: torch.autocast("cpu", torch.bfloat16))
    off = np.abs(images[1] - images[0])
    assert 0 < off.mean() < 0.01 * images[0].std(axis=(1, 2)).mean()
    assert off.max() < 0.2 * images[0].std(axis=(1, 2)).max()


def test_a_gpu_without_room_for_a_row_is_told(
    options: Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*args: Any, **options: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(schedule, "strip_canvas", full)
    with pytest.raises(CmcrError, match="--device cpu"):
        remove(options())
    assert not list(tmp_path.iterdir())


def keep_mask(path: Path, rows: slice, columns: slice) -> None:
    """Let a mask cover nothing outside of a window."""
    with rasterio.open(path, "r+") as file:
        mask = file.read()
        kept = np.zeros_like(mask)
        kept[:, rows, columns] = mask[:, rows, columns]
        file.write(kept)


@pytest.mark.parametrize("cirrus", ["B10", "-"])
def test_a_crop_gives_the_pixels_of_the_whole(
    make_scene: Callable[..., Any], options: Options, cirrus: str
) -> None:
    """Without context, away from the crop's edges: patches, noise and cells are locked to the map.

    Without B10 the level of the scene is not known, and must not follow from what is in the crop.
    """
    top, left, edge = 37, 53, PATCH + MARGIN
    height, width = 2 * edge + 40, 2 * edge + 48
    whole, crop = make_scene(height + 58, width + 70), make_scene(height, width, top, left)
    compared = slice(edge, height - edge), slice(edge, width - edge)
    keep_mask(crop.mask, *compared)
    keep_mask(
        whole.mask, *(slice(s.start + d, s.stop + d) for s, d in zip(compared, (top, left), strict=True))
    )
    images = []
    for files in (whole, crop):
        chosen = options(
            s2=str(files.s2), s1=str(files.s1), mask=str(files.mask), steps=2, context=False, provenance=None,
            bands=tuple(cirrus if band == "B10" else band for band in BANDS),
        )  # fmt: skip
        remove(chosen)
        images.append(read(chosen.output)[:, edge:-edge, edge:-edge])
    rows, cols = images[1].shape[1:]
    same = images[0][:, top : top + rows, left : left + cols]
    assert np.array_equal(images[1], same)
    observed = read(whole.s2)[
        [band != "B10" or cirrus == band for band in BANDS],
        edge + top : edge + top + rows,
        edge + left : edge + left + cols,
    ]
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


def test_samples_give_their_mean_and_their_std(
    options: Options, of_two_steps: NDArray[Any], tmp_path: Path
) -> None:
    """The first of two samples is the image without sampling, and is std / sqrt 2 off their mean."""
    first = of_two_steps.astype(float)
    chosen = options(samples=2, steps=2, uncertainty=tmp_path / "std.tif")
    remove(chosen)
    mean = read(chosen.output).astype(float)
    provenance, std = read(tmp_path / "provenance.tif")[0], read(tmp_path / "std.tif")
    assert (std[:, provenance == OBSERVED] == 0).all()
    within = (
        (provenance == RECONSTRUCTED) & (np.minimum(first, mean) > 1) & (np.maximum(first, mean) < 65_535)
    )
    assert within[:, provenance == RECONSTRUCTED].mean() > 0.1
    off, expected = np.abs(first - mean)[within], 10_000 * std[within] / 2**0.5
    assert expected.mean() > 10
    assert (off <= 1.001 * expected + 1).all()
    # only where patches are blended may samples differ in opposite directions
    assert (off >= 0.999 * expected - 1).mean() > 0.999
    assert (std[:, provenance == RECONSTRUCTED].mean(axis=1) > 0).all()
    with rasterio.open(tmp_path / "std.tif") as file:
        assert file.descriptions == tuple(f"std_{name}" for name in BANDS)


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
    assert any("no Sentinel-1" in str(each) for each in report.warnings)
    after = read(chosen.output)
    assert after.dtype == np.int16 and after.shape[0] == 12
    assert all(finding.ok for finding in validate_output(chosen.output, path, chosen.provenance))


def test_scene_smaller_than_a_patch_and_odd(make_scene: Callable[..., Any], options: Options) -> None:
    for height, width in ((1, 1), (7, 270), (61, 33)):
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


@pytest.fixture
def see_through(tmp_path: Path) -> Path:
    """Weights of a network that answers with the very image it is shown."""
    config = DiffusionConfig(sigma_data=0.01)  # hardly any of the noise is kept
    denoiser = Denoiser(NetworkConfig((8, 8, 8)), config)
    _, c_out, _ = scalings(torch.tensor([config.sigma_max]), config)
    with torch.no_grad():
        denoiser.step.head.bias[4 * 13 : 4 * 26] = 1 / c_out.item()  # the gate of the residual
    path = tmp_path / "see_through.safetensors"
    clouds = CloudNetwork(CloudConfig((8, 8), 8))
    save(path, Weights(denoiser, clouds, torch.full((13,), 0.2), torch.full((13,), 0.2)))
    return path


@pytest.fixture
def under_cirrus(scene: Any, tmp_path: Path) -> tuple[Path, NDArray[Any]]:
    """A clear scene under cirrus that adds 0.1 to the visible, and its ground, reflectance (13, H, W)."""
    with rasterio.open(scene.s2) as file:
        profile, names = file.profile, file.descriptions
    ground = simulate_window(5, 0, 0, profile["height"], profile["width"], 0).truth
    prior, most = learnt_prior().levels[0], TYPICAL_STD  # no more, or networks limit what they see
    ground = np.clip(ground, (prior - most)[:, None, None], (prior + most)[:, None, None])
    ground[cirrus.B10] = cirrus.GROUND
    added = 0.1 * cirrus.SPECTRUM[:, None, None]
    seen = ground * (1 - added / cirrus.WHITE) + added
    seen[cirrus.B10] += 0.1 / cirrus.TYPICAL_RATIO
    path = tmp_path / "cirrus.tif"
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.rint(seen * 10_000).astype(np.uint16))
        file.descriptions = names
    return path, ground


def test_the_network_sees_the_ground_without_cirrus(
    options: Options, see_through: Path, under_cirrus: tuple[Path, NDArray[Any]]
) -> None:
    path, ground = under_cirrus
    chosen = options(s2=str(path), s1=None, weights=see_through, mask="all", keep_clear=False, context=False)
    remove(chosen)
    others = np.arange(13) != cirrus.B10
    np.testing.assert_allclose(read(chosen.output)[others] / 10_000, ground[others], rtol=0, atol=5e-4)


def test_what_is_pasted_in_has_the_cirrus_of_its_surroundings(
    options: Options, see_through: Path, under_cirrus: tuple[Path, NDArray[Any]]
) -> None:
    path, _ = under_cirrus
    chosen = options(s2=str(path), weights=see_through, context=False)
    remove(chosen)
    before, after = read(path) / 10_000, read(chosen.output) / 10_000
    pasted = read(chosen.outputs["--provenance"])[0] == RECONSTRUCTED
    assert 0.1 < pasted.mean() < 0.9
    offset = (after - before)[:9, pasted]
    assert np.abs(offset.mean(axis=1)).max() < 0.005
    assert np.abs(offset).mean() < 0.01


def test_existing_output_is_kept_unless_overwriting(options: Options) -> None:
    options().output.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        remove(options(overwrite=False))
    assert options().output.read_text() == "precious"


def test_clear_scene_is_copied(options: Options, scene: Any, tmp_path: Path) -> None:
    clear = tmp_path / "clear_mask.tif"
    with rasterio.open(scene.mask) as file:
        profile = file.profile
    with rasterio.open(clear, "w", **profile) as file:
        file.write(np.zeros((1, profile["height"], profile["width"]), np.uint8))
    report = remove(replace(options(), mask=str(clear)))
    assert report.patches_restored == 0
    assert np.array_equal(read(options().output), read(scene.s2))
