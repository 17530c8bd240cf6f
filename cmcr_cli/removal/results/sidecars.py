"""Outputs that are built when the rasters are complete: the HTML report and the STAC item."""

from __future__ import annotations

from cmcr_cli.option_paths import file_name
from cmcr_cli.output.files import FileSet
from cmcr_cli.output.quicklook import Quicklook
from cmcr_cli.output.stac_item import Described, time_of, write_item
from cmcr_cli.removal.results.command_line import command_of
from cmcr_cli.removal.results.html_report import write_report
from cmcr_cli.removal.results.rasters import Setting
from cmcr_cli.removal.results.report import Report
from cmcr_cli.removal.results.statistics import Statistics
from cmcr_cli.version import __version__


def describe(
    setting: Setting, report: Report, look: tuple[Quicklook, Statistics] | None, files: FileSet
) -> None:
    """Add the HTML report and the STAC item to the files of a removal, as far as they are asked for.

    Args:
        setting: Options, scene and grid of the outputs.
        report: What was done.
        look: What the report shows; None where none is asked for.
        files: The open set.

    Raises:
        OutputError: One cannot be written.
    """
    options, optical = setting.options, setting.optical
    if options.report is not None and look is not None:
        write_report(options.report, report, command_of(options), *look, files)
    if options.stac is None:
        return
    original = optical.original
    radiometry = optical.radiometry if original is None else original.radiometry
    scene = optical.tags.get("PRODUCT_URI", file_name(optical.path))
    helped = len(report.references)
    made_with = "" if report.radar else ", without radar"
    if helped:
        made_with += f", with the help of {helped} other date{'s' * (helped > 1)} of the same ground"
    lineage = (
        f"Clouds and shadows, {report.covered_share:.1%} of the valid pixels of the Sentinel-2 scene "
        f"{scene}, replaced by reconstruction with the weights "
        f"{report.weights}{made_with}; others are those of the scene."
    )
    described = {option: path for option, path in options.outputs.items() if option != "--stac"}
    described |= {each.key: each.path for each in setting.native}
    write_item(
        options.stac,
        described,
        Described(
            grid=setting.grid,
            names=optical.names,
            dtype=str(optical.dtype if original is None else original.dtype),
            nodata=optical.nodata if original is None else original.nodata,
            scale=1 / radiometry.quantification,
            offset=radiometry.offset / radiometry.quantification,
            time=time_of(optical.tags, optical.path),
            lineage=lineage,
            software={"cmcr": __version__},
            sources=(optical.path, *(each.path for each in report.references)),
        ),
        files,
    )
