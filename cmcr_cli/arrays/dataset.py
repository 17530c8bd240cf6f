"""`remove_dataset` and `estimate_dataset`: the API for those who have arrays and not files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cmcr_cli.errors import InputError
from cmcr_cli.removal.estimation import Estimate, estimate
from cmcr_cli.removal.opening.opened import Model
from cmcr_cli.removal.opening.session import Progress
from cmcr_cli.removal.pipeline import remove

if TYPE_CHECKING:
    import xarray as xr
    from affine import Affine


def remove_dataset(
    ds: Any,
    s1: Any = None,
    references: Any = (),
    *,
    transform: Affine | None = None,
    crs: Any = None,
    model: Model | None = None,
    progress: Progress = lambda stage, done: None,
    **options: Any,
) -> xr.Dataset:
    """Remove the clouds of a scene that is an array; needs the extra `xarray`.

    `ds`, `s1`, each of `references` and the option `mask` may be a Dataset with a variable for each band, a
    DataArray (band, y, x), both in memory or lazy, an array of numpy or Dask with `transform` and `crs`, an
    open rasterio dataset, or a path. Arrays are computed once, block by block, and written to temporary
    files: beside `output`, or in TMPDIR where that is not given.

    Args:
        ds: Sentinel-2 of one time. Bands are named as layers of files are: by variables, the coordinate of
            the bands or their long_name, or by `bands`. A variable SCL serves for `mask="scl"`.
        s1: Sentinel-1 VV and VH, on any grid; None: no radar.
        references: Other dates of the same ground, one or several. One with several times stands for all of
            them, but for that of `ds`.
        transform: Transform of arrays without coordinates, such as those of numpy.
        crs: CRS of arrays that state none: anything that rasterio takes for one.
        model: From `load_model`.
        progress: Called with the stage and the part of it that is done, 0 to 1; the first stage is "read".
        options: Fields of `RemoveOptions`, such as `steps=4`, but for `resume`. Without `output`, the result
            is in memory. With it, the variables are read from the files when they are used, and only those
            are there whose files are named.

    Returns:
        `image` (band, y, x) in the dtype of `ds`, observed pixels bit for bit as they were; `provenance`
        (y, x); `uncertainty` (band, y, x) with `samples=2` or more; `source_date` (y, x) with references.
        Coordinates, CRS and attributes are those of `ds`, its attributes those of the image.

    Raises:
        CmcrError: Anything is wrong; no output is left behind.
    """
    prepared = _tools("prepared")
    arguments = prepared.Arguments(ds, s1, references, options, transform, crs)
    with prepared.as_files(arguments, progress) as files:
        remove(files.options, progress, model=model)
        found: xr.Dataset = _tools("restored").restored(files)
        return found


def estimate_dataset(
    ds: Any,
    s1: Any = None,
    references: Any = (),
    *,
    transform: Affine | None = None,
    crs: Any = None,
    model: Model | None = None,
    progress: Progress = lambda stage, done: None,
    **options: Any,
) -> Estimate:
    """Tell what `remove_dataset` would do with the same arguments; lazy arrays are computed for it.

    Args:
        ds: As for `remove_dataset`, and so are all others.
        s1: Sentinel-1.
        references: Other dates.
        transform: Transform of arrays without coordinates.
        crs: CRS of arrays that state none.
        model: From `load_model`.
        progress: Called with the stage and the part of it that is done, 0 to 1.
        options: Fields of `RemoveOptions`.

    Returns:
        What would be done, how long it would take, and how much memory.

    Raises:
        CmcrError: What `remove_dataset` would raise.
    """
    prepared = _tools("prepared")
    arguments = prepared.Arguments(ds, s1, references, options, transform, crs)
    with prepared.as_files(arguments, progress) as files:
        return estimate(files.options, progress, model=model)


def _tools(module: str) -> Any:
    """A module that needs xarray, which cmcr does without otherwise."""
    try:
        import_module("rioxarray")
    except ImportError as error:
        raise InputError(
            f"xarray and rioxarray are not installed ({error}); expected them for arrays. Install them with "
            "pip install rioxarray, which brings xarray."
        ) from error
    return import_module(f"cmcr_cli.arrays.{module}")
