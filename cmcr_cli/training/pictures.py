"""Pictures of validation samples, one row per sample, for visual checks during a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.model.weights import writing
from cmcr_cli.output.quicklook import stretch_of, stretched, write_png
from cmcr_cli.scene.bands import BANDS

Panel = NDArray[np.floating]
"""Picture with red, green and blue, (3, H, W), 0 to 1."""

SIDE = 256
"""Side of a panel in pixels: larger samples are cropped, smaller ones are padded with black."""

_COLOURS = [BANDS.index(name) for name in ("B04", "B03", "B02")]


def true_colour(images: Sequence[NDArray[np.float32]], reference: NDArray[np.float32]) -> list[Panel]:
    """Convert images to true colour, all with the contrast stretch of one reference.

    Args:
        images: Reflectance, each (13, H, W).
        reference: Reflectance (13, H, W) that defines the stretch.

    Returns:
        A panel for each image.
    """
    low, span = stretch_of(reference[_COLOURS].reshape(3, -1))
    return [stretched(image[_COLOURS], low, span) for image in images]


def grey(plane: NDArray[np.float32]) -> Panel:
    """Show a plane in grey.

    Args:
        plane: Values 0 to 1 (H, W).

    Returns:
        A panel.
    """
    return np.broadcast_to(plane, (3, *plane.shape))


def write_panels(path: Path, rows: Sequence[Sequence[Panel]]) -> None:
    """Write panels as a PNG.

    Args:
        path: File to write.
        rows: Panels of each row, from left to right.

    Raises:
        OutputError: The file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.concatenate([np.concatenate([_fitted(p) for p in row], axis=2) for row in rows], axis=1)
    write_png(path, np.rint(picture * 255).astype(np.uint8))


def _fitted(panel: Panel) -> Panel:
    part = panel[:, :SIDE, :SIDE]
    frame = np.zeros((3, SIDE, SIDE), dtype=np.float32)
    frame[:, : part.shape[1], : part.shape[2]] = part
    return frame
