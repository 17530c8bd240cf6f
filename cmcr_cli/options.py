"""What a user may ask of one cloud removal, checked before any file is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.scene.masks.mask_codes import parse_codes
from cmcr_cli.scene.patches import OVERLAPS
from cmcr_cli.scene.sun import Sun

Units = Literal["auto", "db", "linear"]
Align = Literal["warn", "strict"]

MASKS = ("auto", "scl", "omnicloudmask", "all")
"""What `mask` may be besides a path."""

OFFSETS = (-2000, 2000)
"""DN; products so far have 0 or -1000."""

LONGEST_NAME = 220
"""Bytes in the name of an output: file systems take 255, and temporary files need some 30 for theirs."""

LONGEST_FOLDER, LONGEST_PATH = 255, 4000
"""Bytes; with the names of temporary files a path must stay below 4096."""

SHOWN = 60
"""Characters of a long name that a message quotes."""

MOST_DILATION = 2000
"""Metres; a mask that must grow farther is not worth using."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOptions:
    """Inputs, outputs and settings of `remove`; paths of inputs may be any that GDAL knows."""

    s2: str
    output: Path
    s1: str | None = None
    s1_vv: str | None = None  # in place of s1: one file per polarisation
    s1_vh: str | None = None
    steps: int = 1  # network evaluations per patch: 1 is nearest to the truth on average, more draw detail
    samples: int = 1  # images that are drawn and averaged; more than 1 need steps >= 2
    seed: int = 0
    mask: str = "auto"  # "auto" (the network), "scl" (the product's), "omnicloudmask", "all", or a path
    mask_codes: str | None = None  # what the values of a mask that is a path mean, as parse_codes takes it
    mask_weights: Path | None = None  # folder of OmniCloudMask's weights
    dilate: float = 0.0  # metres by which the mask is grown
    keep_clear: bool = True  # copy clear pixels bit for bit
    context: bool = True  # learn the scene's own colours first
    aoi: Path | None = None  # GeoJSON of the only pixels to compute and write
    bbox: tuple[float, float, float, float] | None = None  # the same: west, south, east, north in degrees
    bands: tuple[str, ...] | None = None  # names of the Sentinel-2 bands in file order
    offset: float | None = None  # DN, 0 or -1000; None takes the file's tags
    sun: Sun | None = None  # None takes the product's metadata or the file's tags
    s1_units: Units = "auto"
    align: Align = "warn"  # radar more than 30 m off the image: a note; strict: an error, also if unknown
    overlap: int = 32  # pixels between neighbouring patches
    weights: Path | None = None  # None: the weights that come with cmcr
    device: str = "auto"
    batch_size: int | None = None  # None: chosen by device
    provenance: Path | None = None
    uncertainty: Path | None = None  # needs samples >= 2
    quicklook: Path | None = None
    report: Path | None = None  # HTML
    stac: Path | None = None  # JSON
    overwrite: bool = False
    resume: bool = False  # keep what is done when stopped, and go on from there when started again
    creation_options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take strings for paths; raise OptionError for values out of range or that contradict each other."""
        for each in fields(self):
            value = getattr(self, each.name)
            if "Path" in str(each.type) and isinstance(value, str):
                object.__setattr__(self, each.name, Path(value))
        _check_names(self)
        low, high = OVERLAPS
        limits = (
            ("--steps", self.steps, 1, 64),
            ("--samples", self.samples, 1, 256),
            ("--seed", self.seed, 0, 2**63 - 1),
            ("--overlap", self.overlap, low, high),
            ("--offset", self.offset or 0, *OFFSETS),
            ("--dilate", self.dilate, 0, MOST_DILATION),
            ("--batch-size", 1 if self.batch_size is None else self.batch_size, 1, 4096),
        )
        for name, value, least, most in limits:
            if not least <= value <= most:
                raise OptionError(f"{name} {value}: expected {least} to {most}")
        if (self.s1_vv is None) != (self.s1_vh is None) or (self.s1 is not None and self.s1_vv is not None):
            raise OptionError("expected both --s1-vv and --s1-vh, or one file S1 that holds both, or neither")
        if self.aoi is not None and self.bbox is not None:
            raise OptionError("--aoi and --bbox both say which pixels are wanted; expected one of them")
        if self.mask_codes is not None:
            if self.mask in MASKS:
                raise OptionError(
                    f"--mask-codes {self.mask_codes} with --mask {self.mask}, which has no codes; expected "
                    "the path of a raster as --mask"
                )
            parse_codes(self.mask_codes)
        if self.uncertainty is not None and self.samples < 2:
            raise OptionError("--uncertainty is the spread of several samples; expected --samples 2 or more")
        if self.samples > 1 and self.steps == 1:
            raise OptionError(
                f"--samples {self.samples} with --steps 1: samples of one step are all alike, for it hardly "
                "depends on the noise; expected --steps 2 or more"
            )

    @property
    def radar(self) -> str | tuple[str, str] | None:
        """Sentinel-1 as one path, or as those of VV and VH."""
        if self.s1_vv is not None and self.s1_vh is not None:
            return self.s1_vv, self.s1_vh
        return self.s1

    @property
    def inputs(self) -> tuple[str, ...]:
        """Paths of every file that is named for reading."""
        mask = None if self.mask in MASKS else self.mask
        named = (self.s2, self.s1, self.s1_vv, self.s1_vh, mask, self.aoi)
        return tuple(str(path) for path in named if path is not None)

    @property
    def outputs(self) -> dict[str, Path]:
        """Every file that will be written, by the option that names it."""
        named = {
            "--output": self.output,
            "--provenance": self.provenance,
            "--uncertainty": self.uncertainty,
            "--quicklook": self.quicklook,
            "--report": self.report,
            "--stac": self.stac,
        }
        return {option: path for option, path in named.items() if path is not None}

    @property
    def rasters(self) -> dict[str, Path]:
        """The outputs that are written row by row."""
        rasters = ("--output", "--provenance", "--uncertainty")
        return {option: path for option, path in self.outputs.items() if option in rasters}


def _check_names(options: RemoveOptions) -> None:
    """Raise an error for a path that no file can have: else it would come up later, and as another one."""
    for option, output in options.outputs.items():
        check_output_name(option, output)
    for path in (*options.inputs, str(options.weights), str(options.mask_weights)):
        if "\0" in path:
            raise OptionError(f"{path!r}: holds a zero byte, which no name of a file may. Correct the name.")
        try:
            Path(path).exists()
        except OSError as error:
            raise InputError(
                f"{path[:SHOWN]}: cannot be looked at ({error.strerror}); expected a file that can be read. "
                "Check the path."
            ) from error


def check_output_name(option: str, path: Path) -> None:
    """Raise OptionError unless `path`, and the temporary files beside it, have names that can be written.

    Args:
        option: That names the output.
        path: The output.
    """
    if "\0" in str(path):
        raise OptionError(
            f"{option} {str(path)!r}: holds a zero byte, which no name of a file may. Correct the name."
        )
    *folders, size = (len(os.fsencode(part)) for part in path.absolute().parts)
    if size > LONGEST_NAME:
        raise OptionError(
            f"{option} {path.name[:SHOWN]}...: its name has {size} bytes; expected at most {LONGEST_NAME}, "
            "since temporary files beside it have longer ones. Choose a shorter name."
        )
    if max(folders, default=0) > LONGEST_FOLDER or sum(folders) + len(folders) + size > LONGEST_PATH:
        raise OptionError(
            f"{option} {str(path)[:SHOWN]}...: expected folders of at most {LONGEST_FOLDER} bytes each, and "
            f"{LONGEST_PATH} altogether. Choose a shorter path."
        )


def file_name(path: str) -> str:
    """Name of a file for tags; the query of a signed address is a secret, and outputs are passed on."""
    return Path(path.partition("?")[0]).name
