"""Checking an output of `cmcr remove` against what went in: layout, grid, bands, and pixel by pixel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from cmcr_cli.errors import InputError, WeightsError
from cmcr_cli.output.catalogue.cover import COVER_TAG, per_cent
from cmcr_cli.output.plausibility import Plausibility
from cmcr_cli.output.provenance import NODATA, OBSERVED, RECONSTRUCTED, WITH_REFERENCE
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.raster import Source, open_raster

ROWS = 512
"""Rows per strip: those of a COG's blocks, so that each is decoded once."""

CACHE_BYTES = 128 * 2**20
"""GDAL's block cache. Its default is 5 % of the machine's memory; as a number, rasterio takes it in bytes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of an output.

    Attributes:
        name: Name of the check.
        ok: Whether it passed.
        text: What was found.
        odd: Whether that is odd, though it passed.
    """

    name: str
    ok: bool
    text: str
    odd: bool = False


def validate_output(
    output: str | Path,
    source: str | Path | None = None,
    provenance: str | Path | None = None,
    *,
    bands: tuple[str, ...] | None = None,
) -> list[Finding]:
    """Check that an image is a COG, and agrees with its scene and its provenance.

    Pixels are compared only if grids and bands agree.

    Args:
        output: The image.
        source: The scene.
        provenance: Its provenance raster.
        bands: Names of the bands in file order, where the files do not state them.

    Returns:
        All findings.

    Raises:
        InputError: A file cannot be read.
        RadiometryError: The image or the scene is not a Sentinel-2 stack.
    """
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), ExitStack() as stack:
        if source is None and provenance is None:
            return [_cog("COG", output)]
        made = stack.enter_context(open_optical(output, bands=bands))
        findings = [_cog("COG", output)]
        given = track = None
        if source is not None:
            given = _same_window(made, stack.enter_context(open_optical(source, bands=bands)))
            findings += _compare(made, given)
        if provenance is not None:
            dataset = stack.enter_context(open_raster(provenance, "a provenance raster"))
            track = Source(str(provenance), dataset, Grid.from_dataset(dataset), (1,), warped=False)
            findings += [_cog("provenance COG", provenance), *_layout(made, track)]
        if all(finding.ok or finding.name.endswith("COG") for finding in findings):
            findings += _pixels(made, given, track)
    return findings


def check_made_with(output: str | Path, sha256: str) -> None:
    """Check which weights made an image.

    Args:
        output: The image.
        sha256: Hash of the weights.

    Raises:
        WeightsError: Its tags name other weights, or none.
    """
    with open_raster(output, "an output of cmcr") as dataset:
        found = dataset.tags().get("CMCR_WEIGHTS_SHA256")
    if found != sha256:
        made = "names no weights in its tags" if found is None else f"was made with weights {found[:12]}"
        raise WeightsError(
            f"{output}: {made}; expected {sha256[:12]}. Name the weights that it was made with by --weights"
        )


def _same_window(made: Optical, given: Optical) -> Optical:
    """The part of `given` that `made` shows, when it shows an area of interest; else all of it."""
    place = made.grid.place_in(given.grid)
    if place is None or "CMCR_AREA" not in made.tags:
        return given
    return replace(given, source=replace(given.source, grid=made.grid, origin=place, rows=None))


def _cog(name: str, path: str | Path) -> Finding:
    """Whether rio-cogeo finds the file valid, warnings counted as errors."""
    from rio_cogeo.cogeo import cog_validate  # loads pydantic, which nothing else needs

    try:
        valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
    except RasterioError as error:
        raise InputError(
            f"{path}: cannot be opened ({error}); expected a GeoTIFF. Check the path."
        ) from error
    return Finding(name, valid, "; ".join([*errors, *warnings]) or "valid, with no warnings")


def _compare(made: Optical, given: Optical) -> list[Finding]:
    """Compare what the two files say about themselves."""
    described = [
        (mine, theirs) for mine, theirs in zip(made.descriptions, given.descriptions, strict=False) if theirs
    ]
    same_bands = made.names == given.names and all(mine == theirs for mine, theirs in described)
    scaling = [sorted(set(zip(file.scales, file.offsets, strict=True))) for file in (made, given)]
    stated = "CMCR_SCALE" in made.tags or made.tags.get("CMCR_OFFSET", "").endswith("(option)")
    return [
        Finding("grid", made.grid.matches(given.grid), _against(_placed(made.grid), _placed(given.grid))),
        Finding("bands", same_bands, _against(_listed(made), _listed(given))),
        Finding("dtype", made.dtype == given.dtype, _against(made.dtype, given.dtype)),
        Finding("nodata value", made.nodata == given.nodata, _against(made.nodata, given.nodata)),
        Finding(
            "scale and offset",
            stated or (made.scales, made.offsets) == (given.scales, given.offsets),
            f"{scaling[0]}, as an option stated" if stated else _against(*scaling),
        ),
    ]


def _layout(made: Optical, track: Source) -> list[Finding]:
    """Whether the provenance is one band of bytes on the output's grid."""
    count, dtype = track.dataset.count, track.dataset.dtypes[0]
    return [
        Finding(
            "provenance grid",
            made.grid.matches(track.grid),
            _against(_placed(track.grid), _placed(made.grid)),
        ),
        Finding(
            "provenance bands", (count, dtype) == (1, "uint8"), _against(f"{count} of {dtype}", "1 of uint8")
        ),
    ]


def _pixels(made: Optical, given: Optical | None, track: Source | None) -> list[Finding]:
    """Read all files once, strip by strip, and count the pixels that are wrong."""
    wrong = dict.fromkeys(("nodata pixels", "provenance values", "provenance nodata", "observed pixels"), 0)
    plausibility = Plausibility(made, told=track is not None)
    for top in range(0, made.grid.height, ROWS):
        rows = min(ROWS, made.grid.height - top)
        dn = made.read(top, rows)
        valid = made.valid(dn)
        before = None if given is None else given.read(top, rows)
        new = np.zeros_like(valid) if before is None else (dn != before).any(axis=0)
        if given is not None and before is not None:
            # Around an area of interest pixels are left out; none may come from nowhere.
            seen = given.valid(before)
            wrong["nodata pixels"] += _count(valid & ~seen if "CMCR_AREA" in made.tags else valid != seen)
        if track is not None:
            values = track.read(top, rows)[0]
            new = values >= RECONSTRUCTED
            wrong["provenance values"] += _count(values > WITH_REFERENCE)
            wrong["provenance nodata"] += _count((values == NODATA) == valid)
            if before is not None:
                wrong["observed pixels"] += _count((values == OBSERVED) & (dn != before).any(axis=0))
        plausibility.add(dn, valid, new)
    meanings = {
        "nodata pixels": (given, "are nodata in only one of output and source"),
        "provenance values": (track, "are not 0 (nodata), 1 (observed), 2 or 3 (reconstructed)"),
        "provenance nodata": (track, "are nodata in only one of output and provenance"),
        "observed pixels": (given and track, "are marked as observed but differ from the source"),
    }
    return [
        *(
            Finding(name, wrong[name] == 0, f"{wrong[name]} pixels {text}")
            for name, (needed, text) in meanings.items()
            if needed is not None
        ),
        *(() if track is None else _stated_cover(made, plausibility.share)),
    ] + [Finding(name, True, text, odd) for name, (odd, text) in plausibility.doubts().items()]


def _stated_cover(made: Optical, share: float) -> Iterator[Finding]:
    """Whether the tags state the share of reconstructed pixels that the provenance shows."""
    stated = re.search(r"(\S+) reconstructed", made.tags.get(COVER_TAG, ""))
    if stated is not None:
        found = _against(f"{stated[1]} reconstructed", f"{per_cent(share)} reconstructed")
        yield Finding("cover in the tags", stated[1] == per_cent(share), found)


def _against(found: Any, expected: Any) -> str:
    return f"{found}" if found == expected else f"found {found}; expected {expected}"


def _placed(grid: Grid) -> str:
    return f"{grid.describe()}, from {grid.transform.c:.10g}, {grid.transform.f:.10g}"


def _listed(optical: Optical) -> str:
    return " ".join(
        description or name for description, name in zip(optical.descriptions, optical.names, strict=True)
    )


def _count(wrong: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(wrong))
