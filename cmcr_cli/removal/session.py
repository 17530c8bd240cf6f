"""What is open during one removal: weights and devices, the scene and its radar, the mask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import rasterio
import torch

from cmcr_cli.model.clouds import CloudNetwork
from cmcr_cli.model.device import tune_allocator
from cmcr_cli.model.weights import Weights
from cmcr_cli.removal.lanes import Lanes, open_lanes
from cmcr_cli.removal.masks import chosen_mask
from cmcr_cli.removal.memory import CACHE_BYTES, check_memory
from cmcr_cli.removal.opened import Model, load_model
from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.scene.area import Area, area_of_bbox, area_of_file
from cmcr_cli.scene.cog import check_writable
from cmcr_cli.scene.environment import check_environment
from cmcr_cli.scene.mask import CoverRows
from cmcr_cli.scene.optical import Optical, check_radiometry, open_optical
from cmcr_cli.scene.radar import Radar, open_radar
from cmcr_cli.scene.raster import Source


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that is open during one removal."""

    options: RemoveOptions
    weights: Weights
    devices: tuple[torch.device, ...]
    lanes: Lanes
    optical: Optical
    radar: Radar | None
    mask: CoverRows | CloudNetwork | None
    area: Area | None
    notes: list[str]

    @property
    def device(self) -> str:
        """The devices that compute, as they are given to `--device`."""
        return ",".join(map(str, self.devices))


@contextmanager
def open_session(options: RemoveOptions, model: Model | None = None) -> Iterator[Session]:
    """Check the outputs, load the weights, open and check the inputs."""
    for option, path in options.outputs.items():
        others = [other for name, other in options.outputs.items() if name != option]
        check_writable(path, options.overwrite, [*options.inputs, *others])
    check_environment()
    tune_allocator()
    model = model or load_model(options.weights, options.device)
    weights, devices = model.weights, model.devices
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
        optical = stack.enter_context(
            open_optical(options.s2, bands=options.bands, offset=options.offset, sun=options.sun)
        )
        _check_not_read(options, optical.source)
        notes = [*optical.notes, *check_radiometry(optical)]
        area = None
        if options.aoi is not None:
            area = area_of_file(options.aoi, optical.grid)
        elif options.bbox is not None:
            area = area_of_bbox(options.bbox, optical.grid)
        radar = None
        if options.radar is not None:
            radar = stack.enter_context(open_radar(options.radar, optical.grid, units=options.s1_units))
            _check_not_read(options, radar.source)
            notes += radar.notes
        mask, mask_notes = stack.enter_context(chosen_mask(options, optical, weights.clouds))
        notes += mask_notes
        lanes = stack.enter_context(open_lanes(weights, devices, options.batch_size, notes))
        session = Session(options, weights, devices, lanes, optical, radar, mask, area, notes)
        check_memory(session)
        yield session


def _check_not_read(options: RemoveOptions, source: Source) -> None:
    """Raise OutputError when an output is a file that a product, a STAC item or a VRT is made of."""
    for path in options.outputs.values():
        check_writable(path, options.overwrite, source.files)
