"""From `--mask` and `--dilate` to the mask of one scene, and those of its references, which are kept."""

from __future__ import annotations

import json
import zlib
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from cmcr_cli.errors import InputError
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.mask_sources import DilatedMask, MaskSource, NetworkMask, NoMask, RasterMask
from cmcr_cli.removal.survey.omnicloudmask import OMNI, OmniMask
from cmcr_cli.scene.masks.mask_raster import open_mask
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.readable import file_state
from cmcr_cli.scene.references.placed import Shift
from cmcr_cli.scene.references.reference import Reference

MOST_BYTES = 128 * 2**20
"""Compressed maps that are kept. That of a tile takes 1 to 2 MB, so a year's scenes of it fit."""


@dataclass(frozen=True, slots=True)
class _Kept:
    planes: bytes
    shape: tuple[int, ...]
    phase: tuple[int, int]
    width: int
    clear_share: float


class KnownMasks:
    """Cloud maps by what they were made from; the oldest are forgotten."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: dict[Hashable, _Kept] = {}

    def find(self, key: Hashable) -> tuple[CloudMap, float] | None:
        """Look for a map.

        Args:
            key: From `key_of`.

        Returns:
            The map, and the part of its grid that the image shows clear; None if it is not known.
        """
        kept = self._kept.get(key)
        if kept is None:
            return None
        planes = np.frombuffer(zlib.decompress(kept.planes), np.uint8).reshape(kept.shape)
        return CloudMap(planes, kept.phase, kept.width), kept.clear_share

    def keep(self, key: Hashable, cloud_map: CloudMap, clear_share: float) -> None:
        """Keep a map.

        Args:
            key: From `key_of`.
            cloud_map: What covers the image.
            clear_share: Part of its grid that the image shows clear.
        """
        planes = cloud_map.planes
        packed = zlib.compress(planes.tobytes(), 1)
        self._kept[key] = _Kept(packed, planes.shape, cloud_map.phase, cloud_map.width, clear_share)
        while sum(len(each.planes) for each in self._kept.values()) > MOST_BYTES and len(self._kept) > 1:
            del self._kept[next(iter(self._kept))]


@contextmanager
def chosen_mask(options: RemoveOptions, optical: Optical, network: CloudNetwork) -> Iterator[MaskSource]:
    """Open what `options.mask` means for a scene; nothing is computed yet.

    Args:
        options: Of the removal.
        optical: The scene.
        network: That finds clouds and shadows where `options` ask for it.

    Yields:
        The mask.

    Raises:
        InputError: The mask cannot be had.
        WeightsError: OmniCloudMask's weights are missing.
    """
    pixels = options.dilate / optical.grid.metres[1]
    if options.mask == "all":
        yield NoMask(optical)
    elif options.mask in ("auto", OMNI):
        source: MaskSource = NetworkMask(optical, network)
        if options.mask == OMNI:
            source = OmniMask(optical, options.mask_weights, options.device)
        yield DilatedMask(optical, source, pixels) if pixels > 0 else source
    else:
        path, codes = options.mask, options.mask_codes
        if path == "scl":
            path, codes = _scl_path(optical), "scl"
        with open_mask(path, optical.grid, dilate=pixels, codes=codes) as mask:
            found = mask.undilated if pixels > 0 else None
            yield RasterMask(
                optical, mask.read, mask.warnings, found=found, kinds=mask.scheme.name != "binary"
            )


@contextmanager
def mask_of_reference(
    options: RemoveOptions, reference: Reference, network: CloudNetwork
) -> Iterator[MaskSource]:
    """Open the mask of a reference: its own, else one from the same source as that of the scene.

    Nothing hides a guide.

    Where that source is a file, which shows the scene only, or a classification that the reference does not
    have, cmcr's network finds its clouds.

    Args:
        options: Of the removal.
        reference: The reference.
        network: That finds clouds and shadows.

    Yields:
        The mask.

    Raises:
        InputError: The mask cannot be had.
    """
    if reference.guide:
        width = reference.optical.grid.width
        yield RasterMask(reference.optical, lambda top, rows: np.zeros((rows, width), np.uint8))
        return
    own = reference.mask
    if own is None:
        other = options.mask == OMNI or (options.mask == "scl" and reference.optical.scl is not None)
        own = options.mask if other else "auto"
    with chosen_mask(replace(options, mask=own, mask_codes=None), reference.optical, network) as mask:
        yield mask


def key_of(reference: Reference, options: RemoveOptions) -> Hashable:
    """Name a cloud map of a reference by all that it depends on, but for the weights.

    Args:
        reference: The reference.
        options: Of the removal.

    Returns:
        A key for `KnownMasks`.
    """
    return _key(reference.optical, options, reference.mask, reference.undone, guide=reference.guide)


def key_of_scene(optical: Optical, options: RemoveOptions) -> Hashable | None:
    """Name the cloud map of a scene as that of a reference would be named.

    Args:
        optical: The scene.
        options: Of its removal.

    Returns:
        A key for `KnownMasks`; None where a reference would be read or masked in another way.
    """
    stated = options.bands, options.scale, options.offset, options.sun  # of the scene only
    if options.mask != "auto" or any(each is not None for each in stated):
        return None
    return _key(optical, options, None, (0.0, 0.0))


def _key(
    optical: Optical, options: RemoveOptions, mask: str | None, undone: Shift, *, guide: bool = False
) -> Hashable:
    grid = optical.grid
    where = [*grid.transform[:6], grid.height, grid.width, grid.crs.to_wkt(), *undone]
    files = [file_state(each) for each in sorted(optical.source.files)]
    source = options.mask, str(options.mask_weights), options.dilate, options.device, file_state(mask), guide
    return json.dumps([optical.path, files, where, *source])


def _scl_path(optical: Optical) -> str:
    if optical.scl is None:
        raise InputError(
            f"{optical.path}: has no scene classification (SCL); expected a Level-2A product or item for "
            "--mask scl. Give the file of the classification to --mask, or use --mask auto."
        )
    return optical.scl
