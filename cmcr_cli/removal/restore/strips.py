"""Strips of a scene: what one row of patches reads, full-width and as it is stored, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.runtime.device import to_device
from cmcr_cli.runtime.spill import Tensors
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import PATCH, reflected
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.raster import Lines
from cmcr_cli.scene.span import Span

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DeviceStrip:
    """The arrays of a `Strip` on one device; `dn` holds the bits of the stored integers as int16."""

    dn: Tensor
    cover: Tensor
    radar: Tensor | None
    radar_valid: Tensor | None


@dataclass(frozen=True, slots=True)
class Strip:
    """Rows of the scene that one row of patches needs, full-width; floats are made patch by patch.

    Attributes:
        top: First row of the patches in the scene. It may be negative: what is beyond the scene's edges is
            reflected.
        first: First row of the scene in `dn` and `cover`.
        dn: The scene as it is stored (bands, rows, W).
        cover: 0, CIRRUS or CLOUD (rows, W), see `survey.cloud_map`.
        radar_first: First row of the scene in the radar, which has MARGIN rows more above and below.
        radar: VV and VH in dB (2, rows, W); None: there is no radar.
        radar_valid: Where it is valid (rows, W).
    """

    top: int
    first: int
    dn: NDArray[np.generic]
    cover: NDArray[np.uint8]
    radar_first: int
    radar: Array | None
    radar_valid: Mask | None
    _sent: dict[torch.device, DeviceStrip] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def arrays(self) -> Tensors:
        """All that takes up memory of the CPU."""
        arrays = self.dn, self.cover, self.radar, self.radar_valid
        return [torch.from_numpy(array) for array in arrays if array is not None]

    def rows(self, span: Span) -> NDArray[np.generic]:
        """Take rows of the scene.

        Args:
            span: The rows.

        Returns:
            Stored values (bands, rows, W).
        """
        return self.dn[:, span.within(self.first)]

    def on(self, device: torch.device) -> DeviceStrip:
        """Send the arrays to a device, once for all patches and workers.

        Args:
            device: The device.

        Returns:
            The arrays there.
        """
        with self._lock:
            if device not in self._sent:
                arrays = self.dn.view(np.int16), self.cover, self.radar, self.radar_valid
                sent = (None if array is None else to_device(array, device) for array in arrays)
                self._sent[device] = DeviceStrip(*sent)  # type: ignore[arg-type]
            return self._sent[device]

    def unloaded(self) -> Strip:
        """Return the strip without its arrays; what was sent to a GPU stays there."""
        return self._with(self.dn[:0].copy(), self.cover[:0].copy(), None, None)

    def loaded(self, arrays: Tensors) -> Strip:
        """Return the strip with its `arrays` again."""
        dn, cover, *radar = (array.numpy() for array in arrays)
        return self._with(dn, cover, *(radar or (None, None)))

    def _with(
        self, dn: NDArray[np.generic], cover: NDArray[np.uint8], radar: Array | None, radar_valid: Mask | None
    ) -> Strip:
        strip = replace(self, dn=dn, cover=cover, radar=radar, radar_valid=radar_valid)
        # On the CPU what was sent are the arrays themselves.
        strip._sent.update((device, sent) for device, sent in self._sent.items() if device.type != "cpu")
        return strip


class StripReader:
    """Reads the strips of a scene, from the top down."""

    def __init__(
        self, optical: Optical, radar: Radar | None, cloud_map: CloudMap, tops: Sequence[int]
    ) -> None:
        """Prepare to read strips.

        Args:
            optical: The scene.
            radar: Its radar.
            cloud_map: What covers the scene.
            tops: First rows of the patches of each strip.
        """
        self._cloud_map, self._tops, self._height = cloud_map, tops, optical.grid.height
        self._dn = Lines(lambda top, rows: (optical.read(top, rows),))
        self._radar = None if radar is None else Lines(radar.read)

    def load(self, index: int) -> Strip:
        """Read a strip, with the rows that its patches show by reflection.

        Args:
            index: Number of the strip.

        Returns:
            The strip.
        """
        top, *below = self._tops[index : index + 2]
        span = self._shown(top, PATCH)
        (dn,) = self._dn.window(*span, self._shown(below[0], PATCH).start if below else span.stop)
        cover = self._cloud_map.pixels(span.start, span.size)
        if self._radar is None:
            return Strip(top, span.start, dn, cover, 0, None, None)
        wider = PATCH + 2 * MARGIN
        around = self._shown(top - MARGIN, wider)
        following = self._shown(below[0] - MARGIN, wider).start if below else around.stop
        return Strip(top, span.start, dn, cover, around.start, *self._radar.window(*around, following))

    def _shown(self, top: int, count: int) -> Span:
        """Rows of the scene in a window that may hang over its edges."""
        rows = reflected(top, count, self._height)
        return Span(int(rows.min()), int(rows.max()) + 1)
