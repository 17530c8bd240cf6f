"""OmniCloudMask in place of cmcr's own network, from weights on this machine."""

from __future__ import annotations

import csv
import logging
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import numpy as np

from cmcr_cli.errors import InputError, WeightsError
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.mask_sources import RasterMask
from cmcr_cli.removal.survey.tiles import Each, Progress
from cmcr_cli.scene.optical import Optical
from cmcr_cli.warning_kinds import MaskWarning

log = logging.getLogger("cmcr")

OMNI = "omnicloudmask"
OMNI_BANDS = ("B04", "B03", "B8A")
OMNI_ROWS, OMNI_MARGIN = 2048, 300
"""Rows that OmniCloudMask is shown at once, and those around them; its own patches overlap by as much."""

LEAST_WEIGHTS = 2**20
"""Bytes; OmniCloudMask downloads again what is not larger, and cmcr must not use the network."""


class OmniMask(RasterMask):
    """Result of OmniCloudMask; it runs over the whole scene before the first row of tiles."""

    reads_ahead = True

    def __init__(self, optical: Optical, folder: Path | None, device: str) -> None:
        """Mask of a scene.

        Args:
            optical: The scene.
            folder: Where the weights of OmniCloudMask are.
            device: As `--device` takes it.

        Raises:
            InputError: The scene lacks a band, or OmniCloudMask is not installed.
            WeightsError: Its weights are missing.
        """
        if missing := set(OMNI_BANDS) - set(optical.names):
            raise InputError(
                f"{optical.path}: lacks {', '.join(sorted(missing))}; expected {' '.join(OMNI_BANDS)} for "
                f"--mask {OMNI}. Use --mask auto."
            )
        try:
            self._predict: Any = import_module(OMNI).predict_from_array
        except ImportError as error:
            raise InputError(
                f"OmniCloudMask cannot be imported ({error}); expected it for --mask {OMNI}. Install it with "
                "pip install omnicloudmask, or use --mask auto."
            ) from error
        found = MaskWarning("the mask is OmniCloudMask's: cloud, thin cloud, shadow")
        super().__init__(optical, self._classes, (found,))
        self._folder, self._device = _weights(folder), None if device == "auto" else device

    def begin(self, each: Each, progress: Progress) -> None:
        """Run OmniCloudMask over strips of the scene."""
        optical = self._optical
        grid, self._map = optical.grid, CloudMap.empty(optical.grid)
        bands = [optical.names.index(name) for name in OMNI_BANDS]
        for start in range(0, grid.height, OMNI_ROWS):
            # Strips begin on even map rows, for a cell must not be marked from two of them.
            top, stop = (max(row - self._map.phase[0], 0) for row in (start, start + OMNI_ROWS))
            stop = grid.height if start + OMNI_ROWS >= grid.height else stop
            first, last = max(top - OMNI_MARGIN, 0), min(stop + OMNI_MARGIN, grid.height)
            dn = optical.read(first, last - first)
            log.info("OmniCloudMask: rows %d to %d of %d", top, stop, grid.height)
            classes = self._predict(
                dn[bands],
                patch_size=min(1000, dn.shape[1], dn.shape[2]),
                patch_overlap=min(300, dn.shape[1] // 2, dn.shape[2] // 2),
                inference_device=self._device,
                no_data_value=optical.empty,
                destination_model_dir=self._folder,
            )[0]
            self._map.mark(top, np.asarray(classes[top - first : stop - first], np.uint8))
            progress(stop / grid.height)

    def _classes(self, top: int, rows: int) -> Any:
        return self._map.classes(top, rows)


def _weights(folder: Path | None) -> Path:
    """The folder, once everything is there that OmniCloudMask would otherwise download."""
    if folder is None:
        raise WeightsError(
            f"--mask {OMNI} needs weights; expected their folder. Give it with --mask-weights DIR."
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
