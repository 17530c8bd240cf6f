"""Outputs that are built when the rasters are complete: styles, the HTML report and the STAC item."""

from __future__ import annotations

from cmcr_cli.option_paths import file_name
from cmcr_cli.output.catalogue.qgis_style import style_of
from cmcr_cli.output.catalogue.stac_item import Described, scene_time, write_item
from cmcr_cli.output.files import FileSet, write_whole
from cmcr_cli.output.quicklook import Quicklook
from cmcr_cli.removal.results.command_line import command_of
from cmcr_cli.removal.results.html_report import write_report
from cmcr_cli.removal.results.rasters import RASTERS, Setting
from cmcr_cli.removal.results.report import Report
from cmcr_cli.removal.results.statistics import Statistics
from cmcr_cli.version import __version__


def describe(
    setting: Setting, report: Report, look: tuple[Quicklook, Statistics] | None, files: FileSet
) -> None:
    """Add styles, the HTML report and the STAC item to the files of a removal, as far as they are asked for.

    Args:
        setting: Options, scene and grid of the outputs.
        report: What was done.
        look: What the report shows; None where none is asked for.
        files: The open set.

    Raises:
        OutputError: One cannot be written.
    """
    options, optical = setting.options, setting.optical
    for raster in RASTERS:
        if (style := options.styles.get(f"--qml {raster.option}")) is not None:
            spec = raster.spec(setting, options.rasters[raster.option])
            stored = (optical.original or optical).radiometry if raster is RASTERS[0] else None
            write_whole(style, style_of(spec, stored), files)
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
        f"Of the valid pixels of the Sentinel-2 scene {scene}, {report.cover.text()}, with the weights "
        f"{report.weights}{made_with}; others are those of the scene."
    )
    radar = (path for path in (options.s1, options.s1_vv, options.s1_vh) if path is not None)
    described = {
        option: path
        for option, path in options.outputs.items()
        if option != "--stac" and option not in options.styles
    }
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
            taken=scene_time(optical.tags, optical.path),
            lineage=lineage,
            software={"cmcr": __version__},
            sources=(optical.path, *radar, *(each.path for each in report.references)),
            references=tuple(setting.references),
            cover=report.cover.shares(),
        ),
        files,
    )
