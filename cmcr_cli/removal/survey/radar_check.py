"""Whether the radar lies on the image: noted or refused, as `--align` asks."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import GridMismatchError
from cmcr_cli.ground.coregistration import Alignment, measure_alignment
from cmcr_cli.removal.session import Session
from cmcr_cli.removal.survey.first_pass import Survey

log = logging.getLogger("cmcr")

MOST_SHIFT = 30
"""Metres between radar and image beyond which there is a warning: three pixels."""


def checked_alignment(session: Session, found: Survey) -> Alignment | None:
    """The measured shift of the radar; a large one is noted, or refused as `--align strict` asks."""
    if session.radar is None:
        return None

    def clear(top: int, dn: NDArray[Any]) -> NDArray[np.bool_]:
        seen = found.cover.pixels(top, dn.shape[1]) == 0
        return np.asarray(session.optical.valid(dn) & seen)

    alignment = measure_alignment(session.optical, session.radar, clear, session.lanes.map)
    strict = session.options.align == "strict"
    if alignment is None:
        text = "its shift against the image cannot be measured: too little clear ground or no distinct match"
        if strict:
            raise GridMismatchError(
                f"{session.radar.path}: {text}; expected at most {MOST_SHIFT} m. "
                "Go on all the same with --align warn."
            )
        log.info("Sentinel-1: %s", text)
    elif alignment.metres <= MOST_SHIFT:
        log.info("%s", alignment.describe())
    else:
        text = f"{alignment.describe()}, as measured on clear ground in {alignment.windows} windows"
        if strict:
            raise GridMismatchError(
                f"{session.radar.path}: {text}; expected at most {MOST_SHIFT} m. Give a scene that is "
                "terrain-corrected and geocoded well, or go on all the same with --align warn."
            )
        session.notes.append(f"{text}: it is used as it is, and blurs what is reconstructed")
    return alignment
