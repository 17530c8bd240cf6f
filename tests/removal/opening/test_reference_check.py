from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio import Affine

from cmcr_cli.removal.opening.reference_check import aligned_reference, check_reference
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.references.reference import Reference, open_references
from cmcr_cli.simulate import simulate_window
from cmcr_cli.warning_kinds import ReferenceWarning, WarningLog
from tests.support.rasters import CORNER, write

if TYPE_CHECKING:
    from tests.support.rasters import Write

__all__ = ["write"]

SIZE = 320


@pytest.fixture(scope="module")
def ground() -> NDArray[np.uint16]:
    return np.rint(simulate_window(5, 0, 0, SIZE, SIZE, 0).truth * 10_000).clip(1).astype(np.uint16)


@pytest.fixture
def opened(write: Write, ground: NDArray[np.uint16]) -> Any:
    """Open the ground as scene, and with other noise as reference, `east` and `north` metres off."""

    def open_pair(stack: ExitStack, east: float, north: float, **changes: Any) -> tuple[Any, Reference]:
        noise = np.random.default_rng(1).integers(0, 30, ground.shape).astype(np.uint16)
        scene = write("scene_20240620.tif", ground + noise)
        pixels = changes.get("pixels", ground + noise[::-1])
        transform = Affine(10, 0, CORNER.c + east, 0, -10, CORNER.f + north)
        other = write("other_20240610.tif", pixels, transform=transform)
        optical = stack.enter_context(open_optical(scene))
        found = stack.enter_context(open_references([str(other)], optical))
        return optical, found.used[0]

    return open_pair


@pytest.mark.parametrize(("east", "north"), [(0, 0), (30, -20), (-7, 12), (4, 0)])
def test_shifts_are_measured_and_large_ones_undone(
    opened: Any, ground: NDArray[np.uint16], east: float, north: float
) -> None:
    inner = (slice(None), slice(20, -20), slice(20, -20))
    large = np.hypot(east, north) >= 5
    with ExitStack() as stack:
        optical, reference = opened(stack, east, north)
        warnings = WarningLog()
        if large:
            with pytest.warns(ReferenceWarning, match=r"other_20240610\.tif is shifted .* it is moved back"):
                after = stack.enter_context(aligned_reference(optical, reference, warnings))
        else:
            after = stack.enter_context(aligned_reference(optical, reference, warnings))
        assert after.shift == (pytest.approx(east, abs=1.5), pytest.approx(north, abs=1.5))
        assert (after.optical is reference.optical) == (not large)
        apart = np.abs(after.optical.read(0, SIZE)[inner].astype(int) - ground[inner])
        assert np.percentile(apart, 90) < 120
        if large:
            before = np.abs(reference.optical.read(0, SIZE)[inner].astype(int) - ground[inner])
            assert before.mean() > 1.5 * apart.mean()
        assert after.optical.grid == optical.grid and after.date == reference.date


def test_what_cannot_be_measured_stays_where_it_is(opened: Any, ground: NDArray[np.uint16]) -> None:
    """Other ground, or clouds all over."""
    clouds = np.full_like(ground, 7000)
    other = np.rint(simulate_window(9, 5000, 0, SIZE, SIZE, 0).truth * 10_000).clip(1).astype(np.uint16)
    for pixels in (clouds, other):
        with ExitStack() as stack:
            optical, reference = opened(stack, 0, 0, pixels=pixels)
            assert check_reference(optical, reference) is None
            assert stack.enter_context(aligned_reference(optical, reference, WarningLog())) is reference


def test_real_dates(write: Write, shared_data: Path) -> None:
    """A year of one place, whose images are up to 1.4 px apart: shifts by way of a third date agree."""
    with np.load(shared_data / "optical" / "sen12mscrts_italy_2018.npz") as file:
        dn, dates = file["s2"].astype(np.uint16), [str(each)[:10] for each in file["s2_dates"]]
    places = [write(f"{dates[n]}.tif", dn[n]) for n in (4, 5, 9)]
    found = {}
    with ExitStack() as stack:
        for i, j in ((0, 1), (1, 2), (0, 2)):
            optical = stack.enter_context(open_optical(places[i]))
            references = stack.enter_context(open_references([str(places[j])], optical))
            alignment = check_reference(optical, references.used[0])
            assert alignment is not None
            found[i, j] = np.array([alignment.east, alignment.north])
    assert np.hypot(*(found[0, 1] + found[1, 2] - found[0, 2])) < 3
    assert max(np.hypot(*shift) for shift in found.values()) > 4
