"""The rasters that a removal writes: the file of each, and what goes into it. A new one is added here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.catalogue.categories import PROVENANCE, meaning, source_categories
from cmcr_cli.output.catalogue.spectrum import SPECTRUM
from cmcr_cli.output.cog_spec import OutputSpec
from cmcr_cli.output.provenance import NO_SOURCE, NODATA, OBSERVED, RECONSTRUCTED
from cmcr_cli.removal.opening.native_files import NativeFile
from cmcr_cli.removal.restore.second_pass import FinishedStrip
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import Optical


@dataclass(frozen=True, slots=True)
class Setting:
    """Values that the rasters of one removal have in common.

    Attributes:
        options: Of the removal.
        optical: The scene.
        grid: Of the outputs: that of the scene, or of the area of interest.
        tags: What every raster says about itself.
        references: Date and name of each reference.
        native: Bands that are written in their own pixels.
    """

    options: RemoveOptions
    optical: Optical
    grid: Grid
    tags: Mapping[str, str]
    references: Sequence[str] = ()
    native: Sequence[NativeFile] = ()


@dataclass(frozen=True, slots=True)
class OutputRaster:
    """One kind of raster.

    Attributes:
        option: That names its path.
        spec: Describes the file, given its path.
        pixels: What it shows of finished rows (bands, rows, width).
    """

    option: str
    spec: Callable[[Setting, Path], OutputSpec]
    pixels: Callable[[FinishedStrip], NDArray[Any] | None]


def image_spec(setting: Setting, path: Path) -> OutputSpec:
    """Describe the image. It is stored as the input is, so that clear pixels can have the same DN.

    Args:
        setting: What all rasters have in common.
        path: The image.

    Returns:
        The description.
    """
    optical, original = setting.optical, setting.optical.original
    scales, offsets = _scaling(optical)
    return OutputSpec(
        path=path,
        grid=setting.grid,
        count=len(optical.names),
        dtype=str(optical.dtype if original is None else original.dtype),
        nodata=optical.nodata if original is None else original.nodata,
        descriptions=optical.names,
        scales=scales,
        offsets=offsets,
        # Those of cmcr tell of this run, also where the scene is itself an output of cmcr.
        tags={n: text for n, text in optical.tags.items() if not n.startswith("CMCR_")} | dict(setting.tags),
        creation_options=setting.options.creation_options,
        masked=optical.masked,
        spectrum=tuple(SPECTRUM[name] for name in optical.names),
    )


def _scaling(optical: Optical) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and offset of the bands: those of the file, unless an option states others."""
    if optical.offset_source != "option" and not optical.scaled:
        return optical.scales, optical.offsets
    used = (optical if optical.original is None else optical.original).radiometry
    scale, bands = 1 / used.quantification, len(optical.names)
    return (scale,) * bands, (scale * used.offset,) * bands


def _provenance_spec(setting: Setting, path: Path) -> OutputSpec:
    return OutputSpec(
        path=path,
        grid=setting.grid,
        count=1,
        dtype="uint8",
        nodata=NODATA,
        descriptions=("provenance",),
        tags={**setting.tags, "CMCR_VALUES": meaning(PROVENANCE)},
        categories=PROVENANCE,
    )


def _uncertainty_spec(setting: Setting, path: Path) -> OutputSpec:
    names = setting.optical.names
    return OutputSpec(
        path=path,
        grid=setting.grid,
        count=len(names),
        dtype="float32",
        nodata=float("nan"),
        descriptions=tuple(f"std_{name}" for name in names),
        tags={**setting.tags, "CMCR_VALUES": "standard deviation of the samples in reflectance"},
    )


def _uncertainty(strip: FinishedStrip) -> NDArray[np.float32] | None:
    if strip.std is None:
        return None
    shown = np.where(strip.provenance >= RECONSTRUCTED, strip.std, np.float32(0))
    return np.where(strip.provenance >= OBSERVED, shown, np.float32(np.nan))


def _source_spec(setting: Setting, path: Path) -> OutputSpec:
    categories = source_categories(setting.references)
    numbered = {f"CMCR_REFERENCE_{n}": text for n, text in enumerate(setting.references, 1)}
    return OutputSpec(
        path=path,
        grid=setting.grid,
        count=1,
        dtype="uint8",
        nodata=NO_SOURCE,
        descriptions=("source_date",),
        tags={**setting.tags, **numbered, "CMCR_VALUES": meaning(categories)},
        categories=categories,
    )


def _source(strip: FinishedStrip) -> NDArray[np.uint8]:
    source = np.zeros_like(strip.provenance) if strip.source is None else strip.source
    shown = np.where(strip.provenance >= RECONSTRUCTED, source, np.uint8(0))
    return np.where(strip.provenance == NODATA, np.uint8(NO_SOURCE), shown)[None]


RASTERS = (
    OutputRaster("--output", image_spec, lambda strip: strip.after if strip.stored is None else strip.stored),
    OutputRaster("--provenance", _provenance_spec, lambda strip: strip.provenance[None]),
    OutputRaster("--uncertainty", _uncertainty_spec, _uncertainty),
    OutputRaster("--source-date", _source_spec, _source),
)
"""All of them; the image comes first."""
