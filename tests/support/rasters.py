from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine

from cmcr_cli.scene.bands import BANDS, L2A_BANDS

UTM31 = "EPSG:32631"
CORNER = Affine(10, 0, 600000, 0, -10, 5900040)


class Write(Protocol):
    def __call__(self, name: str, pixels: NDArray[Any], **options: Any) -> Path: ...


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write (bands, H, W) or (H, W) pixels as a GeoTIFF: UTM zone 31, 10 m, unless told otherwise.

    12 and 13 bands are named in their order; `descriptions=()` leaves them without names.
    """

    def write_raster(name: str, pixels: NDArray[Any], **options: Any) -> Path:
        stack = pixels if pixels.ndim == 3 else pixels[np.newaxis]
        tags = {key: options.pop(key) for key in ("descriptions", "scales", "offsets") if key in options}
        profile = {"driver": "GTiff", "crs": UTM31, "transform": CORNER, "dtype": stack.dtype} | options
        count, height, width = stack.shape
        tags.setdefault("descriptions", {len(BANDS): BANDS, len(L2A_BANDS): L2A_BANDS}.get(count, ()))
        path = tmp_path / name
        with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as dataset:
            dataset.write(stack)
            for key, value in tags.items():
                if value:
                    setattr(dataset, key, value)
        return path

    return write_raster
