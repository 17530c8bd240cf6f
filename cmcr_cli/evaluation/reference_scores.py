"""Protocol R: real series with references, scored on covered pixels, and other ways to use references."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cmcr_cli.evaluation.cloud_scores import find_mask
from cmcr_cli.evaluation.reference_methods import METHODS
from cmcr_cli.evaluation.restoration import CONTEXT, Scored, Scores, label
from cmcr_cli.evaluation.series import GAPS, HOLES, TARGETS, Case, Gap, Hole, cases
from cmcr_cli.evaluation.tables import Row, Table
from cmcr_cli.ground.radar_basis import MARGIN
from cmcr_cli.ground.reference_learning import fit_references, padded
from cmcr_cli.ground.references import View
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.model.weights import Weights
from cmcr_cli.scene.masks.mask_codes import CloudClass
from cmcr_cli.scene.radiometry import RADAR_FLOOR_DB
from cmcr_cli.training.data.images import Array, ClearImage
from cmcr_cli.training.metrics import covered_only
from cmcr_cli.training.samples.held_out import Check, as_batch, restored
from cmcr_cli.training.samples.patch_samples import Clouded, Sample

ALONE = "1 step"
"""Row of the network without references."""

ALL_ALONE = "references alone"
"""Row of what the references and the radar predict, without the network."""

OWN_MASKS = "three cloudy, own masks"
"""Name of the references of "three cloudy" with the masks that cmcr finds."""

NOTE = (
    "Clear dates of real series under painted opaque cloud, scored on covered pixels over the bands present. "
    "days: to the nearest reference. context alone and 1 step have no references. references alone: the "
    "prediction from references and radar without the network. The networks were trained "
    "on these places; nothing else here is trained."
)

Key = tuple[Gap, Hole]
Ended = dict[str, list[tuple[Key, Scored]]]


def score_references(
    data: Path, weights: Weights, limit: int | None, progress: Callable[[float], None]
) -> Ended:
    """Score all methods on all cases.

    Args:
        data: Folder of the gathered layout.
        weights: The networks, ready for inference.
        limit: Largest number of targets for each place and gap; None: TARGETS.
        progress: Called with the share that is done, 0 to 1.

    Returns:
        Gap and hole with the scores of each case, by set of references.
    """
    ended: Ended = defaultdict(list)
    last, alone = "", dict[str, Scores]()
    for case in cases(data, targets=min(limit or TARGETS, TARGETS), progress=progress):
        if case.name != last:
            last, sample = case.name, sample_of(case)
            alone = _scored(case, without_references(sample, weights))
        for variant, each in _with_own_masks(case, weights.clouds):
            images = {name: method(each) for name, method in METHODS.items()}
            images |= with_references(each, sample, weights)
            rows = alone | _scored(each, images)
            scored = Scored(each.name, float(each.covered.mean()), rows)
            ended[variant].append(((each.gap, each.hole), scored))
    return dict(ended)


def sample_of(case: Case) -> Sample:
    """Make the inputs of the network for a case without its references.

    Args:
        case: The case.

    Returns:
        The sample; its context is fitted to what is clear.
    """
    ground = ClearImage(case.target, case.present, case.radar, case.place)
    shadow = np.zeros_like(case.opacity)
    cover = (case.covered | ~case.valid).astype(np.float32)
    return Check(case.name, Clouded(ground, case.seen, case.opacity, shadow, True), cover).sample()


@torch.inference_mode()
def without_references(sample: Sample, weights: Weights) -> dict[str, Array]:
    """Restore a case as `remove` does without references.

    Args:
        sample: From `sample_of`.
        weights: The networks.

    Returns:
        Reflectance (13, H, W) by row: the context alone, and 1 step.
    """
    image = restored(weights.denoiser, as_batch(sample), 1)[0].numpy()
    return {CONTEXT: sample.context.float().numpy(), ALONE: image}


@torch.inference_mode()
def with_references(case: Case, sample: Sample, weights: Weights) -> dict[str, Array]:
    """Restore a case as `remove` does with references: their prediction alone, and 1 and 4 steps.

    Args:
        case: The case.
        sample: The inputs of the network without references.
        weights: The networks.

    Returns:
        Reflectance (13, H, W) by the name of the method.
    """
    radar, valid = case.radar, None
    if radar is not None:
        valid = np.asarray(np.isfinite(radar).all(axis=0))
        radar = np.nan_to_num(radar, nan=float(RADAR_FLOOR_DB[0]))
    views = [View(each.reflectance, each.clear) for each in case.references]
    seen = case.seen * case.clear
    context, references = fit_references(seen, case.clear, radar, valid, case.present, views)
    around = [(MARGIN, MARGIN)] * 2
    if radar is not None and valid is not None:
        radar = np.pad(radar, [(0, 0), *around], mode="reflect")
        valid = np.pad(valid, around, mode="reflect")
    height, width = case.clear.shape
    wide = [padded(view) for view in views]
    expected = references.evaluate(context, 0, 0, height, width, radar, valid, wide)
    batch = replace(
        as_batch(sample),
        context=torch.from_numpy(expected.spectrum)[None],
        confidence=torch.from_numpy(expected.confidence)[None, None],
        doubt=torch.from_numpy(expected.doubt)[None, None],
    )
    images = {ALL_ALONE: expected.spectrum}
    for steps in (1, 4):
        images[f"{label(steps)}, references"] = restored(weights.denoiser, batch, steps)[0].numpy()
    return images


def _with_own_masks(case: Case, network: CloudNetwork) -> Iterator[tuple[str, Case]]:
    """Yield a case, and again with the masks that the network finds in its cloudy references."""
    yield case.variant, case
    if case.variant == "three cloudy":
        found = []
        for each in case.references:
            classes, _ = find_mask(network, each.reflectance, each.present)
            clear = (classes == CloudClass.CLEAR).repeat(2, axis=0).repeat(2, axis=1)
            found.append(replace(each, clear=clear & (each.reflectance[each.present] > 0).all(axis=0)))
        yield OWN_MASKS, replace(case, references=tuple(found))


def _scored(case: Case, images: Mapping[str, Array]) -> dict[str, Scores]:
    bands = case.present
    return {
        name: covered_only(image[bands], case.target[bands], case.covered) for name, image in images.items()
    }


def reference_tables(ended: Ended) -> Iterator[Table]:
    """Mean and worst PSNR and MAE by gap and size of hole, one column for each method.

    Args:
        ended: Result of `score_references`.

    Yields:
        Four tables for each set of references.
    """
    for variant, scored in ended.items():
        for metric, worst in (("psnr", min), ("mae", max)):
            for kind, over in (("mean", _mean), ("worst", worst)):
                title = f"R, references, {variant}: {kind} {metric.upper()}"
                rows = {name: _over(group, metric, over) for name, group in _groups(scored)}
                yield Table(title, NOTE, tuple(scored[0][1].rows), rows)


def _groups(scored: Sequence[tuple[Key, Scored]]) -> Iterator[tuple[str, list[Scored]]]:
    """Cases by gap and hole, and all of them, with the names of their rows."""
    for gap in GAPS:
        for hole in HOLES:
            if group := [one for key, one in scored if key == (gap, hole)]:
                yield f"{gap}, {hole}, n={len(group)}", group
    yield f"all, n={len(scored)}", [one for _, one in scored]


def _over(group: Sequence[Scored], metric: str, over: Callable[[list[float]], float]) -> Row:
    return {name: over([one.rows[name][metric] for one in group]) for name in group[0].rows}


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
