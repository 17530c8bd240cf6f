"""Strips of a scene: what one row of patches reads, full-width and as it is stored, on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.reference_rows import Around
from cmcr_cli.runtime.device import to_device
from cmcr_cli.runtime.spill import Tensors
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.patches import PATCH, reflected
from cmcr_cli.scene.pixels.lines import Lines
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.span import Span

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Expect = Callable[[int, Span, Around | None], tuple[NDArray[np.float16], NDArray[np.uint8]]]

_ARRAYS = "dn", "cover", "radar", "radar_valid", "expected", "source"


@dataclass(frozen=True, slots=True)
class DeviceStrip:
    """The arrays of a `Strip` on one device.

    Attributes:
        dn: Bits of the stored integers, as int16 (bands, rows, width).
        cover: What is to be done with each pixel (rows, width).
        radar: dB (2, rows, width); None: no radar.
        radar_valid: Where there is radar (rows, width).
        expected: What references predict; None: there are none.
    """

    dn: Tensor
    cover: Tensor
    radar: Tensor | None
    radar_valid: Tensor | None
    expected: Tensor | None


@dataclass(frozen=True, slots=True)
class Strip:
    """Rows of the scene that one row of patches needs, full-width; floats are made patch by patch.

    Attributes:
        top: First row of the patches in the scene. It may be negative: what is beyond the scene's edges is
            reflected.
        first: First row of the scene in `dn` and `cover`.
        dn: The scene as it is stored (bands, rows, W).
        cover: 0, CIRRUS or CLOUD (rows, W), see `survey.cloud_map`.
        radar_first: First row of the scene in the radar, with MARGIN rows or more above and below.
        radar: VV and VH in dB (2, rows, W); None: there is no radar.
        radar_valid: Where it is valid (rows, W).
        expected: Reflectance that the references lead to expect, confidence and doubt (15, rows, W), where
            patches need it; None: there are no references.
        source: Number of the reference that counts most (rows, W), 0 where it is none.
    """

    top: int
    first: int
    dn: NDArray[np.generic]
    cover: NDArray[np.uint8]
    radar_first: int
    radar: Array | None
    radar_valid: Mask | None
    expected: NDArray[np.float16] | None = None
    source: NDArray[np.uint8] | None = None
    _sent: dict[torch.device, DeviceStrip] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def arrays(self) -> Tensors:
        """All that takes up memory of the CPU."""
        arrays = (getattr(self, name) for name in _ARRAYS)
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
                arrays = self.dn.view(np.int16), self.cover, self.radar, self.radar_valid, self.expected
                sent = (None if array is None else to_device(array, device) for array in arrays)
                self._sent[device] = DeviceStrip(*sent)  # type: ignore[arg-type]
            return self._sent[device]

    def restored(self) -> Strip:
        """Drop what only the patches of the strip need, once all of them are made.

        Returns:
            The rest of the strip.
        """
        rest = replace(self, radar=None, radar_valid=None, expected=None)
        for device, sent in self._sent.items():
            rest._sent[device] = replace(sent, radar=None, radar_valid=None, expected=None)
        return rest

    def unloaded(self) -> Strip:
        """Drop the arrays of the strip; what was sent to a GPU stays there.

        Returns:
            The strip without its arrays.
        """
        held = {name: getattr(self, name) for name in _ARRAYS}
        return self._with(
            {name: None if each is None else each[..., :0, :].copy() for name, each in held.items()}
        )

    def loaded(self, arrays: Tensors) -> Strip:
        """Load the strip again.

        Args:
            arrays: Those that the strip had.

        Returns:
            The strip with them.
        """
        names = [name for name in _ARRAYS if getattr(self, name) is not None]
        return self._with({name: array.numpy() for name, array in zip(names, arrays, strict=True)})

    def _with(self, arrays: dict[str, Any]) -> Strip:
        strip = replace(self, **arrays)
        # On the CPU what was sent are the arrays themselves.
        strip._sent.update((device, sent) for device, sent in self._sent.items() if device.type != "cpu")
        return strip


class StripReader:
    """Reads the strips of a scene, from the top down."""

    def __init__(
        self,
        optical: Optical,
        radar: Radar | None,
        cloud_map: CloudMap,
        tops: Sequence[int],
        expect: Expect | None = None,
    ) -> None:
        """Prepare to read strips.

        Args:
            optical: The scene.
            radar: Its radar.
            cloud_map: What covers the scene.
            tops: First rows of the patches of each strip.
            expect: Gives `expected` and `source` for a strip, its rows of the scene and the radar around
                them, where there are references.
        """
        self._cloud_map, self._tops, self._height = cloud_map, tops, optical.grid.height
        self._dn = Lines(lambda top, rows: (optical.read(top, rows),))
        self._radar = None if radar is None else Lines(radar.read)
        self._expect = expect

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
        around = self._around(top, below)
        expected = (None, None) if self._expect is None else self._expect(index, span, around)
        if around is None:
            return Strip(top, span.start, dn, cover, 0, None, None, *expected)
        return Strip(top, span.start, dn, cover, around.first, around.db, around.valid, *expected)

    def _around(self, top: int, below: Sequence[int]) -> Around | None:
        """Read the radar around the patches from `top`; the first of those `below` begins the next strip."""
        if self._radar is None:
            return None
        # Where patches hang over an edge, the rows that they show may end within a block that is predicted.
        margin = MARGIN if self._expect is None else MARGIN + 2
        wider = PATCH + 2 * margin
        span = self._shown(top - margin, wider)
        following = self._shown(below[0] - margin, wider).start if below else span.stop
        return Around(span.start, *self._radar.window(*span, following))

    def _shown(self, top: int, count: int) -> Span:
        """Rows of the scene in a window that may hang over its edges."""
        rows = reflected(top, count, self._height)
        return Span(int(rows.min()), int(rows.max()) + 1)
