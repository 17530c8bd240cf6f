"""A scene in memory, as the second pass reads it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from cmcr_cli.removal.restore.strips import Strip
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radiometry import Radiometry

HEIGHT, WIDTH = 300, 290


def optical(names: tuple[str, ...], dtype: type, nodata: float | None) -> Optical:
    grid = SimpleNamespace(height=HEIGHT, width=WIDTH, origin=(0, 0))
    return Optical(
        source=SimpleNamespace(grid=grid),  # type: ignore[arg-type]
        names=names, radiometry=Radiometry(-1000.0), offset_source="tag", dtype=np.dtype(dtype),
        nodata=nodata, descriptions=(), scales=(), offsets=(), tags={}, warnings=(),
    )  # fmt: skip


def scene(rng: np.random.Generator, names: tuple[str, ...], dtype: type, empty: float) -> Strip:
    """The whole scene as one row, with a hole, thin cirrus and DN of all sizes."""
    dn = rng.integers(0, 4000, (len(names), HEIGHT, WIDTH)).astype(dtype)
    dn[:, :20, :30] = rng.integers(0, np.iinfo(dtype).max, (len(names), 20, 30), endpoint=True)
    if "B10" in names:
        dn[names.index("B10")] = rng.integers(1000, 1400, (HEIGHT, WIDTH))
    dn[[name != "B10" for name in names], 100:150, 100:150] = empty
    cover = rng.integers(0, 3, (HEIGHT, WIDTH)).astype(np.uint8)
    radar = rng.normal(-12, 8, (2, HEIGHT, WIDTH)).astype(np.float32)
    valid = rng.random((HEIGHT, WIDTH)) > 0.1
    radar[:, ~valid] = np.nan
    return Strip(-40, 0, dn, cover, 0, radar, valid)
