from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cmcr_cli.scene.bands import BANDS

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real imagery beside the project; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("real imagery is not beside this checkout (expected ../shared/data)")
    return SHARED


@pytest.fixture
def sen12mscr(tmp_path: Path) -> Callable[..., Path]:
    """Makes a SEN12MS-CR of five ROIs of two patches: flat ground, the upper half of it overcast.

    `cirrus`: DN of B10 over all of the clear images.
    """

    def build(cirrus: int = 10) -> Path:
        rois = [("ROIs1158_spring", n) for n in (1, 31, 106)] + [("ROIs1868_summer", n) for n in (17, 119)]
        clear = np.full((13, 256, 256), 1000, np.uint16)
        clear[BANDS.index("B10")] = cirrus
        cloudy = clear.copy()
        cloudy[:, :128] = 8000
        images: dict[str, NDArray[np.generic]] = {
            "s1": np.full((2, 256, 256), -12, np.float32),
            "s2": clear,
            "s2_cloudy": cloudy,
        }
        for season, roi in rois:
            for kind, values in images.items():
                place = tmp_path / "SEN12MS-CR" / f"{season}_{kind}" / f"{kind}_{roi}"
                for patch in (30, 31):
                    _write(place / f"{season}_{kind}_{roi}_p{patch}.tif", values)
        return tmp_path / "SEN12MS-CR"

    return build


def _write(path: Path, values: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype,
        compress="deflate", crs="EPSG:32631", transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as file:  # fmt: skip
        file.write(values)
