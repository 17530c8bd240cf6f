"""Weights on a device, and a scene with its radar, as notebooks open them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.weights import Weights
from cmcr_cli.option_types import checked
from cmcr_cli.options import RemoveOptions, Units
from cmcr_cli.removal.survey.mask_choice import KnownMasks
from cmcr_cli.runtime.device import pick_devices
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.radar import Radar, open_radar
from cmcr_cli.warning_kinds import WarningLog


@dataclass(frozen=True, slots=True)
class Model:
    """Weights on a device, ready for `remove`; get one from `load_model`.

    Attributes:
        weights: The networks and what comes with them.
        devices: The devices that compute.
        masks: What covers the references of earlier scenes.
    """

    weights: Weights
    devices: tuple[torch.device, ...]
    masks: KnownMasks = field(default_factory=KnownMasks, repr=False, compare=False)

    def __repr__(self) -> str:
        """Weights and devices in one line."""
        return f"Model({self.label} on {', '.join(map(str, self.devices))})"

    @property
    def label(self) -> str:
        """Name of the weights and the start of their checksum, as outputs record it."""
        return self.weights.label


def load_model(path: str | Path | None = None, device: str = "auto") -> Model:
    """Load weights.

    Args:
        path: Weights file; None: the one that comes with cmcr.
        device: Where to compute, as for `--device`.

    Returns:
        The model.

    Raises:
        WeightsError: The file cannot be used.
        OptionError: The device is not available.
    """
    weights = weights_file.load(weights_file.default_path() if path is None else Path(path))
    devices = pick_devices(device)
    to_inference(weights.denoiser, devices[0])
    to_inference(weights.clouds, devices[0])
    return Model(weights, tuple(devices))


@dataclass(frozen=True, slots=True)
class Scene:
    """An open Sentinel-2 scene and its radar; get one from `open_scene`. Not for two threads at once.

    Attributes:
        optical: The open image.
        radar: Sentinel-1 on its grid; None: no radar.
    """

    optical: Optical
    radar: Radar | None

    def __repr__(self) -> str:
        """The scene in one line."""
        return f"Scene({self.optical!r}, {'no radar' if self.radar is None else repr(self.radar)})"

    @property
    def grid(self) -> Grid:
        """CRS, transform and size, which all arrays of the scene share."""
        return self.optical.grid

    def reflectance(self, top: int, rows: int) -> NDArray[np.float32]:
        """Read full-width rows.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            Reflectance (13, rows, width), bands in the order of `scene.bands.BANDS`. Absent bands and nodata
            are 0.
        """
        dn = self.optical.read(top, rows)
        return self.optical.reflectance(dn) * self.optical.valid(dn)

    def backscatter(self, top: int, rows: int) -> NDArray[np.float32]:
        """Read full-width rows of the radar.

        Args:
            top: First row.
            rows: Number of rows.

        Returns:
            VV and VH in dB (2, rows, width) on the grid of the scene; NaN where there is no radar.
        """
        if self.radar is None:
            return np.full((2, rows, self.grid.width), np.nan, dtype=np.float32)
        return self.radar.read(top, rows)[0]


def open_s2(options: RemoveOptions) -> AbstractContextManager[Optical]:
    """Open the scene of a removal, with all that its options state about it.

    Args:
        options: Of the removal.

    Returns:
        Context of the open scene, see `open_optical`.
    """
    return open_optical(
        options.s2,
        bands=options.bands,
        scale=options.scale,
        offset=options.offset,
        sun=options.sun,
        time=options.datetime,
    )


@contextmanager
def open_scene(
    s2: str | Path,
    s1: str | Path | tuple[str, str] | None = None,
    *,
    bands: tuple[str, ...] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    s1_units: Units = "auto",
) -> Iterator[Scene]:
    """Open a scene as `remove` does: product, STAC item or stack, and radar resampled to its grid.

    Args:
        s2: Sentinel-2.
        s1: Sentinel-1: one path, or those of VV and VH; None: no radar.
        bands: Names of the bands in file order, for a stack without names.
        scale: Reflectance of one DN; None: from metadata or tags, else 0.0001, or 1 for fractions.
        offset: Radiometric offset in DN; None: from metadata or tags, else 0.
        s1_units: Units of the radar; auto: detected from the value range.

    Yields:
        The open scene.

    Raises:
        OptionError: What is given is not a path.
        InputError: A file cannot be used.
        RadiometryError: Bands, polarisations or units are unknown.
        GridMismatchError: The radar does not cover the scene.
    """
    s2 = checked("s2", str, s2, path=True)
    s1 = checked("s1", str | tuple[str, str] | None, s1, path=True)
    with ExitStack() as stack:
        optical = stack.enter_context(open_optical(s2, bands=bands, scale=scale, offset=offset))
        radar = None
        if s1 is not None:
            radar = stack.enter_context(open_radar(s1, optical.grid, units=s1_units))
        WarningLog().add(*optical.warnings, *(() if radar is None else radar.warnings))
        yield Scene(optical, radar)
