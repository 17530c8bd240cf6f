"""From `--mask` and `--dilate` to the mask of one scene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cmcr_cli.errors import InputError
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.survey.mask_sources import DilatedMask, MaskSource, NetworkMask, NoMask, RasterMask
from cmcr_cli.removal.survey.omnicloudmask import OMNI, OmniMask
from cmcr_cli.scene.masks.mask_raster import open_mask
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.references.reference import Reference


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
            yield RasterMask(optical, mask.read, mask.warnings)


@contextmanager
def mask_of_reference(
    options: RemoveOptions, reference: Reference, network: CloudNetwork
) -> Iterator[MaskSource]:
    """Open the mask of a reference: its own, else one from the same source as that of the scene.

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
    own = reference.mask
    if own is None:
        other = options.mask == OMNI or (options.mask == "scl" and reference.optical.scl is not None)
        own = options.mask if other else "auto"
    with chosen_mask(replace(options, mask=own, mask_codes=None), reference.optical, network) as mask:
        yield mask


def _scl_path(optical: Optical) -> str:
    if optical.scl is None:
        raise InputError(
            f"{optical.path}: has no scene classification (SCL); expected a Level-2A product or item for "
            "--mask scl. Give the file of the classification to --mask, or use --mask auto."
        )
    return optical.scl
