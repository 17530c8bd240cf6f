"""A small picture of what was done: before, after, and what changed, side by side in one PNG."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cmcr_cli.output.files import FileSet, write_whole
from cmcr_cli.output.provenance import NODATA, RECONSTRUCTED, WITH_REFERENCE

LARGEST, SMALLEST = 1024, 512
"""Longest side of a panel in pixels: larger scenes are averaged in square cells, smaller ones repeated."""

PERCENTILES = (1, 99)
GAMMA = 1 / 1.5

NODATA_GREY = 0.08
SEPARATOR = 6

CAPTIONS = ("before", "after", "reconstructed")
INK = 64

TINT = np.array([1.0, 0.35, 0.1], dtype=np.float32)[:, None, None]
REFERENCED_TINT = np.array([0.1, 0.45, 1.0], dtype=np.float32)[:, None, None]
TINT_STRENGTH = 0.6


class Quicklook:
    """Gathers strips of a scene of any size into cell means, in memory of a few tens of megabytes."""

    def __init__(self, width: int, height: int) -> None:
        """Prepare the quicklook of a scene.

        Args:
            width: Columns of the scene.
            height: Rows of the scene.
        """
        self._cell = -(-max(width, height) // LARGEST)
        rows, columns = -(-height // self._cell), -(-width // self._cell)
        self._before = np.zeros((3, rows, columns), dtype=np.float32)
        self._after = np.zeros_like(self._before)
        self._valid = np.zeros((rows, columns), dtype=np.float32)
        self._reconstructed = np.zeros_like(self._valid)
        self._referenced = np.zeros_like(self._valid)

    def add(
        self,
        top: int,
        before: NDArray[np.float32],
        after: NDArray[np.float32],
        provenance: NDArray[np.uint8],
    ) -> None:
        """Add rows of any number.

        Args:
            top: First row.
            before: Reflectance of B04, B03 and B02 before (3, rows, width).
            after: The same after.
            provenance: (rows, width). Nodata is left out.
        """
        valid = provenance != NODATA
        first = top // self._cell
        cells = slice(first, -(-(top + len(provenance)) // self._cell))
        for band in range(3):
            self._before[band, cells] += self._sums(top, np.where(valid, before[band], 0))
            self._after[band, cells] += self._sums(top, np.where(valid, after[band], 0))
        self._valid[cells] += self._sums(top, valid.astype(np.float32))
        self._reconstructed[cells] += self._sums(top, (provenance == RECONSTRUCTED).astype(np.float32))
        self._referenced[cells] += self._sums(top, (provenance == WITH_REFERENCE).astype(np.float32))

    def write(self, path: Path, files: FileSet | None = None) -> None:
        """Write the panels with captions as one PNG.

        Args:
            path: The PNG.
            files: Set of outputs that it belongs to; None: alone.

        Raises:
            OutputError: It cannot be written.
        """
        panels = [captioned(panel, text) for panel, text in zip(self.panels(), CAPTIONS, strict=True)]
        between = np.full((3, panels[0].shape[1], SEPARATOR), 255, dtype=np.uint8)
        picture = np.concatenate([panels[0], between, panels[1], between, panels[2]], axis=2)
        write_whole(path, encoded(picture, "PNG"), files)

    def panels(self) -> list[NDArray[np.uint8]]:
        """Make the three pictures: before, after, and what was reconstructed, tinted over grey.

        Orange is reconstructed, blue is reconstructed with a reference.

        Both images have one stretch, taken from the image after. Each band starts at its 1st percentile,
        which removes the blue of the air, and all have the same range of reflectance, which keeps the hues.
        Clouds before are clipped to white.

        Returns:
            Pictures (3, H, W).
        """
        seen = self._valid > 0
        count = np.maximum(self._valid, 1)
        before, after = self._before / count, self._after / count
        low, span = stretch_of(after[:, seen]) if seen.any() else (np.zeros(3), 1.0)
        before, after = (stretched(image, low, span) for image in (before, after))
        grey = after.mean(axis=0, keepdims=True)
        changed = grey
        for share, tint in ((self._reconstructed, TINT), (self._referenced, REFERENCED_TINT)):
            changed = changed + share / count * TINT_STRENGTH * (tint - grey)
        repeat = max(1, SMALLEST // max(seen.shape))
        shown = [np.where(seen, image, NODATA_GREY) for image in (before, after, changed)]
        return [np.rint(image * 255).astype(np.uint8).repeat(repeat, 1).repeat(repeat, 2) for image in shown]

    def _sums(self, top: int, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sums of a strip (rows, width) over the cells it touches."""
        starts = np.arange(top // self._cell * self._cell, top + len(plane), self._cell) - top
        by_row = np.add.reduceat(plane, np.maximum(starts, 0), axis=0)
        sums: NDArray[np.float32] = np.add.reduceat(by_row, np.arange(0, plane.shape[1], self._cell), axis=1)
        return sums


def stretch_of(pixels: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Choose the stretch of an image.

    Args:
        pixels: Reflectance (3, N).

    Returns:
        Lower ends (3,), and the range that all bands share.
    """
    low, high = np.percentile(pixels, PERCENTILES, axis=1)
    return low, max(float((high - low).max()), 1e-3)


def stretched(image: NDArray[Any], low: NDArray[Any], span: float) -> NDArray[Any]:
    """Stretch an image for a screen.

    Args:
        image: Reflectance (3, H, W).
        low: Lower ends (3,).
        span: Range of reflectance.

    Returns:
        Brightness, 0 to 1.
    """
    return np.asarray(np.clip((image - low[:, None, None]) / span, 0, 1) ** GAMMA)


def captioned(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Put a white strip with a caption above a picture.

    Args:
        picture: (3, H, W).
        text: Caption; clipped to the width.

    Returns:
        The taller picture.
    """
    width = picture.shape[2]
    height = caption_height(width)
    strip = Image.new("L", (width, height), 255)
    font = ImageFont.load_default(0.6 * height)
    ImageDraw.Draw(strip).text((height // 4, height / 2), text, fill=INK, font=font, anchor="lm")
    return np.concatenate([np.broadcast_to(np.asarray(strip), (3, height, width)), picture], axis=1)


def caption_height(width: int) -> int:
    """Compute the height of a caption.

    Args:
        width: Columns of the panel.

    Returns:
        Rows.
    """
    return 11 * max(1, min(width // 170, 4))


def encoded(picture: NDArray[np.uint8], form: Literal["PNG", "JPEG"]) -> bytes:
    """Encode a picture.

    Args:
        picture: (3, H, W).
        form: Form of the file.

    Returns:
        Bytes of the image file.
    """
    buffer = BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, form)
    return buffer.getvalue()


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture as PNG, whole or not at all.

    Args:
        path: The PNG.
        picture: (3, H, W).

    Raises:
        OutputError: It cannot be written.
    """
    write_whole(path, encoded(picture, "PNG"))
