"""The mask that a removal would use, as a raster of its own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmcr_cli.errors import OptionError
from cmcr_cli.option_paths import COG, check_output_name, style_beside
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.catalogue.categories import MASK, MASK_NODATA, Categories, meaning
from cmcr_cli.output.catalogue.cover import COVER_TAG, Cover
from cmcr_cli.output.catalogue.qgis_style import style_of
from cmcr_cli.output.cog import StripWriter
from cmcr_cli.output.cog_spec import OutputSpec
from cmcr_cli.output.files import FileSet, write_whole
from cmcr_cli.output.inputs import Inputs
from cmcr_cli.output.lock import locked
from cmcr_cli.removal.opening.session import Progress, Session, check_options, open_session
from cmcr_cli.removal.restore.budget import Budget
from cmcr_cli.removal.results.notebook import html_table
from cmcr_cli.removal.survey.first_pass import Survey, survey
from cmcr_cli.scene.optical import Optical
from cmcr_cli.version import __version__
from cmcr_cli.warning_kinds import CmcrWarning

ROWS = 512


@dataclass(frozen=True, slots=True)
class MaskReport:
    """Result of `write_mask`.

    Attributes:
        output: Path of the mask.
        confidence: Path of the raster of the mask's certainty; None: none was asked for.
        mask: What made the mask.
        width: Columns of the scene.
        height: Rows of the scene.
        valid_share: Pixels that hold a measurement, 0 to 1 of all.
        covered_share: Covered pixels, 0 to 1 of the valid ones.
        cover: All shares, also of what a removal with this mask reconstructs.
        inputs: The inputs as they were understood.
        warnings: What the run warned of.
    """

    output: str
    confidence: str | None
    mask: str
    width: int
    height: int
    valid_share: float
    covered_share: float
    cover: Cover
    inputs: Inputs
    warnings: tuple[CmcrWarning, ...]

    def __repr__(self) -> str:
        """The outcome in one line."""
        return f"MaskReport({self.output}: {self.covered_share:.0%} covered, by {self.mask})"

    def _repr_html_(self) -> str:
        """The outcome as a table, for notebooks."""
        rows = (
            ("size", f"{self.width} x {self.height} px, {self.valid_share:.1%} valid"),
            ("covered", f"{self.covered_share:.1%}"),
            ("mask", self.mask),
            *(() if self.confidence is None else (("confidence", self.confidence),)),
        )
        return html_table(self.output, rows, self.warnings)


def write_mask(
    options: RemoveOptions,
    progress: Progress = lambda stage, done: None,
    *,
    confidence: Path | None = None,
) -> MaskReport:
    """Write the mask that `remove` would use with these options: uint8, 255 nodata.

    The codes are those of `CloudClass`: 0 clear, 1 thick cloud, 2 thin cloud or cirrus, 3 shadow. The mask
    is on the grid of the scene, and given back as `mask` it leads to exactly the same image, unless less than
    5 % of the scene is clear: then `remove` also learns from shadow that the network doubts.

    Args:
        options: As for `remove`; `output` is the mask.
        progress: Called with the stage and the part of it that is done, 0 to 1.
        confidence: Raster to write as well: how likely the mask is right, uint8 per cent, 255 nodata. It says
            how sure the network is that a clear pixel is clear, and a covered one covered.

    Returns:
        What was found.

    Raises:
        OptionError: `confidence` is asked for, and the mask is not the network's.
        CmcrError: What `remove` raises before its first patch.
    """
    check_options(options)
    if confidence is not None:
        if options.mask != "auto":
            raise OptionError(
                f"--confidence with --mask {options.mask}: only cmcr's own network says how sure it is; "
                "expected --mask auto"
            )
        check_output_name("--confidence", confidence, COG)
    others = [] if confidence is None else [confidence]
    own = [options.output, *others]
    paths = own + ([style_beside(path) for path in own] if options.qml else [])
    with open_session(options, others=paths[1:]) as session:
        Budget.of(session).check()
        with locked(paths), FileSet(paths, overwrite=options.overwrite) as files:
            found = _write(session, files, confidence, progress)
        grid = session.optical.grid
        return MaskReport(
            output=str(options.output),
            confidence=None if confidence is None else str(confidence),
            mask=options.mask,
            width=grid.width,
            height=grid.height,
            valid_share=found.cover.valid,
            covered_share=found.cover.covered,
            cover=found.cover,
            inputs=session.inputs,
            warnings=tuple(session.warnings),
        )


def _write(session: Session, files: FileSet, confidence: Path | None, progress: Progress) -> Survey:
    """Find the mask and write it, with how likely it is right where that is asked for."""
    options, optical, mask = session.options, session.optical, session.mask
    tags = {
        "TIFFTAG_SOFTWARE": f"cmcr {__version__}",
        "CMCR_MASK": options.mask,
        "CMCR_DILATE": f"{options.dilate:g}",
    }
    with ExitStack() as stack:
        specs = [_spec(options, optical, options.output, "mask", tags | {"CMCR_VALUES": meaning(MASK)}, MASK)]
        if confidence is not None:
            mask.keep_certainty()
            specs.append(_spec(options, optical, confidence, "confidence", tags))
        writers = [stack.enter_context(StripWriter(spec, files)) for spec in specs]
        found = survey(
            optical,
            None,
            mask,
            learn=False,
            each=session.workers.map,
            progress=lambda done: progress("mask", done),
        )
        for top in range(0, optical.grid.height, ROWS):
            dn = optical.read(top, min(ROWS, optical.grid.height - top))
            valid, classes = optical.valid(dn), found.cloud_map.classes(top, dn.shape[1])
            writers[0].write(np.where(valid, classes, MASK_NODATA).astype(np.uint8)[None])
            if confidence is not None:
                per_cent = mask.certainty(found.cloud_map, top, classes)
                if per_cent is None:
                    raise TypeError("only a mask that the network made has a certainty")
                writers[1].write(np.where(valid, per_cent, MASK_NODATA).astype(np.uint8)[None])
        for spec, writer in zip(specs, writers, strict=True):
            writer.add_tags({COVER_TAG: found.cover.tag()})
            if options.qml:
                write_whole(style_beside(spec.path), style_of(spec), files)
    return found


def _spec(
    options: RemoveOptions,
    optical: Optical,
    path: Path,
    what: str,
    tags: dict[str, str],
    categories: Categories = (),
) -> OutputSpec:
    return OutputSpec(
        path=path,
        grid=optical.grid,
        count=1,
        dtype="uint8",
        nodata=MASK_NODATA,
        descriptions=(what,),
        tags=tags,
        creation_options=options.creation_options,
        categorical=True,
        categories=categories,
    )
