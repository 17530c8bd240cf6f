from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cmcr_cli.removal.restore.stored_bits import reflectance, stored
from cmcr_cli.scene.radiometry import Radiometry


def scene_of(dtype: str, nodata: float | None, offset: float) -> Any:
    return SimpleNamespace(dtype=np.dtype(dtype), nodata=nodata, radiometry=Radiometry(offset))


REFLECTANCES = st.floats(-(2.0**99), 2.0**99, width=32)


@given(
    values=st.lists(REFLECTANCES, min_size=1),
    dtype=st.sampled_from(["uint16", "int16"]),
    offset=st.sampled_from([0, -1000]),
    data=st.data(),
)
def test_dn_are_those_of_the_scene_bit_by_bit(
    values: list[float], dtype: str, offset: int, data: st.DataObject
) -> None:
    limits = np.iinfo(dtype)
    whole = st.integers(limits.min, limits.max).map(float)
    nodata = data.draw(st.sampled_from([None, -1.0, 0.5, 1e9, float("nan")]) | whole)
    optical, image = scene_of(dtype, nodata, offset), np.array(values, np.float32)
    found = stored(torch.from_numpy(image.copy()), optical)
    dn = optical.radiometry.dn(image, optical.dtype, nodata)
    assert np.array_equal(found.numpy().view(dtype), dn)
    assert np.array_equal(reflectance(found, optical).numpy(), optical.radiometry.reflectance(dn))
