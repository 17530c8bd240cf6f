"""Options of one cloud removal, checked before any file is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cmcr_cli.option_fields import (
    ALL,
    FILES,
    OPENING,
    RADAR,
    SINGLE,
    Option,
    Role,
    documented,
    option_fields,
    paths_by_role,
    values_by_role,
)
from cmcr_cli.option_paths import FOLDER, ITEM, PAGE, PICTURE, style_beside
from cmcr_cli.option_rules import MASKS, check_fields, check_names, check_together
from cmcr_cli.option_texts import batch_size_of, bounds_of, creation_options_of, names_of, sun_of_text
from cmcr_cli.scene import OVERLAPS
from cmcr_cli.scene.masks.mask_codes import help_text
from cmcr_cli.scene.references.entries import path_of_entry
from cmcr_cli.scene.sun import Sun

Units = Literal["auto", "db", "linear"]
Align = Literal["warn", "strict"]


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOptions:
    """Inputs, outputs and settings of `remove`.

    Paths may be given as strings. Values out of range or that contradict each other raise OptionError.
    """

    # A new option is one field here, and the code that uses it: command line, batches, Dask, resumed runs,
    # recorded commands and documentation read the field.

    s2: Annotated[
        str,
        Option(
            "Sentinel-2: .SAFE or .zarr folder or zip, STAC item, or stack of bands; any path or address "
            "that GDAL can open.",
            Role.INPUT,
            commands=("remove", "mask"),
            column=True,
            positional=True,
        ),
    ]
    s1: Annotated[
        str | None,
        Option(
            "Sentinel-1 VV and VH, on any grid, or a STAC item; optional.",
            Role.INPUT,
            commands=RADAR,
            column=True,
            positional=True,
        ),
    ] = None
    output: Annotated[
        Path,
        Option(
            "Image to write: a COG on the grid of S2.", Role.RASTER, commands=SINGLE, column=True, letter="-o"
        ),
    ]
    s1_vv: Annotated[
        str | None,
        Option("Sentinel-1 VV in a file of its own, instead of S1.", Role.INPUT, commands=RADAR, column=True),
    ] = None
    s1_vh: Annotated[
        str | None,
        Option("Sentinel-1 VH, together with --s1-vv.", Role.INPUT, commands=RADAR, column=True),
    ] = None
    references: Annotated[
        tuple[str, ...],
        Option(
            "Another date of the same ground, in any form that S2 may have; repeatable. A folder, a .txt or "
            ".csv list, or a STAC ItemCollection stands for all images in it.",
            Role.INPUT,
            commands=("remove", "batch", "info"),
            column=True,
            flag="--reference",
            metavar="PATH|PATH@YYYY-MM-DD",
            path_of=path_of_entry,
        ),
    ] = ()
    guide: Annotated[
        str | None,
        Option("Any raster that tells what ground is alike, such as land cover.", Role.INPUT, column=True),
    ] = None
    max_references: Annotated[
        int, Option("Largest number of references; of more, the most promising are used.", least=1, most=4)
    ] = 4
    earlier_only: Annotated[bool, Option("Use no reference that is later than S2.")] = False
    reference_days: Annotated[
        int | None,
        Option("Use no reference taken more days before or after S2.", metavar="DAYS", least=0, most=36525),
    ] = None
    steps: Annotated[
        int,
        Option(
            "Network evaluations per patch: 1 has the lowest expected error; 4 adds (mostly synthetic) "
            "detail.",
            least=1,
            most=64,
        ),
    ] = 1
    samples: Annotated[
        int, Option("Images to draw and average; 2 or more require --steps 2 or more.", least=1, most=256)
    ] = 1
    seed: Annotated[
        int,
        Option(
            "Seed of the random noise; the noise also depends on the map position.", least=0, most=2**63 - 1
        ),
    ] = 0
    mask: Annotated[
        str,
        Option(
            "Source of the cloud and shadow mask: cmcr's own network (auto), the product's SCL, "
            "OmniCloudMask, all pixels, or a raster: one written by cmcr mask, one of 0 and 1, an SCL, or "
            "one of another tool (see --mask-codes).",
            Role.INPUT,
            commands=ALL,
            column=True,
            words=MASKS,
        ),
    ] = "auto"
    mask_codes: Annotated[
        str | None,
        Option(
            "What the values of the raster given to --mask mean; needed where its tags, name and values do "
            "not show it. Either a list such as 1=cloud,2=shadow,8-10=thin,else=clear, with the "
            "classes clear, cloud, thin, shadow and nodata; values that are not listed are refused, except "
            f"0, which is clear. Or a name: {help_text()}.",
            commands=ALL,
            column=True,
            metavar="NAME|VALUE=CLASS,...",
        ),
    ] = None
    mask_weights: Annotated[
        Path | None,
        Option(
            "Folder with the weights of OmniCloudMask; nothing is downloaded.",
            Role.WEIGHTS,
            commands=ALL,
            metavar="DIR",
        ),
    ] = None
    dilate: Annotated[
        float,
        Option(
            "Extend the mask by this distance all round.", commands=ALL, metavar="METRES", least=0, most=2000
        ),
    ] = 0.0
    keep_clear: Annotated[bool, Option("Copy clear pixels bit for bit, or reconstruct them as well.")] = True
    context: Annotated[
        bool,
        Option(
            "Learn the colours of this scene from its clear ground, or take them from its radar and training "
            "statistics only."
        ),
    ] = True
    aoi: Annotated[
        Path | None,
        Option(
            "GeoJSON, in any CRS: only the pixels inside are computed and written.",
            Role.INPUT,
            column=True,
        ),
    ] = None
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        Option(
            "West, south, east and north in degrees: only the pixels inside are computed and written.",
            metavar="W,S,E,N",
            read=bounds_of,
            column=True,
        ),
    ] = None
    bands: Annotated[
        tuple[str, ...] | None,
        Option(
            "Names of the bands of S2, in file order; - for a layer that is not a band.",
            commands=OPENING,
            metavar="B02,B03,...",
            read=names_of,
            column=True,
        ),
    ] = None
    scale: Annotated[
        float | None,
        Option(
            "Reflectance of one DN of S2; default: from its metadata or tags, else 0.0001, or 1 for "
            "fractions.",
            commands=OPENING,
            metavar="REFLECTANCE",
            least=1e-6,
            most=1,
            column=True,
        ),
    ] = None
    offset: Annotated[
        float | None,
        Option(
            "Radiometric offset of S2, 0 or -1000; default: from its metadata or tags, else 0.",
            commands=OPENING,
            metavar="DN",
            least=-2000,
            most=2000,
            column=True,
        ),
    ] = None
    datetime: Annotated[
        str | None,
        Option(
            "When S2 was taken, UTC, or the day; default: from its metadata, tags or name. For --stac and "
            "references.",
            commands=("remove", "batch", "info"),
            column=True,
            metavar="YYYY-MM-DD[THH:MM:SSZ]",
        ),
    ] = None
    sun: Annotated[
        Sun | None,
        Option(
            "Position of the sun in degrees, as in 152.3,41.0; default: from the metadata or tags of S2.",
            commands=OPENING,
            metavar="AZIMUTH,ELEVATION",
            read=sun_of_text,
            column=True,
        ),
    ] = None
    s1_units: Annotated[
        Units,
        Option(
            "Units of S1; auto: detected from the value range.",
            commands=("remove", "batch", "info"),
            column=True,
        ),
    ] = "auto"
    align: Annotated[
        Align,
        Option(
            "What to do if S1 is shifted against S2 by more than 30 m: warn, or stop with exit code 4; "
            "strict also stops if the shift cannot be measured."
        ),
    ] = "warn"
    overlap: Annotated[
        int,
        Option(
            "Width over which neighbouring patches are blended.",
            metavar="PX",
            least=OVERLAPS[0],
            most=OVERLAPS[1],
            multiple=2,
        ),
    ] = 32
    weights: Annotated[
        Path | None,
        Option(
            "Weights file; default: the one that comes with cmcr.",
            Role.WEIGHTS,
            commands=ALL,
            environment="CMCR_WEIGHTS",
        ),
    ] = None
    device: Annotated[
        str,
        Option(
            "Where to compute; several GPUs share a scene.",
            Role.RUN,
            commands=ALL,
            metavar="auto|cpu|cuda|cuda:0,cuda:1|mps",
            environment="CMCR_DEVICE",
        ),
    ] = "auto"
    batch_size: Annotated[
        int | None,
        Option(
            "Patches per call of the network; default: chosen for the device.",
            Role.RUN,
            metavar="auto|N",
            least=1,
            most=4096,
            read=batch_size_of,
        ),
    ] = None
    provenance: Annotated[
        Path | None,
        Option(
            "Raster to write: 0 nodata, 1 observed, 2 reconstructed, that is, synthetic, 3 reconstructed "
            "with a reference.",
            Role.RASTER,
        ),
    ] = None
    uncertainty: Annotated[
        Path | None,
        Option(
            "Raster to write: standard deviation of the samples in each band, in reflectance; requires "
            "--samples 2 or more.",
            Role.RASTER,
        ),
    ] = None
    source_date: Annotated[
        Path | None,
        Option(
            "Raster to write: number of the reference with the largest weight, 0 where it is none; its tags "
            "name the references.",
            Role.RASTER,
        ),
    ] = None
    quicklook: Annotated[
        Path | None, Option("Picture to write: before, after, and what changed.", Role.SIDECAR, form=PICTURE)
    ] = None
    report: Annotated[
        Path | None,
        Option(
            "Web page to write: before and after, statistics, settings, command.",
            Role.SIDECAR,
            form=PAGE,
        ),
    ] = None
    stac: Annotated[Path | None, Option("STAC item to write.", Role.SIDECAR, form=ITEM)] = None
    native: Annotated[
        Path | None,
        Option(
            "Folder to write: each band of a product as a COG in its own pixel size, 10, 20 or 60 m.",
            Role.FOLDER,
            metavar="DIR",
            form=FOLDER,
        ),
    ] = None
    qml: Annotated[
        bool, Option("Write a QGIS style (.qml) beside each raster that an option names.", commands=ALL)
    ] = False
    overwrite: Annotated[bool, Option("Replace existing outputs.", Role.RUN, commands=ALL)] = False
    resume: Annotated[
        bool,
        Option("Keep finished rows if the run is stopped, and continue from there next time.", Role.RUN),
    ] = False
    creation_options: Annotated[
        Mapping[str, str],
        Option(
            "GDAL creation option of the COG; repeatable.",
            commands=ALL,
            flag="--co",
            metavar="NAME=VALUE",
            read=creation_options_of,
        ),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take strings for paths; raise OptionError for values out of range or that contradict each other."""
        check_fields(self)
        check_names(self)
        check_together(self)

    @property
    def radar(self) -> str | tuple[str, str] | None:
        """Sentinel-1 as one path, or as those of VV and VH."""
        if self.s1_vv is not None and self.s1_vh is not None:
            return self.s1_vv, self.s1_vh
        return self.s1

    @property
    def inputs(self) -> tuple[str, ...]:
        """Paths of every file that is named for reading, besides weights."""
        return tuple(paths_by_role(self, Role.INPUT))

    @property
    def outputs(self) -> dict[str, Path]:
        """Every file that will be written and has a name before inputs are open, by the option."""
        return {each.flag: path for each, path in values_by_role(self, *FILES)} | self.styles

    @property
    def styles(self) -> dict[str, Path]:
        """Styles of QGIS that are written, by `--qml` and the option that names the raster."""
        rasters = self.rasters if self.qml else {}
        return {f"--qml {flag}": style_beside(path) for flag, path in rasters.items()}

    @property
    def rasters(self) -> dict[str, Path]:
        """The outputs that are written row by row."""
        return {each.flag: path for each, path in values_by_role(self, Role.RASTER)}


COLUMNS = tuple(each.name for each in option_fields(RemoveOptions) if each.option.column)
"""Names that the columns of a list of scenes may have."""

UNNAMED_COLUMNS = COLUMNS[:3]
"""Columns of a list without a heading; only the first must be there."""
