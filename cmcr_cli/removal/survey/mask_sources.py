"""What counts as covered: the network's finds, the product's classification, OmniCloudMask's, a raster."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import InputError, WeightsError
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.survey.cloud_map import Cover
from cmcr_cli.removal.survey.first_pass import survey
from cmcr_cli.scene.masks.mask_raster import CoverRows, dilated, open_mask
from cmcr_cli.scene.optical import Optical

log = logging.getLogger("cmcr")

OMNI = "omnicloudmask"
OMNI_BANDS = ("B04", "B03", "B8A")
OMNI_ROWS, OMNI_MARGIN = 2048, 300
"""Rows that OmniCloudMask is shown at once, and those around them; its own patches overlap by as much."""

LEAST_WEIGHTS = 2**20
"""Bytes; OmniCloudMask downloads anew what is not larger, and cmcr must not use the network."""


@dataclass(frozen=True, slots=True)
class FoundMask:
    """Cover that was found in a pass of its own, grown by `dilate` pixels as it is read, as Mask is."""

    cover: Cover
    certainty: NDArray[np.uint8] | None  # of each cell, per cent; None: not known
    height: int
    dilate: float

    def read(self, top: int, rows: int) -> NDArray[np.uint8]:
        """CloudClass codes (rows, width)."""
        return dilated(self.cover.classes, self.height, self.dilate, top, rows)


@contextmanager
def chosen_mask(
    options: RemoveOptions, optical: Optical, network: CloudNetwork
) -> Iterator[tuple[CoverRows | CloudNetwork | None, tuple[str, ...]]]:
    """What `options.mask` means for the scene, and notes; None: all is covered.

    Raises InputError when the mask cannot be had, WeightsError when OmniCloudMask's weights are missing.
    """
    grid, pixels = optical.grid, options.dilate / min(optical.grid.pixel_size)
    if options.mask == "all":
        yield None, ()
    elif options.mask == OMNI:
        cover = _omnicloudmask(optical, options)
        yield (
            FoundMask(cover, None, grid.height, pixels),
            ("the mask is OmniCloudMask's: cloud, thin cloud, shadow",),
        )
    elif options.mask == "auto" and pixels > 0:
        certainty = np.zeros(Cover.empty(grid).shape, np.uint8)
        found = survey(optical, None, network, with_context=False, certainty=certainty)
        yield FoundMask(found.cover, certainty, grid.height, pixels), ()
    elif options.mask == "auto":
        yield network, ()
    else:
        path, codes = options.mask, options.mask_codes
        if path == "scl":
            path, codes = _scl_path(optical), "scl"
        with open_mask(path, grid, dilate=pixels, codes=codes) as mask:
            yield mask, mask.notes


def _scl_path(optical: Optical) -> str:
    if optical.scl is None:
        raise InputError(
            f"{optical.path}: has no scene classification (SCL); expected a Level-2A product or item for "
            "--mask scl. Give the file of the classification to --mask, or use --mask auto."
        )
    return optical.scl


def _omnicloudmask(optical: Optical, options: RemoveOptions) -> Cover:
    """Run OmniCloudMask from a local folder of weights over strips of the scene."""
    if missing := set(OMNI_BANDS) - set(optical.names):
        raise InputError(
            f"{optical.path}: lacks {', '.join(sorted(missing))}; expected {' '.join(OMNI_BANDS)} for --mask "
            f"{OMNI}. Use --mask auto."
        )
    try:
        predict: Any = import_module(OMNI).predict_from_array
    except ImportError as error:
        raise InputError(
            f"OmniCloudMask cannot be imported ({error}); expected it for --mask {OMNI}. Install it with pip "
            "install 'cmcr[mask]', or use --mask auto."
        ) from error
    folder = _omni_weights(options.mask_weights)
    grid, cover = optical.grid, Cover.empty(optical.grid)
    bands = [optical.names.index(name) for name in OMNI_BANDS]
    for start in range(0, grid.height, OMNI_ROWS):
        # Strips begin on even map rows, for a cell must not be marked from two of them.
        top, stop = (max(row - cover.phase[0], 0) for row in (start, start + OMNI_ROWS))
        stop = grid.height if start + OMNI_ROWS >= grid.height else stop
        first, last = max(top - OMNI_MARGIN, 0), min(stop + OMNI_MARGIN, grid.height)
        dn = optical.read(first, last - first)
        log.info("OmniCloudMask: rows %d to %d of %d", top, stop, grid.height)
        classes = predict(
            dn[bands],
            patch_size=min(1000, dn.shape[1], dn.shape[2]),
            patch_overlap=min(300, dn.shape[1] // 2, dn.shape[2] // 2),
            inference_device=None if options.device == "auto" else options.device,
            no_data_value=0 if optical.nodata is None else optical.nodata,
            destination_model_dir=folder,
        )[0]
        cover.mark(top, np.asarray(classes[top - first : stop - first], np.uint8))
    return cover


def _omni_weights(folder: Path | None) -> Path:
    """The folder, once everything is there that OmniCloudMask would otherwise download."""
    if folder is None:
        raise WeightsError(
            f"--mask {OMNI} needs weights; expected the folder that holds them. Say --mask-weights DIR."
        )
    index = csv.DictReader((resources.files(OMNI) / "model_download_links.csv").read_text().splitlines())
    rows = list(index)
    newest = max(float(row["version"]) for row in rows)
    names = [row["file_name"] for row in rows if float(row["version"]) == newest]
    missing = [
        name
        for name in names
        if not (folder / name).is_file() or (folder / name).stat().st_size <= LEAST_WEIGHTS
    ]
    if missing:
        raise WeightsError(
            f"{folder}: lacks {', '.join(missing)} of OmniCloudMask {newest:g}; expected all of its weights, "
            "since cmcr downloads nothing. Put them there, or choose another folder with --mask-weights."
        )
    return folder
