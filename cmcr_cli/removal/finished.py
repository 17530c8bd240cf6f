"""Whether the outputs of an earlier run are there, complete and of one run."""

from __future__ import annotations

import re
from pathlib import Path

import rasterio
from rasterio import Affine
from rasterio.crs import CRS

from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.opening.native_files import NATIVE_TAG
from cmcr_cli.scene.raster import is_complete

ENDS = {"--stac": "}", "--report": "</html>"}
"""Last characters of files of text, by the option that names them; all others are styles."""

SAYS_ITS_OWN = ("CMCR_VALUES", "CMCR_REFERENCE_")
"""How tags of cmcr begin in which the rasters of one run differ."""


def unfinished(options: RemoveOptions) -> str | None:
    """Find what a set of outputs lacks.

    Args:
        options: Of the run that would write them.

    Returns:
        What is wrong with one of them; None where all are complete and come from one run.
    """
    image = options.output
    for option, path in options.outputs.items():
        if not path.exists():
            return f"{path} is not there, which {option} asks for"
        if path in options.rasters.values() or option == "--quicklook":
            if not is_complete(path):
                return f"{path} is not a complete image"
        elif not _ends(path, ENDS.get(option, "</qgis>")):
            return f"{path} is not complete"
    for path in options.rasters.values():
        if _origin(path) != _origin(image):
            return f"{path} was not made together with {image.name}"
    return None if options.native is None else _unfinished_native(image, options.native)


def _unfinished_native(image: Path, folder: Path) -> str | None:
    """What the bands lack that the image says were written with it."""
    *_, tags = _origin(image)
    names = dict(tags).get(NATIVE_TAG, "")
    if not names:
        return f"{image} was made without --native"
    for path in (folder / name for name in re.split(r"(?<=\.tif), ", names)):
        if not path.exists():
            return f"{path} is not there, which --native asks for"
        if not is_complete(path):
            return f"{path} is not a complete image"
        if _origin(path)[-1] != tags:
            return f"{path} was not made together with {image.name}"
    return None


def _origin(path: Path) -> tuple[tuple[int, int], Affine, CRS, list[tuple[str, str]]]:
    """Grid of a raster, and what cmcr wrote into it of how it was made."""
    with rasterio.open(path) as dataset:
        tags = {name: text for name, text in dataset.tags().items() if name.startswith("CMCR_")}
        kept = sorted(item for item in tags.items() if not item[0].startswith(SAYS_ITS_OWN))
        return dataset.shape, dataset.transform, dataset.crs, kept


def _ends(path: Path, end: str) -> bool:
    """Whether a text file is there to its end."""
    try:
        return path.read_bytes().rstrip().endswith(end.encode())
    except OSError:
        return False
