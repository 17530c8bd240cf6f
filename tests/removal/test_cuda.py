"""What only a GPU can show: that it finds what a CPU does, and goes on when its memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from cmcr_cli.errors import CmcrError
from cmcr_cli.output.provenance import OBSERVED
from cmcr_cli.removal import RemoveOptions, estimate, remove, write_mask
from cmcr_cli.removal.restore import steps
from cmcr_cli.removal.restore.budget import Budget
from cmcr_cli.removal.restore.locked_noise import ground_noise
from cmcr_cli.runtime import workers
from cmcr_cli.warning_kinds import MemoryWarning

pytestmark = pytest.mark.cuda

Options = Callable[..., RemoveOptions]

CPU = torch.device("cpu")


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


def assert_close(image: NDArray[Any], expected: NDArray[Any]) -> None:
    """By a hundredth of the std: as the 16-bit floats of a GPU are allowed to change it elsewhere."""
    off, std = np.abs(image.astype(float) - expected), expected.std(axis=(1, 2))
    assert off.mean() < 0.01 * std.mean()
    assert off.max() < 0.2 * std.max()


@contextmanager
def memory_for_more(size: int) -> Iterator[None]:
    """The GPU can take `size` bytes more than it has, and not another one."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + size) / whole)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.parametrize("changes", [{"steps": 1}, {"steps": 4}, {"steps": 2, "samples": 2}])
def test_the_image_is_that_of_the_cpu(options: Options, scene: Any, changes: dict[str, int]) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        chosen = options(device=device, weights=None, **changes)
        report = remove(chosen)
        assert report.device == ("cpu" if device == "cpu" else "cuda:0")
        found[device] = read(chosen.output), read(Path(str(chosen.provenance)))[0]
    (expected, kinds), (image, same) = found["cpu"], found["cuda"]
    assert np.array_equal(kinds, same)
    assert np.array_equal(image[:, kinds == OBSERVED], read(scene.s2)[:, kinds == OBSERVED])
    assert_close(image, expected)


def test_the_mask_is_that_of_the_cpu(options: Options, scene: Any, tmp_path: Path) -> None:
    masks, sure = [], []
    for device in ("cpu", "cuda"):
        output, confidence = tmp_path / f"mask-{device}.tif", tmp_path / f"sure-{device}.tif"
        chosen = RemoveOptions(s2=str(scene.s2), output=output, device=device)
        write_mask(chosen, confidence=confidence)
        masks.append(read(output))
        sure.append(read(confidence).astype(int))
    assert np.mean(masks[0] != masks[1]) < 1e-3
    assert np.abs(sure[0] - sure[1]).mean() < 0.5  # per cent


def test_the_result_does_not_depend_on_lanes_devices_or_room(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, images = torch.device("cuda:0"), []
    for names, cores, room in (
        ("cuda", 1, 2**30),
        ("cuda", 5, 2**30),
        ("cuda:0,cuda:0", 4, 2**30),
        ("cuda", 3, 2**20),
        ("cuda", 3, 0),
    ):
        monkeypatch.setattr(workers, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(Budget, "spill_limits", lambda budget, room=room: {device: room, CPU: room})
        remove(options(device=names, steps=3, weights=None, mask="auto"))
        images.append(read(options().output))
    assert [int((image != images[0]).sum()) for image in images] == [0] * len(images)


def test_batches_are_halved_when_memory_is_short(
    options: Options, make_scene: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: 1)
    wide = make_scene(256, 1600)  # one batch in a row
    chosen = options(
        device="cuda", weights=None, steps=2, s2=str(wide.s2), s1=str(wide.s1), mask="all", batch_size=8
    )
    torch.zeros(1, device="cuda")
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    assert not [each for each in remove(chosen).warnings if isinstance(each, MemoryWarning)]
    expected, needed = read(chosen.output), torch.cuda.max_memory_reserved() - held
    with memory_for_more(needed * 6 // 10):
        report = remove(chosen)
    assert any("memory is low: continuing with batch size" in str(each) for each in report.warnings)
    assert_close(read(chosen.output), expected)


def test_a_gpu_without_room_for_a_patch_is_told(options: Options, tmp_path: Path) -> None:
    with memory_for_more(40 * 2**20), pytest.raises(CmcrError, match="--device cpu"):
        remove(options(device="cuda", weights=None))
    assert not list(tmp_path.iterdir())


def test_what_overflows_16_bits_is_repeated_in_32(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options(device="cuda", weights=None, steps=2)
    remove(chosen)
    expected, resample = read(chosen.output), steps.resample

    def overflowing(*args: Any) -> torch.Tensor:
        found = resample(*args)
        if torch.is_autocast_enabled("cuda"):
            found[..., 3, 5] = torch.inf
        return found

    monkeypatch.setattr(steps, "resample", overflowing)
    remove(chosen)
    assert_close(read(chosen.output), expected)


def test_memory_is_given_back_after_each_scene(options: Options) -> None:
    held = []
    for _ in range(2):
        remove(options(device="cuda", weights=None, steps=2))
        held.append((torch.cuda.memory_allocated(), torch.cuda.memory_reserved()))
    assert held[0] == held[1]
    assert held[1][1] < 2**26


def test_a_dry_run_is_timed(options: Options) -> None:
    found = estimate(options(device="cuda", weights=None, steps=2))
    assert found.device == "cuda:0" and found.seconds > 0


def test_the_noise_is_that_of_the_cpu() -> None:
    corners = [(-450_003, 50_001), (7, 2**31)]
    there, here = (ground_noise(3, 1, corners, 64, torch.device(name)) for name in ("cuda", "cpu"))
    torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-5)
