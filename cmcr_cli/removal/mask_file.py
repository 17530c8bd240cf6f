"""The mask that a removal would use, as a raster of its own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.errors import OptionError
from cmcr_cli.options import RemoveOptions, check_output_name
from cmcr_cli.output.cog import OutputSpec, StripWriter
from cmcr_cli.output.files import FileSet
from cmcr_cli.output.lock import locked
from cmcr_cli.removal.pipeline import Progress
from cmcr_cli.removal.session import open_session
from cmcr_cli.removal.survey.cloud_map import Cover
from cmcr_cli.removal.survey.first_pass import survey
from cmcr_cli.removal.survey.mask_sources import FoundMask
from cmcr_cli.scene.masks.mask_codes import CLEAR
from cmcr_cli.scene.optical import Optical
from cmcr_cli.version import __version__

NODATA = 255

ROWS = 512

VALUES = "0 clear, 1 thick cloud, 2 thin cloud or cirrus, 3 shadow, 255 nodata"


@dataclass(frozen=True, slots=True)
class MaskReport:
    """What was found; the shares are 0 to 1: of all pixels, and of the valid ones."""

    output: str
    confidence: str | None
    mask: str
    width: int
    height: int
    valid_share: float
    covered_share: float
    notes: list[str]


def write_mask(
    options: RemoveOptions,
    progress: Progress = lambda stage, done: None,
    *,
    confidence: Path | None = None,
) -> MaskReport:
    """Write the mask that `remove` would use with these options: uint8, 255 nodata.

    The codes are those of `CloudClass`: 0 clear, 1 thick cloud, 2 thin cloud or cirrus, 3 shadow. The mask
    lies on the grid of the scene, and given back as `mask` it leads to exactly the same image.

    Args:
        options: As for `remove`; `output` is the mask.
        progress: Called with the stage and the part of it that is done, 0 to 1.
        confidence: Raster to write as well: how likely the mask is right, uint8 per cent, 255 nodata. It says
            how sure the network is that a clear pixel is clear, and a covered one covered.

    Raises:
        OptionError: `confidence` is asked for, and the mask is not the network's.
        CmcrError: What `remove` raises before its first patch.
    """
    if confidence is not None:
        if options.mask != "auto":
            raise OptionError(
                f"--confidence with --mask {options.mask}: only cmcr's own network says how sure it is; "
                "expected --mask auto"
            )
        check_output_name("--confidence", confidence)
    paths = [options.output] + ([] if confidence is None else [confidence])
    with (
        open_session(options, others=paths[1:]) as session,
        locked(paths),
        FileSet(paths, overwrite=options.overwrite) as files,
        ExitStack() as stack,
    ):
        optical = session.optical
        tags = {
            "TIFFTAG_SOFTWARE": f"cmcr {__version__}",
            "CMCR_MASK": options.mask,
            "CMCR_DILATE": f"{options.dilate:g}",
        }
        writer = stack.enter_context(
            StripWriter(
                _spec(options, optical, options.output, "mask", tags | {"CMCR_VALUES": VALUES}), files
            )
        )
        sure = None
        if confidence is not None:
            sure = stack.enter_context(
                StripWriter(_spec(options, optical, confidence, "confidence", tags), files)
            )
        # A pass before --dilate has its own.
        certainty = None
        if sure is not None and not isinstance(session.mask, FoundMask):
            certainty = np.zeros(Cover.empty(optical.grid).shape, np.uint8)
        found = survey(
            optical,
            None,
            session.mask,
            with_context=False,
            progress=lambda done: progress("mask", done),
            certainty=certainty,
        )
        for top in range(0, optical.grid.height, ROWS):
            dn = optical.read(top, min(ROWS, optical.grid.height - top))
            valid, classes = optical.valid(dn), found.cover.classes(top, dn.shape[1])
            writer.write(np.where(valid, classes, NODATA).astype(np.uint8)[None])
            if sure is not None:
                per_cent = _confidence(session.mask, found.cover, certainty, top, classes)
                sure.write(np.where(valid, per_cent, NODATA).astype(np.uint8)[None])
        return MaskReport(
            output=str(options.output),
            confidence=None if confidence is None else str(confidence),
            mask=options.mask,
            width=optical.grid.width,
            height=optical.grid.height,
            valid_share=found.valid_share,
            covered_share=found.covered_share,
            notes=session.notes,
        )


def _confidence(
    mask: object, cover: Cover, certainty: NDArray[np.uint8] | None, top: int, classes: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """How likely full-width rows of `classes` from row `top` are right, per cent.

    `certainty` is that of the cells, None where `mask` brings its own.
    """
    if certainty is not None:
        return cover.spread(certainty, top, len(classes))
    if not isinstance(mask, FoundMask) or mask.certainty is None:
        raise TypeError("only a mask that the network made has a certainty")
    known = cover.spread(mask.certainty, top, len(classes))
    # What --dilate added is covered against the network's opinion.
    added = (classes != CLEAR) & (mask.cover.classes(top, len(classes)) == CLEAR)
    return np.where(added, 100 - known, known).astype(np.uint8)


def _spec(
    options: RemoveOptions, optical: Optical, path: Path, what: str, tags: dict[str, str]
) -> OutputSpec:
    return OutputSpec(
        path=path,
        grid=optical.grid,
        count=1,
        dtype="uint8",
        nodata=NODATA,
        descriptions=(what,),
        tags=tags,
        creation_options=options.creation_options,
        categorical=True,
    )
