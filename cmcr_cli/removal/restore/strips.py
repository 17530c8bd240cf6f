"""Rows of patches: what each reads from the scene, full-width and as it is stored, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.ground.context import MARGIN
from cmcr_cli.removal.survey.cloud_map import Cover
from cmcr_cli.runtime.device import placed
from cmcr_cli.runtime.spill import Tensors
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import PATCH, reflected
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.raster import Lines

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Strips:
    """The arrays of a `Row` on one device; `dn` holds the bits of the stored integers as int16."""

    dn: Tensor
    cover: Tensor
    radar: Tensor | None
    radar_valid: Tensor | None


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of patches reads from the scene, full-width; floats are made patch by patch.

    dn (bands, n, W) and cover (n, W), 0, VEIL or CLOUD, are the scene's lines from `first`; radar (2, m, W)
    dB and radar_valid (m, W) those from `radar_first`, with MARGIN more above and below. `top` is the row's
    first line in the scene, which may be negative: what lies beyond the scene's edges is reflected.
    """

    top: int
    first: int
    dn: NDArray[np.generic]
    cover: NDArray[np.uint8]
    radar_first: int
    radar: Array | None
    radar_valid: Mask | None
    _strips: dict[torch.device, Strips] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def arrays(self) -> Tensors:
        """All that takes up memory of the CPU."""
        arrays = self.dn, self.cover, self.radar, self.radar_valid
        return [torch.from_numpy(each) for each in arrays if each is not None]

    def on(self, device: torch.device) -> Strips:
        """The arrays on a device, to which they are sent once, whatever the number of patches and lanes."""
        with self._lock:
            if device not in self._strips:
                arrays = self.dn.view(np.int16), self.cover, self.radar, self.radar_valid
                sent = (None if array is None else placed(array, device) for array in arrays)
                self._strips[device] = Strips(*sent)  # type: ignore[arg-type]
            return self._strips[device]

    def on_shelf(self) -> Row:
        """The row without its arrays; what was sent to a GPU stays there."""
        return self._with(self.dn[:0].copy(), self.cover[:0].copy(), None, None)

    def off_shelf(self, arrays: Tensors) -> Row:
        """The row with its arrays again."""
        dn, cover, *radar = (array.numpy() for array in arrays)
        return self._with(dn, cover, *(radar or (None, None)))

    def _with(
        self, dn: NDArray[np.generic], cover: NDArray[np.uint8], radar: Array | None, radar_valid: Mask | None
    ) -> Row:
        row = Row(self.top, self.first, dn, cover, self.radar_first, radar, radar_valid)
        # On the CPU the strips are the arrays themselves.
        row._strips.update((device, sent) for device, sent in self._strips.items() if device.type != "cpu")
        return row


class RowReader:
    """Reads the rows of patches of a scene, from the top down."""

    def __init__(self, optical: Optical, radar: Radar | None, cover: Cover, tops: Sequence[int]) -> None:
        self._cover, self._tops, self._height = cover, tops, optical.grid.height
        self._dn = Lines(lambda top, rows: (optical.read(top, rows),))
        self._radar = None if radar is None else Lines(radar.read)

    def load(self, index: int) -> Row:
        """Row `index` of the lattice, also the lines that its patches show by reflection."""
        top, *below = self._tops[index : index + 2]
        first, stop = self._lines(top, PATCH)
        (dn,) = self._dn.window(first, stop, self._lines(below[0], PATCH)[0] if below else stop)
        cover = self._cover.pixels(first, stop - first)
        if self._radar is None:
            return Row(top, first, dn, cover, 0, None, None)
        wider = PATCH + 2 * MARGIN
        start, end = self._lines(top - MARGIN, wider)
        following = self._lines(below[0] - MARGIN, wider)[0] if below else end
        return Row(top, first, dn, cover, start, *self._radar.window(start, end, following))

    def _lines(self, top: int, count: int) -> tuple[int, int]:
        lines = reflected(top, count, self._height)
        return int(lines.min()), int(lines.max()) + 1
