"""From the arguments of `remove_dataset` to the options of a removal, which reads files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.io import BufferedDatasetWriter, DatasetReader, DatasetWriter
from rasterio.vrt import WarpedVRT

from cmcr_cli.arrays.array_layers import ArrayImage, Kind, each_time, image_of, time_of
from cmcr_cli.arrays.spilled_files import check_room, write_image
from cmcr_cli.errors import CmcrError, InputError, OptionError
from cmcr_cli.option_types import kind_of
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.opening.session import Progress, check_files

OpenFile = DatasetReader | DatasetWriter | BufferedDatasetWriter | WarpedVRT
"""Datasets of rasterio."""

EXPECTED = (
    "a path, a Dataset or DataArray of xarray, an open rasterio dataset, or an array (band, y, x) with "
    "transform and crs"
)

MOST_LAYERS = 32
"""Bands, masks and classes of one image; rows are more."""

OUTPUTS = ("output", "provenance", "uncertainty", "source_date")
"""Options of the rasters that become variables."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What `remove_dataset` was called with.

    Attributes:
        ds: Dataset or DataArray of the scene.
        s1: Sentinel-1 as arrays; None: no radar.
        references: Arrays or paths of other dates.
        options: Fields of `RemoveOptions` by name.
        transform: Transform of arrays without coordinates.
        crs: CRS of arrays that state none.
    """

    ds: Any
    s1: Any
    references: Any
    options: Mapping[str, Any]
    transform: Any
    crs: Any


@dataclass(frozen=True, slots=True)
class Files:
    """Arguments as files.

    Attributes:
        options: Of the removal.
        scene: The scene, where it was an array.
        temporary: Outputs that are to be read into memory, by their options.
    """

    options: RemoveOptions
    scene: ArrayImage | None
    temporary: tuple[str, ...]


@dataclass(slots=True)
class _Plan:
    """Files that are to be written to a temporary folder, once everything else is known to be in order."""

    folder: Path
    transform: Affine | None
    crs: CRS | None
    named: bool
    images: dict[Path, ArrayImage] = field(default_factory=dict)
    copies: dict[Path, Any] = field(default_factory=dict)

    def path_of(self, value: Any, what: str, kind: Kind) -> str:
        """Path of an argument, which may have to be written."""
        if isinstance(value, str | os.PathLike):
            return os.fspath(value)
        if isinstance(value, OpenFile):
            return self._of_open_file(value, what)
        return self.spill(_as_xarray(value, what, self), what, kind)

    def spill(self, array: Any, what: str, kind: Kind) -> str:
        """Plan to write an array."""
        path = self.folder / what
        named = kind == "image" and what == "ds" and self.named
        self.images[path] = image_of(array, what, kind, named=named, transform=self.transform, crs=self.crs)
        return str(path)

    def _of_open_file(self, dataset: Any, what: str) -> str:
        """The path of a file that is open; what is not a file, such as a WarpedVRT, is copied."""
        if dataset.closed or dataset.mode != "r":
            state = "is closed" if dataset.closed else f"is open for writing (mode {dataset.mode})"
            raise InputError(
                f"{what}: {dataset.name} {state}; expected a dataset open for reading. Open it again."
            )
        if _is_file(dataset):
            return str(dataset.name)
        path = self.folder / what
        self.copies[path] = dataset
        return str(path)

    def write(self, progress: Progress) -> None:
        """Write all files."""
        sizes = [each.bytes for each in self.images.values()]
        copied = [
            each.count * each.height * each.width * np.dtype(each.dtypes[0]).itemsize
            for each in self.copies.values()
        ]
        check_room(self.folder, sum(sizes) + sum(copied))
        done = 0

        def more(written: int) -> None:
            nonlocal done
            done += written
            progress("read", min(done / max(sum(sizes), 1), 1.0))

        for path, image in self.images.items():
            write_image(image, path, more)
        for path, dataset in self.copies.items():
            try:
                rasterio.shutil.copy(dataset, path, driver="GTiff", bigtiff="if_safer")
            except RasterioError as error:
                raise InputError(
                    f"{path.name}: {dataset.name} cannot be read ({error}); expected a complete "
                    "image. Give the path of its file."
                ) from error


@contextmanager
def as_files(arguments: Arguments, progress: Progress) -> Iterator[Files]:
    """Write what is not a file yet to temporary files, which are removed in the end.

    Args:
        arguments: Of the call.
        progress: Called with the stage "read" and the part of it that is done.

    Yields:
        The options of a removal.

    Raises:
        CmcrError: An argument cannot be used.
    """
    options = dict(arguments.options)
    for name in ("stac", "report"):
        if options.get(name) is not None:
            raise OptionError(
                f"{name}={options[name]} with arrays: it would name temporary files as inputs; expected "
                "files. Write the arrays to files, as with ds.rio.to_raster, or leave it out."
            )
    if options.get("resume"):
        raise OptionError(
            "resume=True with arrays, which are in temporary files that a later run does not find; expected "
            "files. Write the arrays to files, as with ds.rio.to_raster, or leave it out."
        )
    with _temporary_folder(options.get("output")) as folder, _without(folder):
        plan = _Plan(
            folder, _affine(arguments.transform), _crs(arguments.crs), options.get("bands") is not None
        )
        inputs: dict[str, Any] = {"s2": plan.path_of(arguments.ds, "ds", "image")}
        scene = plan.images.get(folder / "ds")
        if arguments.s1 is not None:
            inputs["s1"] = plan.path_of(arguments.s1, "s1", "radar")
        inputs["references"] = tuple(_references(arguments.references, scene, plan))
        if "mask" in options:
            options["mask"] = plan.path_of(options["mask"], "mask", "mask")
        temporary = _unnamed(options, bool(inputs["references"]))
        made = {name: folder / f"{name}.tif" for name in temporary}
        chosen = RemoveOptions(**{**options, **inputs, **made})
        check_files(chosen)  # before lazy arrays are computed, which may take long
        plan.write(progress)
        yield Files(chosen, scene, temporary)


@contextmanager
def _temporary_folder(output: Any) -> Iterator[Path]:
    """A folder beside the output, where there is room for images; /tmp may be in memory."""
    beside = Path(output).absolute().parent if isinstance(output, str | os.PathLike) else None
    place = beside if beside is not None and beside.is_dir() and os.access(beside, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=".cmcr-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _without(folder: Path) -> Iterator[None]:
    """Name arguments in messages, and not their temporary files."""
    try:
        yield
    except CmcrError as error:
        error.args = tuple(
            each.replace(f"{folder}{os.sep}", "") if isinstance(each, str) else each for each in error.args
        )
        raise


def _unnamed(options: Mapping[str, Any], references: bool) -> tuple[str, ...]:
    """Rasters without a path that are to be made all the same, for the result in memory."""
    if options.get("output") is not None:
        return ()
    applies = {"uncertainty": options.get("samples", 1) != 1, "source_date": references}
    return tuple(name for name in OUTPUTS if options.get(name) is None and applies.get(name, True))


def _references(value: Any, scene: ArrayImage | None, plan: _Plan) -> Iterator[str]:
    """Paths of the references."""
    # What has dimensions is one array, of whatever library.
    lone = isinstance(value, str | os.PathLike | xr.Dataset | OpenFile) or hasattr(value, "ndim")
    try:
        several = [value] if lone else list(value)
    except TypeError as error:
        raise InputError(
            f"references: found {kind_of(value)}; expected one or a list of what ds may be. Put them in a "
            "list."
        ) from error
    for number, each in enumerate(several):
        what = f"references[{number}]"
        if isinstance(each, str | os.PathLike | OpenFile):
            yield plan.path_of(each, what, "image")
            continue
        parts = list(each_time(_as_xarray(each, what, plan), what))
        for array, name in parts:
            # A cube of all dates holds that of the scene too.
            itself = scene is not None and len(parts) > 1 and time_of(scene.array) == time_of(array)
            if not itself or time_of(array) is None:
                yield plan.spill(array, name, "image")


def _as_xarray(value: Any, what: str, plan: _Plan) -> Any:
    """An array as a DataArray."""
    if isinstance(value, xr.Dataset | xr.DataArray):
        return value
    if not all(hasattr(value, name) for name in ("shape", "dtype", "ndim")):
        raise InputError(f"{what}: found {kind_of(value)}; expected {EXPECTED}. Give one of these.")
    if value.ndim not in (2, 3):
        raise InputError(f"{what}: found {kind_of(value)}; expected an array (band, y, x). Select one image.")
    if value.ndim == 3 and value.shape[2] <= MOST_LAYERS < value.shape[0]:
        raise InputError(
            f"{what}: found {kind_of(value)}, which has its bands last; expected an array (band, y, x). "
            "Move them, as in np.moveaxis(array, -1, 0)."
        )
    if plan.transform is None or plan.crs is None:
        raise InputError(
            f"{what}: found {kind_of(value)}, of which no place on the map is known; expected its transform "
            "and CRS too. Give both, as in remove_dataset(array, transform=file.transform, crs=file.crs)."
        )
    attrs = {}
    if isinstance(value, np.ma.MaskedArray):
        usual = np.ma.default_fill_value(value)
        # The usual value means nothing, and could be a measurement. That of rasterio is the nodata value.
        means = value.fill_value not in (usual, np.asarray(usual).astype(value.dtype))
        fill = value.fill_value if means else np.nan if value.dtype.kind == "f" else 0
        value, attrs = value.filled(fill), {"_FillValue": fill}
    return xr.DataArray(value, dims=("band", "y", "x")[-value.ndim :], attrs=attrs)


def _is_file(dataset: Any) -> bool:
    """Whether its name leads to what is open: not to an overview, to pixels in memory or to a warped view."""
    if type(dataset) is not rasterio.io.DatasetReader:
        return False
    try:
        with rasterio.open(dataset.name) as again:
            return all(
                getattr(again, name) == getattr(dataset, name)
                for name in ("shape", "count", "dtypes", "transform", "crs", "nodatavals")
            )
    except (RasterioError, OSError):
        return False


def _affine(transform: Any) -> Affine | None:
    if transform is None or isinstance(transform, Affine):
        return transform
    raise OptionError(
        f"transform: found {kind_of(transform)}; expected an affine.Affine, such as the transform of a "
        "rasterio dataset. Make one with rasterio.transform.from_origin."
    )


def _crs(crs: Any) -> CRS | None:
    if crs is None:
        return None
    try:
        return CRS.from_user_input(crs)
    except (CRSError, TypeError, ValueError) as error:
        raise OptionError(
            f"crs: {crs!r} is not understood ({error}); expected a coordinate reference system, such as "
            '"EPSG:32631". Correct it.'
        ) from error
