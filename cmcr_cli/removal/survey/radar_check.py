"""Check of the shift between radar and image: warned of or refused, as `--align` asks."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import GridMismatchError
from cmcr_cli.ground.coregistration import (
    EDGE_BANDS,
    Alignment,
    measure_alignment,
    optical_layer,
    radar_layer,
)
from cmcr_cli.options import Align
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.tiles import Each
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radar import Radar
from cmcr_cli.warning_kinds import ShiftWarning, WarningLog

log = logging.getLogger("cmcr")

MOST_SHIFT = 30
"""Metres between radar and image beyond which there is a warning: three pixels."""


def check_radar(
    optical: Optical,
    radar: Radar | None,
    cloud_map: CloudMap,
    align: Align,
    each: Each,
    warnings: WarningLog,
) -> Alignment | None:
    """Measure the shift of the radar on clear ground.

    Args:
        optical: The scene.
        radar: Its radar.
        cloud_map: What covers the scene.
        align: What happens when the shift is large: "warn" or "strict".
        each: Works on several windows at once.
        warnings: Receives one if the shift is large.

    Returns:
        The shift; None where there is no radar, or nothing to measure it by.

    Raises:
        GridMismatchError: The shift is large or unknown, and `align` is strict.
    """
    if radar is None:
        return None

    def clear(top: int, dn: NDArray[Any]) -> NDArray[np.bool_]:
        seen = cloud_map.pixels(top, dn.shape[1]) == 0
        return np.asarray(optical.valid(dn) & seen)

    image = optical_layer(optical, EDGE_BANDS, clear)
    alignment = measure_alignment(optical.grid, image, radar_layer(radar), each)
    strict = align == "strict"
    if alignment is None:
        text = "its shift against the image cannot be measured: too little clear ground or no distinct match"
        if strict:
            raise GridMismatchError(
                f"{radar.path}: {text}; expected at most {MOST_SHIFT} m. "
                "Use --align warn to continue all the same."
            )
        log.info("Sentinel-1: %s", text)
    elif alignment.metres <= MOST_SHIFT:
        log.info("%s", alignment.describe())
    else:
        text = f"{alignment.describe()}, as measured on clear ground in {alignment.windows} windows"
        if strict:
            raise GridMismatchError(
                f"{radar.path}: {text}; expected at most {MOST_SHIFT} m. Give a scene that is "
                "terrain-corrected and geocoded well, or use --align warn to continue all the same."
            )
        warnings.add(ShiftWarning(f"{text}: used uncorrected; reconstructed areas will be blurred"))
    return alignment
