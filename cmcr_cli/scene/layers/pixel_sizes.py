"""Whether the pixels of a scene have the size for which the networks were trained."""

from __future__ import annotations

from cmcr_cli.errors import InputError
from cmcr_cli.scene.grid import Grid
from cmcr_cli.warning_kinds import BandWarning

TRAINED = 10.0
"""Metres."""

ABOUT = 1.25
"""Factor by which pixels may be smaller or larger, and are taken for those of 10 m."""

LARGEST = 65.0
"""Metres; Sentinel-2 has bands of 60 m."""


def check_pixel_size(grid: Grid, path: str) -> tuple[BandWarning, ...]:
    """Compare the pixels of a scene with those that the networks know.

    Args:
        grid: Of the scene.
        path: For messages.

    Returns:
        A warning where they are of another size.

    Raises:
        InputError: They are too large for Sentinel-2.
    """
    width, height = grid.metres
    size = f"{width:.3g} m" if abs(width - height) < 0.01 * width else f"{width:.3g} x {height:.3g} m"
    if max(width, height) > LARGEST:
        raise InputError(
            f"{path}: has pixels of {size}; expected the 10 m of Sentinel-2, or 60 m at most. Bring it to 10 "
            "m with gdalwarp -tr 10 10, if it is of Sentinel-2."
        )
    if min(width, height) >= TRAINED / ABOUT and max(width, height) <= TRAINED * ABOUT:
        return ()
    return (
        BandWarning(
            f"pixels are of {size}: the networks were trained on 10 m, so that masks and reconstructed "
            "ground will be worse. Shapes and shadows of clouds are expected at 10 m; bring the scene to 10 "
            "m in UTM if you can"
        ),
    )
