"""The files of `--native`: which bands a product has in files of their own, their grids and names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cmcr_cli.errors import OptionError, OutputError
from cmcr_cli.option_paths import COG, check_output_name
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.claims import Claims, check_writable
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.raster import open_raster

PRODUCT = re.compile(r"S2[A-D]_MSIL(1C|2A)_(\d{8}T\d{6})_(?:N\d{4}_)?R\d{3}_(T\d{2}[A-Z]{3})(?![A-Z0-9])")
"""Name of a product: level, time and tile, by which its images are named."""

FLAG = "--native"

NATIVE_TAG = "CMCR_NATIVE"
"""Tag of all rasters of a run: names of the bands that were written in their own pixels."""


@dataclass(frozen=True, slots=True)
class NativeFile:
    """A band to be written in its own pixels.

    Attributes:
        name: Of the band.
        place: Of the band among those of the scene.
        grid: Of the product's own file.
        path: To write.
    """

    name: str
    place: int
    grid: Grid
    path: Path

    @property
    def key(self) -> str:
        """By which journal and report know it."""
        return f"{FLAG}-{self.name}"


@contextmanager
def native_outputs(
    options: RemoveOptions, optical: Optical, claims: Claims
) -> Iterator[tuple[NativeFile, ...]]:
    """Claim the bands that `--native` writes, and make their folder; an empty one is removed in the end.

    Args:
        options: Of the removal.
        optical: The scene.
        claims: Files of the run.

    Yields:
        The bands; none without the option.

    Raises:
        OptionError: As of `native_files`.
        OutputError: One cannot be written, or meets another file of the run.
    """
    files = native_files(options, optical)
    with native_folder(options.native):
        for each in files:
            claims.write(each.path)
            check_writable(each.path, options.overwrite)
        yield files


def native_files(options: RemoveOptions, optical: Optical) -> tuple[NativeFile, ...]:
    """List the bands that `--native` writes.

    Args:
        options: Of the removal.
        optical: The scene.

    Returns:
        A file for each band; none without the option.

    Raises:
        OptionError: The scene has no bands in files of their own, or a name is too long.
        InputError: A file of the product cannot be opened.
    """
    if options.native is None:
        return ()
    if not optical.own_files:
        raise OptionError(
            f"{FLAG} {options.native}: {optical.path} is a stack whose bands share one grid, so that none "
            "has pixels of its own; expected a product (SAFE, EOPF Zarr) or a STAC item with a file for each "
            f"band. Give the product itself, or leave out {FLAG}."
        )
    tags, found = optical.tags, []
    for place, name in enumerate(optical.names):
        with open_raster(optical.own_files[name], f"band {name} of {optical.path}") as dataset:
            grid = Grid.from_dataset(dataset)
        path = options.native / f"{native_name(tags, name, grid, options.output)}.tif"
        check_output_name(FLAG, path, COG)
        found.append(NativeFile(name, place, grid, path))
    return tuple(found)


def native_name(tags: Mapping[str, str], band: str, grid: Grid, output: Path) -> str:
    """Name a band as its file in a product is named.

    Args:
        tags: Of the scene.
        band: Name of the band.
        grid: Its own grid.
        output: The image, whose name serves where that of the product is not known.

    Returns:
        TILE_TIME_BAND for Level-1C, TILE_TIME_BAND_20m for Level-2A, else IMAGE_BAND_20m.
    """
    size = f"{max(grid.metres):.0f}m"
    product = PRODUCT.match(tags.get("PRODUCT_URI", ""))
    if product is None:
        return f"{output.stem}_{band}_{size}"
    level, time, tile = product.groups()
    return f"{tile}_{time}_{band}" if level == "1C" else f"{tile}_{time}_{band}_{size}"


@contextmanager
def native_folder(folder: Path | None) -> Iterator[None]:
    """Make the folder of `--native`; an empty one that was made is removed in the end.

    Args:
        folder: The folder; None: there is none.

    Yields:
        Nothing; the folder exists meanwhile.

    Raises:
        OutputError: It cannot be made.
    """
    if folder is None:
        yield
        return
    try:
        new = not folder.exists()
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be created ({error.strerror}); expected a folder, or the name of a new one in "
            f"a folder that is there. See {FLAG}."
        ) from error
    try:
        yield
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()
