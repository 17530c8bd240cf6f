from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from cmcr_cli.output.plausibility import FAR, STEP, Plausibility
from cmcr_cli.scene.radiometry import Radiometry

NAMES = ("B02", "B03", "B04", "B08")


def looked_at(dn: Any, new: Any, *, told: bool = True, rows: int = 8) -> Plausibility:
    """What an output of 4 bands shows, strip by strip."""
    made = cast(Any, SimpleNamespace(names=NAMES, radiometry=Radiometry()))
    seen = Plausibility(made, told=told)
    for top in range(0, dn.shape[1], rows):
        part = slice(top, top + rows)
        seen.add(dn[:, part], dn[0, part] > 0, new[part])
    return seen


def pixels() -> tuple[Any, Any]:
    dn = np.random.default_rng(0).integers(900, 1100, (4, 32, 16)).astype(np.uint16)
    new = np.zeros((32, 16), np.bool_)
    new[:8] = True
    return dn, new


def test_all_pixels_are_counted_and_nothing_is_odd() -> None:
    dn, new = pixels()
    dn[:, -1] = 0  # no measurement
    seen = looked_at(dn, new)
    assert seen.counts.tolist() == [23 * 16, 8 * 16] and seen.share == 8 / 31
    doubts = seen.doubts()
    assert [odd for odd, _ in doubts.values()] == [False, False]
    assert "25.8% of the valid pixels are reconstructed" in doubts["reconstructed"][1]


def test_three_bands_that_are_far_are_odd_and_two_are_not() -> None:
    dn, new = pixels()
    dn[:2, :8] += int(10_000 * (FAR + 0.05))
    assert looked_at(dn, new).doubts()["means"][0] is False
    dn[3, :8] += int(10_000 * (FAR + 0.05))
    odd, text = looked_at(dn, new).doubts()["means"]
    assert odd and "far in B02 B03 B08: check offset" in text


def test_hardly_anything_observed_is_odd() -> None:
    dn, new = pixels()
    new[:] = True
    doubts = looked_at(dn, new, told=False).doubts()
    assert doubts.keys() == {"reconstructed"}, "there is nothing to compare with"
    odd, text = doubts["reconstructed"]
    assert odd and "differ from the source: check the mask" in text


def test_nothing_is_valid() -> None:
    dn, new = pixels()
    seen = looked_at(np.zeros_like(dn), new, rows=STEP)
    assert seen.share == 0 and seen.doubts().keys() == {"reconstructed"}
