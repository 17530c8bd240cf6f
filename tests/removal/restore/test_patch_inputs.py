"""Tensors of patches against numpy's arithmetic on strips, which the survey and the training use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import without_cirrus
from cmcr_cli.ground.context import upsampled
from cmcr_cli.ground.ground import Ground
from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.ground.unmixing import NOTHING
from cmcr_cli.removal.restore.patch_inputs import COVER, InputMaker
from cmcr_cli.removal.restore.strips import Strip
from cmcr_cli.scene.bands import BANDS, L2A_BANDS, canonical
from cmcr_cli.scene.patches import PATCH, reflected
from cmcr_cli.scene.radiometry import scaled_radar
from tests.support.strips import HEIGHT, WIDTH, optical, scene

CPU = torch.device("cpu")


def places(row: Strip, left: int) -> tuple[Any, ...]:
    return ..., reflected(row.top, PATCH, HEIGHT)[:, None], reflected(left, PATCH, WIDTH)


@pytest.mark.parametrize("names", [BANDS, L2A_BANDS, ("B08", "B04", "B03", "B02")])
@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        (np.uint16, None),
        (np.uint16, 65535.0),
        (np.int16, -9999.0),
        (np.uint16, -1.0),
        (np.int16, float("nan")),
    ],
)
@pytest.mark.parametrize("radar", [True, False])
def test_inputs_are_those_of_the_strips(
    names: tuple[str, ...], dtype: type, nodata: float | None, radar: bool
) -> None:
    rng = np.random.default_rng(5)
    source = optical(names, dtype, nodata)
    stored = 0 if nodata is None or not np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max else nodata
    row, lefts = scene(rng, names, dtype, stored), [-30, 20, 34]
    if not radar:
        row = replace(row, radar=None, radar_valid=None)
    maker = InputMaker(source, Ground.unknown(np.ones(13, bool)))
    blocks = rng.random((len(lefts), 14, PATCH // 2 + 2, PATCH // 2 + 2), dtype=np.float32)
    observed, inputs = maker.make(row, lefts, torch.from_numpy(blocks))
    for index, left in enumerate(lefts):
        where = places(row, left)
        dn, (spectrum, confidence) = row.dn[where], upsampled(blocks[index])
        valid = source.valid(dn)
        assert not valid.all()  # 0 is nodata where the file declares none that fits
        seen = np.where(valid, canonical(source.radiometry.reflectance(dn), names), spectrum)
        expected = {
            "optical": without_cirrus(seen),
            "context": spectrum,
            "confidence": confidence[None],
            "cover": np.where(valid, COVER[row.cover[where]], 1)[None],
            "radar_valid": np.zeros((1, PATCH, PATCH)),
        }
        if row.radar is not None and row.radar_valid is not None:
            expected |= {"radar": scaled_radar(row.radar[where]), "radar_valid": row.radar_valid[where][None]}
        else:
            expected["radar"] = np.zeros((2, PATCH, PATCH))
        assert_close(observed[index], seen)
        for name, values in expected.items():
            assert_close(getattr(inputs, name)[index], values)
    if "B10" in names:
        assert (without_cirrus(seen) != seen).any()
    assert inputs.present.tolist() == [[float(name in names) for name in BANDS]] * len(lefts)


def assert_close(found: torch.Tensor, expected: NDArray[Any]) -> None:
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-6, atol=2e-7)


def test_a_row_is_sent_to_a_device_once() -> None:
    row = scene(np.random.default_rng(6), BANDS, np.uint16, 0)
    strips = row.on(CPU)
    assert row.on(CPU) is strips
    assert np.shares_memory(strips.dn.numpy(), row.dn)
    back = row.unloaded().loaded(row.arrays)
    assert np.array_equal(back.dn, row.dn) and back.dn.dtype == row.dn.dtype
    assert back.on(CPU) is not strips
    elsewhere = row.on(torch.device("meta"))
    assert row.unloaded().on(torch.device("meta")) is elsewhere


def test_the_context_sees_the_radar_around_the_patch() -> None:
    rng = np.random.default_rng(7)
    whole = scene(rng, BANDS, np.uint16, 0)
    asked: list[Any] = []

    class Context:
        std = np.ones(13, np.float32)

        def blocks(self, *args: Any) -> NDArray[np.float32]:
            asked.append(args)
            return np.zeros((14, PATCH // 2 + 2, PATCH // 2 + 2), np.float32)

    ground = Ground(Context(), np.float32(1), NOTHING)  # type: ignore[arg-type]
    maker = InputMaker(optical(BANDS, np.uint16, None), ground)
    maker.blocks(whole, 20)
    top, left, height, width, radar, valid = asked[0]
    assert (top, left, height, width) == (-40, 20, PATCH, PATCH)
    wide = PATCH + 2 * MARGIN
    lines, columns = reflected(-40 - MARGIN, wide, HEIGHT), reflected(20 - MARGIN, wide, WIDTH)
    assert whole.radar is not None and whole.radar_valid is not None
    np.testing.assert_array_equal(radar, whole.radar[:, lines[:, None], columns])
    np.testing.assert_array_equal(valid, whole.radar_valid[lines[:, None], columns])
