"""The mask that a removal would use, as a raster of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmcr_cli import __version__
from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.removal.run import Progress
from cmcr_cli.removal.session import open_session
from cmcr_cli.removal.survey import survey
from cmcr_cli.scene.cog import OutputSpec, StripWriter
from cmcr_cli.scene.lock import locked

NODATA = 255

ROWS = 512


@dataclass(frozen=True, slots=True)
class MaskReport:
    """What was found; the shares are 0 to 1: of all pixels, and of the valid ones."""

    output: str
    mask: str
    width: int
    height: int
    valid_share: float
    covered_share: float
    notes: list[str]


def write_mask(options: RemoveOptions, progress: Progress = lambda stage, done: None) -> MaskReport:
    """Write the mask that `remove` would use with these options: uint8, 255 nodata.

    0 is clear, 1 cloud or shadow, 2 thin cirrus, below which the ground is learnt from. It lies on the grid
    of the scene, and given back as `mask` leads to the very same image. Raises what `remove` raises before
    its first patch.
    """
    with open_session(options) as session, locked([options.output]):
        optical = session.optical
        spec = OutputSpec(
            path=options.output,
            grid=optical.grid,
            count=1,
            dtype="uint8",
            nodata=NODATA,
            descriptions=("mask",),
            tags={
                "TIFFTAG_SOFTWARE": f"cmcr {__version__}",
                "CMCR_VALUES": "0 clear, 1 cloud or shadow, 2 thin cirrus, 255 nodata",
                "CMCR_MASK": options.mask,
                "CMCR_DILATE": f"{options.dilate:g}",
            },
            creation_options=options.creation_options,
            categorical=True,
        )
        with StripWriter(spec) as writer:
            found = survey(
                optical,
                None,
                session.mask,
                with_context=False,
                progress=lambda done: progress("mask", done),
            )
            for top in range(0, optical.grid.height, ROWS):
                dn = optical.read(top, min(ROWS, optical.grid.height - top))
                codes = found.cover.codes(top, dn.shape[1])
                writer.write(np.where(optical.valid(dn), codes, NODATA).astype(np.uint8)[None])
        return MaskReport(
            output=str(options.output),
            mask=options.mask,
            width=optical.grid.width,
            height=optical.grid.height,
            valid_share=found.valid_share,
            covered_share=found.covered_share,
            notes=session.notes,
        )
