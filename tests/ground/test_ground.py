from __future__ import annotations

import io

import numpy as np
import pytest

from cmcr_cli.ground.cirrus import B10, TYPICAL_RATIO
from cmcr_cli.ground.ground import Ground
from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.ground.ridge import learnt_prior
from cmcr_cli.scene.bands import BANDS

PRESENT = np.array([name != "B09" for name in BANDS])


def test_an_unknown_ground_is_that_of_the_prior_without_confidence() -> None:
    ground = Ground.unknown(PRESENT)
    spectrum, confidence = ground.context.evaluate(0, 0, 8, 6, None, None)
    expected = learnt_prior().levels[0] * PRESENT
    np.testing.assert_allclose(spectrum, np.broadcast_to(expected[:, None, None], (13, 8, 6)), atol=1e-6)
    assert not confidence.any() and not ground.unmixing.any()
    assert ground.cirrus_ratio == TYPICAL_RATIO
    radar = np.full((2, 8 + 2 * MARGIN, 6 + 2 * MARGIN), -8, np.float32)
    with_radar, confidence = ground.context.evaluate(0, 0, 8, 6, radar, np.ones(radar.shape[1:], bool))
    assert np.abs(with_radar - spectrum)[PRESENT].max() > 0.01 and not confidence.any()
    assert not with_radar[~PRESENT].any()


def test_a_ground_comes_back_from_a_file() -> None:
    ground, file = Ground.unknown(PRESENT), io.BytesIO()
    np.savez(file, **ground.arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = Ground.from_arrays(arrays)
    assert again.context.cell == ground.context.cell and isinstance(again.context.cell, int)
    for name, values in ground.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], values)
    with pytest.raises(LookupError):
        Ground.from_arrays({name: values for name, values in ground.arrays().items() if name != "field"})


def test_cirrus_is_subtracted_with_the_ratio_of_the_scene() -> None:
    image = np.full((13, 2, 2), 0.3, np.float32)
    image[B10] = 0.02
    ground = Ground.unknown(PRESENT)
    assert (ground.without_cirrus(image)[:9] < 0.3).all()
