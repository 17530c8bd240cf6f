"""The passes over a scene's references: what covers each, how it is read, and what that leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

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
from cmcr_cli.removal.survey.mask_sources import MaskSource
from cmcr_cli.removal.survey.reference_rows import COLUMNS, OtherDate, ReferenceReader, few_at_once
from cmcr_cli.removal.survey.tiles import Each, Progress, tile_rows
from cmcr_cli.runtime.allocator import trim_heap
from cmcr_cli.scene.bands import present
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.references.reference import Reference

FEWEST = 0.005
"""Share of a scene that a reference must show clear to be of use."""

EXPLAINS_NOTHING = "none of its bands predicts the clear ground: does it show the same place?"

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


@dataclass(frozen=True, slots=True)
class ReferenceMasks:
    """Finds out what covers references.

    Attributes:
        options: Of the removal; they choose the mask of the references too.
        network: Finds clouds and shadows.
        known: Maps of references that were looked at before, for other scenes.
    """

    options: RemoveOptions
    network: CloudNetwork
    known: KnownMasks

    def find(self, reference: Reference, each: Each, progress: Progress) -> tuple[CloudMap, float]:
        """Find what covers a reference, unless it is known.

        Args:
            reference: Open on the grid of the scene.
            each: The builtin `map`, or one that works on several items at once.
            progress: Called with the part that is done, 0 to 1.

        Returns:
            Its cloud map, and the part of the scene that it shows clear, 0 to 1.
        """
        key = key_of(reference, self.options)
        found = self.known.find(key)
        if found is None:
            with mask_of_reference(self.options, reference, self.network) as mask:
                found = _marked(mask, reference.optical, each, progress)
            self.known.keep(key, *found)
        return found


def survey_references(
    optical: Optical,
    radar: Radar | None,
    cloud_map: CloudMap,
    ground: Ground,
    references: Sequence[Reference],
    masks: ReferenceMasks,
    *,
    each: Each = map,
    progress: Progress = lambda done: None,
) -> ReferenceSurvey:
    """Find out what the references of a scene say: one pass over each, and two over all of them.

    Args:
        optical: The scene.
        radar: Its radar.
        cloud_map: What covers it.
        ground: What its clear pixels taught.
        references: Open on its grid.
        masks: Finds out what covers them.
        each: The builtin `map`, or one that works on several items at once.
        progress: Called with the part that is done, 0 to 1.

    Returns:
        What was found.
    """
    *masking, sampling, filling = (
        _part(progress, step, len(references) + 2) for step in range(len(references) + 2)
    )
    unfit: list[tuple[int, str]] = []
    used: list[SurveyedReference] = []
    for index, reference in enumerate(references):
        found, share = masks.find(reference, each, masking[index])
        if share < FEWEST:
            unfit.append((index, f"only {100 * share:.1f} % of the scene is clear in it"))
        else:
            used.append(SurveyedReference(index, found, share, 1.0))
    bands, ratio = present(optical.names), ground.cirrus_ratio
    while used:
        others = [OtherDate(references[one.index].optical, one.cloud_map) for one in used]
        reader = ReferenceReader(optical, radar, cloud_map, others)
        guides = tuple(place for place, one in enumerate(used) if references[one.index].guide)
        collector = SampleCollector(reader.height, reader.width, len(others), guides)
        _pass(reader, collector, ratio, each, sampling)
        samples = collector.samples()
        useless = explains_nothing(samples, bands, np.square(ground.context.std))
        if not useless:
            break
        unfit += [(used[k].index, EXPLAINS_NOTHING) for k in useless]
        used = [one for k, one in enumerate(used) if k not in useless]
    if not used:
        return ReferenceSurvey((), None, tuple(unfit))
    bare, optimism = unfilled(samples, ground.context, bands, reader.height, reader.width)
    residuals = ResidualCollector(ground.context, bare, reader.height, reader.width)
    _pass(reader, residuals, ratio, each, filling, high=HIGH)
    fitted = residuals.finish(bands, optimism)
    return ReferenceSurvey(_with_errors(used, fitted), fitted, tuple(unfit))


def _with_errors(used: Sequence[SurveyedReference], fitted: References) -> tuple[SurveyedReference, ...]:
    errors = [fitted.readouts[k,].error if (k,) in fitted.readouts else 1.0 for k in range(len(used))]
    return tuple(replace(one, error=float(np.sqrt(error))) for one, error in zip(used, errors, strict=True))


def _marked(mask: MaskSource, optical: Optical, each: Each, progress: Progress) -> tuple[CloudMap, float]:
    """The map of an image that a mask makes, and the part of its grid that it shows clear."""
    cloud_map, clear = CloudMap.empty(optical.grid), 0
    mask.begin(each, lambda done: None)
    for tiles in tile_rows(optical, mask.above, mask.below):
        mask.mark(cloud_map, tiles, TYPICAL_RATIO)
        core = tiles.core
        shown = optical.valid(tiles.rows(core)) & (cloud_map.pixels(core.start, core.size) == 0)
        clear += int(shown.sum())
        progress(core.stop / optical.grid.height)
        del tiles  # before the next rows are read
    return cloud_map, clear / (optical.grid.height * optical.grid.width)


class _Collector(Protocol):
    """What a pass over the references is for."""

    step: int
    """Every how many rows and columns of a window a pixel is looked at."""

    def wants(self, top: int) -> bool:
        """Tell whether windows from this row on are of use; others are not read."""

    def add(self, window: Seen) -> None:
        """Take a window."""


def _pass(
    reader: ReferenceReader,
    collector: _Collector,
    ratio: np.float32,
    each: Each,
    progress: Progress,
    *,
    high: int = WINDOW,
) -> None:
    """Read the scene with its references once, and collect all windows in which anything is clear.

    They are `high` rows high.
    """
    for top in range(0, reader.height, high):
        height = min(high, reader.height - top) // 2 * 2
        if not height or not collector.wants(top):
            continue
        dn, clear = reader.scene(top, height)
        if clear.any():
            rows = reader.rows(top, height)

            def look(left: int) -> Seen | None:
                # Used at once, so the names of the loop may be bound late.
                return reader.seen(rows, dn, clear, left, ratio, collector.step)  # noqa: B023

            for window in few_at_once(each, look, range(0, reader.width, COLUMNS)):
                if window is not None:
                    collector.add(window)
            trim_heap()
        progress(min(top + high, reader.height) / reader.height)


def _part(progress: Progress, step: int, steps: int) -> Progress:
    """Progress of one of several steps."""
    return lambda done: progress((step + done) / steps)
