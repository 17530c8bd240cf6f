"""Which bands of a Sentinel-1 file are VV and VH: by their descriptions, else by order and brightness."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import RadiometryError
from cmcr_cli.scene.bands import RADAR_BANDS
from cmcr_cli.scene.pixels.masks_of_files import mask_bands
from cmcr_cli.warning_kinds import RadarWarning

SPOKEN = re.compile(r"(?<![A-Z])(VV|VH|HH|HV)(?![A-Z])")

OTHER_LAYER = re.compile(
    r"angle|mask|layover|shadow|ratio|count|look|area|noise|std|stddev|variance|coherence|phase|nesz|rvi|rfdi"
)
"""In descriptions of layers that are not backscatter, though they may name a polarisation."""

LEAST_APART = 1.0
"""dB between VV and VH. Over land VV is brighter by 5 to 10 dB, over calm water and ice hardly."""

SAME = 0.02
"""dB by which the difference of two polarisations varies at least; its standard deviation is 1.1 or more."""

POLAR = re.compile(r"_1[A-Z](DH|SH)_|(?<![A-Z])(HH|HV)(?![A-Z])", re.IGNORECASE)
"""In names of products and files of the polarisations HH and HV."""


def polarisations(dataset: Any, path: str | Path) -> tuple[tuple[int, ...], bool, tuple[RadarWarning, ...]]:
    """Find VV and VH among the bands of a file.

    Args:
        dataset: The open file.
        path: Its path, for messages.

    Returns:
        Bands of VV and VH, from 1; whether the file names them; and warnings.

    Raises:
        RadiometryError: It has no such bands.
    """
    if any("complex" in dtype for dtype in dataset.dtypes):
        raise RadiometryError(
            f"{path}: holds complex pixels (single look complex); expected VV and VH backscatter in dB or "
            "linear power. Calibrate, detect and geocode it first."
        )
    if dataset.count >= 12:
        raise RadiometryError(
            f"{path}: has {dataset.count} bands and looks like Sentinel-2; expected Sentinel-1 (VV, VH). "
            "The Sentinel-2 scene comes first, then the Sentinel-1 scene."
        )
    masks = mask_bands(dataset)
    indexes = [index for index in dataset.indexes if index not in masks]
    found: dict[str, list[int]] = {}
    for index in indexes:
        text = dataset.descriptions[index - 1] or ""
        spoken = SPOKEN.findall(text.upper())
        # A description with two polarisations is a ratio or a difference of them.
        if len(spoken) == 1 and not OTHER_LAYER.search(text.lower()):
            found.setdefault(spoken[0], []).append(index)
    if set(RADAR_BANDS) <= found.keys():
        several = tuple(
            RadarWarning(
                f"Sentinel-1: bands {', '.join(map(str, found[name]))} are all {name}; band {found[name][0]} "
                "is used. Choose with gdal_translate -b"
            )
            for name in RADAR_BANDS
            if len(found[name]) > 1
        )
        return tuple(found[name][0] for name in RADAR_BANDS), True, several
    seen = ", ".join(text or "no description" for text in dataset.descriptions)
    if found.keys() & {"HH", "HV"} or (not found and POLAR.search(Path(str(path)).name)):
        raise RadiometryError(
            f"{path}: holds the polarisations HH and HV ({seen}); expected VV and VH, the only ones that "
            "the model knows. Leave Sentinel-1 out, or give a scene with VV and VH."
        )
    if len(indexes) != len(RADAR_BANDS) or found:
        raise RadiometryError(
            f"{path}: has {dataset.count} bands ({seen}); expected 2, VV and VH, or descriptions that "
            "say which these are. Give single files with --s1-vv and --s1-vh."
        )
    return tuple(indexes), False, ()


def check_pair(files: Mapping[str, str]) -> None:
    """Refuse a pair of files of which the names say that one holds another polarisation.

    Args:
        files: Paths by what they are given as, VV and VH.

    Raises:
        RadiometryError: A name contradicts.
    """
    for name, path in files.items():
        spoken = set(SPOKEN.findall(Path(path.partition("?")[0]).name.upper()))
        if len(spoken) == 1 and name not in spoken:
            raise RadiometryError(
                f"{path}: is given as {name}, but its name says {spoken.pop()}; expected VV as --s1-vv and "
                "VH as --s1-vh. Give them the other way round, or rename the file."
            )


def in_order(
    db: Iterable[NDArray[np.float32]], path: str | Path, *, named: bool
) -> tuple[bool, tuple[RadarWarning, ...]]:
    """Check by the brightness of two bands which is VV.

    Args:
        db: Valid values of what is taken for VV and for VH, in dB (n,) each.
        path: Name of the file, for messages.
        named: Whether the file, or the user, says which they are.

    Returns:
        Whether the bands are to change places, and warnings.

    Raises:
        RadiometryError: Both are the same band.
    """
    vv, vh = db
    same = vv.shape == vh.shape and vv.size and np.ptp(vv) > 0 and np.ptp(vv - vh) < SAME
    if same and abs(float(np.median(vv - vh))) < LEAST_APART:
        raise RadiometryError(
            f"{path}: VV and VH hold the same values; expected two polarisations. Check the files, or leave "
            "Sentinel-1 out."
        )
    apart = float(np.median(vv) - np.median(vh))
    if apart > -LEAST_APART:
        return False, ()
    if named:
        text = f"Sentinel-1: VV is darker than VH by {-apart:.1f} dB; the names may be swapped"
        return False, (RadarWarning(text),)
    text = (
        f"Sentinel-1: the bands have no names, and the second is brighter by {-apart:.1f} dB: it is taken as "
        "VV, the first as VH. Describe them if they are not"
    )
    return True, (RadarWarning(text),)
