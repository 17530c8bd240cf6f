"""Everything that is open during one removal: weights and devices, the scene and its radar, the mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import rasterio
import torch

from cmcr_cli.addresses import public
from cmcr_cli.errors import OptionError, WeightsError
from cmcr_cli.model.weights import Weights, default_path
from cmcr_cli.option_types import ARRAYS, kind_of
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.catalogue.stac_item import scene_time
from cmcr_cli.output.claims import Claims, check_writable
from cmcr_cli.output.inputs import Inputs
from cmcr_cli.output.lock import restore_old
from cmcr_cli.removal.opening.guide import open_guide
from cmcr_cli.removal.opening.native_files import NativeFile, native_outputs
from cmcr_cli.removal.opening.opened import Model, load_model, open_s2
from cmcr_cli.removal.opening.reference_check import aligned_reference
from cmcr_cli.removal.survey.mask_choice import KnownMasks, chosen_mask
from cmcr_cli.removal.survey.mask_sources import MaskSource
from cmcr_cli.runtime.allocator import tune_allocator
from cmcr_cli.runtime.workers import WorkerPool, open_workers
from cmcr_cli.scene.area import Area, area_of_bbox, area_of_file
from cmcr_cli.scene.environment import check_environment
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.layers.radiometry_check import check_radiometry
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radar import Radar, open_radar
from cmcr_cli.scene.references.entries import path_of_entry
from cmcr_cli.scene.references.listing import LeftOut
from cmcr_cli.scene.references.reference import MOST, Reference, Wanted, open_references
from cmcr_cli.warning_kinds import ReferenceWarning, WarningLog

Progress = Callable[[str, float], None]
"""Called with the name of the stage and the part of it that is done, 0 to 1."""

CACHE_BYTES = 160 * 2**20
"""GDAL's block cache: two rows of blocks of a whole scene, since strips of patches straddle blocks."""


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that is open during one removal.

    Attributes:
        options: Inputs, outputs and settings.
        weights: The networks and what comes with them.
        devices: The devices that compute.
        workers: Threads that share out the work.
        optical: The scene.
        radar: Sentinel-1 on its grid; None: no radar.
        mask: Says where the scene is covered.
        area: The area of interest; None: the whole scene.
        references: Open references, the most promising first, a guide last.
        references_left_out: Those that are not used, and why.
        warnings: Warnings of this run, which may still grow.
        masks: Cloud maps of references, also of earlier scenes.
        inputs: The inputs as they were understood.
        native: The files of `--native`.
    """

    options: RemoveOptions
    weights: Weights
    devices: tuple[torch.device, ...]
    workers: WorkerPool
    optical: Optical
    radar: Radar | None
    mask: MaskSource
    area: Area | None
    references: tuple[Reference, ...]
    references_left_out: tuple[LeftOut, ...]
    warnings: WarningLog
    masks: KnownMasks
    inputs: Inputs
    native: tuple[NativeFile, ...] = ()

    @property
    def device(self) -> str:
        """The devices that compute, as they are given to `--device`."""
        return ",".join(map(str, self.devices))


@contextmanager
def open_session(
    options: RemoveOptions, model: Model | None = None, *, others: Sequence[Path] = ()
) -> Iterator[Session]:
    """Check the outputs, load the weights, open and check the inputs.

    Args:
        options: Of the removal.
        model: Loaded weights; None: those of `options`.
        others: Outputs that `options` do not name.

    Yields:
        What is open.

    Raises:
        CmcrError: Anything is wrong.
    """
    claims = check_files(options, others)
    check_environment()
    tune_allocator()
    model = model or load_model(options.weights, options.device)
    weights, devices = model.weights, model.devices
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
        optical = stack.enter_context(open_s2(options))
        if options.stac is not None:
            scene_time(optical.tags, optical.path)
        claims.read(*optical.files)
        native = stack.enter_context(native_outputs(options, optical, claims))
        warnings = WarningLog()
        warnings.add(*optical.warnings, *check_radiometry(optical))
        area = _area_of(options, optical.grid)
        radar = None
        if options.radar is not None:
            radar = stack.enter_context(open_radar(options.radar, optical.grid, units=options.s1_units))
            claims.read(*radar.source.files)
            warnings.add(*radar.warnings)
        references, left_out = stack.enter_context(_references_of(options, optical, warnings))
        for each in references:
            claims.read(*each.optical.files, *([] if each.mask is None else [each.mask]))
        mask = stack.enter_context(chosen_mask(options, optical, weights.clouds))
        warnings.add(*mask.warnings)
        claims.check()  # with what only GDAL knew of
        workers = stack.enter_context(open_workers(weights, devices, options.batch_size, warnings))
        yield Session(
            options,
            weights,
            devices,
            workers,
            optical,
            radar,
            mask,
            area,
            references,
            left_out,
            warnings,
            model.masks,
            Inputs.of(optical, radar, references, bands=options.bands, units=options.s1_units),
            native,
        )


@contextmanager
def _references_of(
    options: RemoveOptions, optical: Optical, warnings: WarningLog
) -> Iterator[tuple[tuple[Reference, ...], tuple[LeftOut, ...]]]:
    """Open the references that are used, a guide last, and list what is left out."""
    with ExitStack() as stack:
        guide = stack.enter_context(open_guide(options.guide, optical))
        guides = (guide,) if isinstance(guide, Reference) else ()
        wanted = Wanted(
            most=min(options.max_references, MOST - len(guides)),
            earlier_only=options.earlier_only,
            days=options.reference_days,
        )
        found = stack.enter_context(open_references(options.references, optical, wanted))
        warnings.add(*found.warnings)
        left_out = found.left_out
        if isinstance(guide, LeftOut):
            left_out = (*left_out, guide)
            text = f"the guide {public(guide.path)} is left out: {guide.reason}"
            warnings.add(ReferenceWarning(text))
        dates = (stack.enter_context(aligned_reference(optical, each, warnings)) for each in found.used)
        yield (*dates, *guides), left_out


def check_options(options: object) -> None:
    """Check that options are options.

    Args:
        options: What the caller gave.

    Raises:
        OptionError: It is not a `RemoveOptions`, but perhaps an input itself.
    """
    if not isinstance(options, RemoveOptions):
        raise OptionError(
            f"found {kind_of(options)}; expected RemoveOptions, as in remove(RemoveOptions(s2=..., "
            f"output=...)). {ARRAYS}."
        )


def _area_of(options: RemoveOptions, grid: Grid) -> Area | None:
    """The area of interest on the grid of the scene, however it is given."""
    if options.aoi is not None:
        return area_of_file(options.aoi, grid)
    return None if options.bbox is None else area_of_bbox(options.bbox, grid)


def check_files(options: RemoveOptions, others: Sequence[Path] = ()) -> Claims:
    """Claim all files of a run, and check that the outputs can be written.

    Args:
        options: Of the removal.
        others: Outputs that `options` do not name.

    Returns:
        The claims.

    Raises:
        OptionError: `options` are something else.
        OutputError: Files meet, or an output cannot be written.
    """
    check_options(options)
    claims = Claims()
    claim(claims, options, others)
    claims.check()
    paths = [*options.outputs.values(), *others]
    restore_old(paths)
    for path in paths:
        check_writable(path, options.overwrite)
    return claims


def claim(claims: Claims, options: RemoveOptions, others: Sequence[Path] = ()) -> None:
    """Claim all files of a run.

    Args:
        claims: Receives them.
        options: Of the removal.
        others: Outputs that `options` do not name.

    Raises:
        OutputError: Two outputs meet.
    """
    references = set(map(path_of_entry, options.references))
    claims.read(*(path for path in options.inputs if path not in references))
    for reference in references:
        claims.read_references(reference)
    if options.mask_weights is not None:
        claims.read(options.mask_weights)
    with suppress(WeightsError):  # which is raised when they are loaded, if they are
        claims.read(options.weights or default_path())
    for path in (*options.outputs.values(), *others):
        claims.write(path)
    if options.native is not None:
        claims.write(options.native)
