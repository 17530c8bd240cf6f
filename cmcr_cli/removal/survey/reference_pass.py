"""The passes over a scene's references: what covers each, how it is read, and what that leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from cmcr_cli.ground.cirrus import TYPICAL_RATIO
from cmcr_cli.ground.ground import Ground
from cmcr_cli.ground.reference_fit import explains_nothing
from cmcr_cli.ground.reference_learning import WINDOW, ResidualCollector, SampleCollector, Seen, unfilled
from cmcr_cli.ground.references import References
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.mask_choice import KnownMasks, key_of, mask_of_reference
from cmcr_cli.removal.survey.reference_rows import COLUMNS, OtherDate, ReferenceReader, few_at_once
from cmcr_cli.removal.survey.tiles import Each, Progress, tile_rows
from cmcr_cli.runtime.allocator import trim_heap
from cmcr_cli.scene.bands import present
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.references.reference import Reference

FEWEST = 0.005
"""Share of a scene that a reference must show clear to be of use."""

HIGH = 2 * WINDOW
"""Rows of windows where all are read: margins take less time in higher ones, and more memory."""


@dataclass(frozen=True, slots=True)
class SurveyedReference:
    """What the passes found about one reference.

    Attributes:
        index: Its place among those of the session.
        cloud_map: What covers it.
        clear_share: Part of the scene that it shows clear, 0 to 1.
        error: Expected root mean square error of a prediction from it alone, as a part of the standard
            deviation of the clear ground.
    """

    index: int
    cloud_map: CloudMap
    clear_share: float
    error: float


@dataclass(frozen=True, slots=True)
class ReferenceSurvey:
    """What the passes found.

    Attributes:
        used: The references that are used, in the order of `fitted`.
        fitted: How they are read.
        unfit: Places among those of the session, and why each is not used.
    """

    used: tuple[SurveyedReference, ...]
    fitted: References | None
    unfit: tuple[tuple[int, str], ...]


def survey_references(
    optical: Optical,
    radar: Radar | None,
    cloud_map: CloudMap,
    ground: Ground,
    references: Sequence[Reference],
    options: RemoveOptions,
    network: CloudNetwork,
    known: KnownMasks,
    *,
    each: Each = map,
    progress: Progress = lambda done: None,
) -> ReferenceSurvey:
    """Find out what the references of a scene say.

    Args:
        optical: The scene.
        radar: Its radar.
        cloud_map: What covers it.
        ground: What its clear pixels taught.
        references: Open on its grid.
        options: Of the removal; they choose the mask of the references too.
        network: That finds clouds and shadows.
        known: Maps of references that were looked at before, for other scenes.
        each: The builtin `map`, or one that works on several items at once.
        progress: Called with the part that is done, 0 to 1.

    Returns:
        What was found.
    """
    steps = len(references) + 2
    unfit: list[tuple[int, str]] = []
    used: list[SurveyedReference] = []
    for index, reference in enumerate(references):
        own, key = _part(progress, index, steps), key_of(reference, options)
        before = known.find(key)
        found, share = before or _covered(reference, optical, options, network, each, own)
        if before is None:
            known.keep(key, found, share)
        if share < FEWEST:
            unfit.append((index, f"only {100 * share:.1f} % of the scene is clear in it"))
        else:
            used.append(SurveyedReference(index, found, share, 1.0))
    while used:
        others = [OtherDate(references[each.index].optical, each.cloud_map) for each in used]
        reader = ReferenceReader(optical, radar, cloud_map, others)
        guides = tuple(place for place, one in enumerate(used) if references[one.index].guide)
        collector = SampleCollector(reader.height, reader.width, len(others), guides)
        part = _part(progress, steps - 2, steps)
        _pass(reader, ground, collector.add, collector.wants, WINDOW, collector.step, each, part)
        samples = collector.samples()
        bands = present(optical.names)
        useless = explains_nothing(samples, bands, np.square(ground.context.std))
        if not useless:
            break
        unfit += [(used[k].index, "no band of it explains anything: is it of this place?") for k in useless]
        used = [one for k, one in enumerate(used) if k not in useless]
    if not used:
        return ReferenceSurvey((), None, tuple(unfit))
    size = reader.height, reader.width
    bare, optimism = unfilled(samples, ground.context, bands, *size)
    residuals = ResidualCollector(ground.context, bare, *size)
    _pass(
        reader,
        ground,
        residuals.add,
        lambda top: True,
        HIGH,
        residuals.step,
        each,
        _part(progress, steps - 1, steps),
    )
    fitted = residuals.finish(bands, optimism)
    errors = [fitted.readouts[k,].error if (k,) in fitted.readouts else 1.0 for k in range(len(used))]
    surveyed = tuple(
        replace(one, error=float(np.sqrt(error))) for one, error in zip(used, errors, strict=True)
    )
    return ReferenceSurvey(surveyed, fitted, tuple(unfit))


def _covered(
    reference: Reference,
    scene: Optical,
    options: RemoveOptions,
    network: CloudNetwork,
    each: Each,
    progress: Progress,
) -> tuple[CloudMap, float]:
    """What covers a reference, and the part of the scene that it shows clear."""
    optical = reference.optical
    cloud_map, clear = CloudMap.empty(optical.grid), 0
    with ExitStack() as stack:
        mask = stack.enter_context(mask_of_reference(options, reference, network))
        mask.begin(each, lambda done: None)
        for tiles in tile_rows(optical, mask.above, mask.below):
            mask.mark(cloud_map, tiles, TYPICAL_RATIO)
            core = tiles.core
            shown = optical.valid(tiles.rows(core)) & (cloud_map.pixels(core.start, core.size) == 0)
            clear += int(shown.sum())
            progress(core.stop / optical.grid.height)
            del tiles  # before the next rows are read
    return cloud_map, clear / (scene.grid.height * scene.grid.width)


def _pass(
    reader: ReferenceReader,
    ground: Ground,
    take: Callable[[Seen], None],
    wants: Callable[[int], bool],
    high: int,
    step: int,
    each: Each,
    progress: Progress,
) -> None:
    """Read the scene with its references once, and hand over all windows in which anything is clear.

    They are `high` rows high, and of their rows and columns every `step`-th is looked at.
    """
    for top in range(0, reader.height, high):
        height = min(high, reader.height - top) // 2 * 2
        if not height or not wants(top):
            continue
        dn, clear = reader.scene(top, height)
        if clear.any():
            rows = reader.rows(top, height)

            def look(left: int) -> Seen | None:
                return reader.seen(rows, dn, clear, left, ground.cirrus_ratio, step)  # noqa: B023 (used at once)

            for window in few_at_once(each, look, range(0, reader.width, COLUMNS)):
                if window is not None:
                    take(window)
            trim_heap()
        progress(min(top + high, reader.height) / reader.height)


def _part(progress: Progress, step: int, steps: int) -> Progress:
    """Progress of one of several steps."""
    return lambda done: progress((step + done) / steps)
