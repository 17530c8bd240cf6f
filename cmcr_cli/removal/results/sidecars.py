"""What is built beside the rasters once they are complete: the HTML report and the STAC item."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cmcr_cli.options import RemoveOptions, file_name
from cmcr_cli.output.files import FileSet
from cmcr_cli.output.stac_item import Described, time_of, write_item
from cmcr_cli.removal.results.command_line import command_of
from cmcr_cli.removal.results.html_report import write_report
from cmcr_cli.removal.results.outputs import Outputs
from cmcr_cli.scene.optical import Optical
from cmcr_cli.version import __version__

if TYPE_CHECKING:
    from cmcr_cli.removal.pipeline import Report


def describe(
    optical: Optical, options: RemoveOptions, report: Report, outputs: Outputs, files: FileSet
) -> None:
    """Add the report and the item to `files`, where they are asked for; OutputError when that fails."""
    if options.report is not None and outputs.quicklook is not None and outputs.statistics is not None:
        # The query of a signed address is a secret, and reports are passed on.
        command = re.sub(r"\?[^\s']+", "?...", command_of(options))
        write_report(options.report, report, command, outputs.quicklook, outputs.statistics, files)
    if options.stac is None:
        return
    radiometry = optical.radiometry
    scene = optical.tags.get("PRODUCT_URI", file_name(optical.path))
    lineage = (
        f"Clouds and shadows, {report.covered_share:.1%} of the valid pixels of the Sentinel-2 scene "
        f"{scene}, replaced by reconstruction with the weights "
        f"{report.weights}{'' if report.radar else ', without radar'}; others are those of the scene."
    )
    described = {option: path for option, path in options.outputs.items() if option != "--stac"}
    write_item(
        options.stac,
        described,
        Described(
            grid=outputs.grid,
            names=optical.names,
            dtype=str(optical.dtype),
            nodata=optical.nodata,
            scale=1 / radiometry.quantification,
            offset=radiometry.offset / radiometry.quantification,
            time=time_of(optical.tags, optical.path),
            lineage=lineage,
            software={"cmcr": __version__},
            source=optical.path,
        ),
        files,
    )
