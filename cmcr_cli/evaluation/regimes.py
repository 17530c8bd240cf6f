"""Protocol C: clear images under clouds of three regimes, by how much clear ground is left.

Each image is scored with the true mask and with the one that the cloud network finds; with radar and, in one
half of the images, without B10 as in Level-2A. Where the found mask misses a cloud, the cloud stays in the
image that is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from cmcr_cli.evaluation.restoration import CONTEXT, Comparison, Scored, found_cover, label
from cmcr_cli.evaluation.tables import Row, Table
from cmcr_cli.training.data.images import Array, ClearImage, Pair, cirrus_subtracted, clear_of
from cmcr_cli.training.metrics import covered_only
from cmcr_cli.training.samples.held_out import Check, as_batch, restored
from cmcr_cli.training.samples.patch_samples import Clouded
from cmcr_cli.training.samples.synthesis import cover_mask, transplant, under_deck, under_sky

NONE, HEAVY, USUAL = "no clear ground", "heavy, 85 to 99 %", "usual, 20 to 60 %"

OWN = ", own mask"
"""Suffix of the columns for which the cloud network makes the mask."""

TURNS = 2
"""Number of images of each regime for each clear image; every second one has no B10."""

GAPS = 0.01, 0.15
"""Share of the ground that stays clear under heavy cover."""

WANTED = 0.2, 0.6
"""Cover of the usual regime."""

TRIES = 30
"""Number of skies that are tried to find one of the usual cover."""

SEED = 21

COLOUR = "mean colour of train"

FEW_DB = 0.5
"""Loss in dB up to which an image does not count as below its baseline."""

NOTE = (
    "PSNR in dB of the pixels that are truly covered, mean over the images. no clear ground: a deck over the "
    "whole image; heavy: a deck with gaps, with or without real clouds; usual: real clouds. own mask: "
    "that of the cloud network; what it misses stays as it is. Half of the images have no B10."
)
GAIN_NOTE = (
    "Gain in dB over the context alone, or over the mean colour where no ground is clear: mean, lowest of an "
    f"image, and number of images that lose more than {FEW_DB} dB."
)


@dataclass(frozen=True, slots=True)
class RegimeCheck:
    """An image of a regime.

    Attributes:
        regime: Name of the regime, with OWN if the cloud network makes the mask.
        check: The image with the mask to restore.
        truly: Cover (H, W) by which it is scored.
    """

    regime: str
    check: Check
    truly: Array


def by_regime(
    pairs: Iterable[tuple[str, Pair]], clouds: Sequence[Pair], setting: Comparison
) -> Iterator[RegimeCheck]:
    """Yield clear images under clouds of each regime, the same in every run.

    Args:
        pairs: Names, and pairs whose clear images are used; those under thin cirrus are skipped.
        clouds: Pairs from which real clouds are extracted.
        setting: Has the cloud network.

    Yields:
        Images with the true mask, and with that of the network.
    """
    for number, (name, pair) in enumerate(pairs):
        truth = cirrus_subtracted(pair)
        if truth.lifted:
            continue
        for turn in range(TURNS):
            ground = _without_cirrus_band(clear_of(truth)) if turn % 2 else clear_of(truth)
            for kind, (regime, draw) in enumerate(_REGIMES.items()):
                scene, cover = draw(ground, clouds, np.random.default_rng([SEED, number, turn, kind]))
                title = f"{name} {turn}"
                if not cover.any():
                    continue
                yield RegimeCheck(regime, Check(title, scene, cover), cover)
                if regime != NONE:
                    found = found_cover(setting.weights, scene.cloudy, ground.present)
                    yield RegimeCheck(regime + OWN, Check(title, scene, found), cover)


@torch.inference_mode()
def score_regimes(checks: Iterable[RegimeCheck], setting: Comparison) -> dict[str, list[Scored]]:
    """Score the mean colour, the context alone, and the network at its first number of steps and at 4.

    Args:
        checks: From `by_regime`.
        setting: What is compared. Of its numbers of steps, the first and 4 are used.

    Returns:
        Scores by regime.
    """
    steps = sorted({setting.steps[0], *({4} & {*setting.steps})})
    scored: dict[str, list[Scored]] = {}
    for each in checks:
        check, truly = each.check, each.truly > 0
        sample = check.sample()
        batch, seen = as_batch(sample), check.scene.cloudy
        images = {
            COLOUR: np.broadcast_to(setting.colour[:, None, None], seen.shape),
            CONTEXT: sample.context.float().numpy(),
        }
        for count in steps:
            images[label(count)] = restored(setting.weights.denoiser, batch, count)[0].numpy()
        rows = {}
        for name, image in images.items():
            shown = np.where(check.covered, image, seen)
            rows[name] = {"psnr": covered_only(shown, check.scene.ground.optical, truly)["psnr"]}
        scored.setdefault(each.regime, []).append(Scored(check.name, float(truly.mean()), rows))
    return scored


def regime_tables(title: str, scored: Mapping[str, Sequence[Scored]]) -> list[Table]:
    """Make the tables of mean scores, and of gains over the baseline.

    Args:
        title: Begin of their titles.
        scored: From `score_regimes`.

    Returns:
        The tables; none without images.
    """
    if not scored:
        return []
    means: dict[str, Row] = {}
    gains: dict[str, Row] = {}
    for regime, images in scored.items():
        column, base = f"{regime}, n={len(images)}", COLOUR if regime == NONE else CONTEXT
        for row in images[0].rows:
            values = np.array([one.rows[row]["psnr"] for one in images])
            means.setdefault(row, {})[column] = float(values.mean())
            if row not in (COLOUR, CONTEXT):
                gain = values - [one.rows[base]["psnr"] for one in images]
                for what, figure in (
                    ("mean", gain.mean()), ("lowest", gain.min()), ("images below", (gain < -FEW_DB).sum())
                ):  # fmt: skip
                    gains.setdefault(f"{row}, {what}", {})[column] = float(figure)
    columns = tuple(f"{regime}, n={len(images)}" for regime, images in scored.items())
    return [
        Table(f"{title}, by regime", NOTE, columns, means),
        Table(f"{title}, by regime, gain over the baseline", GAIN_NOTE, columns, gains),
    ]


def _without_cirrus_band(ground: ClearImage) -> ClearImage:
    present = ground.present.copy()
    present[10] = False
    return replace(ground, present=present)


def _under_deck(
    ground: ClearImage, clouds: Sequence[Pair], rng: np.random.Generator, gaps: float
) -> tuple[Clouded, Array]:
    """A cloud deck; in half of the images there are real clouds below it, if there are any."""
    image, shape = ground.optical, ground.optical.shape[1:]
    opacity = shadow = np.zeros(shape, np.float32)
    if clouds and rng.random() < 0.5:
        image, opacity, shadow = transplant(image, clouds[int(rng.integers(len(clouds)))], rng)
    image, deck, _ = under_deck(image, rng, gaps)
    opacity = 1 - (1 - opacity) * (1 - deck)
    scene = Clouded(ground, image, opacity, shadow, same_date=True)
    cover = cover_mask(opacity, shadow, rng) if gaps else np.ones(shape, bool)
    return scene, cover.astype(np.float32)


def _under_clouds(
    ground: ClearImage, clouds: Sequence[Pair], rng: np.random.Generator
) -> tuple[Clouded, Array]:
    """Real clouds, or else simulated ones, of usual cover; the closest if none of some has it."""
    middle, most = sum(WANTED) / 2, (WANTED[1] - WANTED[0]) / 2

    def draw() -> tuple[float, Clouded, Array]:
        if clouds:
            made = transplant(ground.optical, clouds[int(rng.integers(len(clouds)))], rng)
        else:
            made = under_sky(ground.optical, rng)
        cover = cover_mask(made[1], made[2], rng).astype(np.float32)
        return abs(float(cover.mean()) - middle), Clouded(ground, *made, same_date=True), cover

    best = draw()
    for _ in range(TRIES):
        if best[0] <= most:
            break
        best = min(best, draw(), key=lambda drawn: drawn[0])
    return best[1:]


_Draw = Callable[[ClearImage, Sequence[Pair], np.random.Generator], tuple[Clouded, Array]]

_REGIMES: dict[str, _Draw] = {
    NONE: lambda ground, clouds, rng: _under_deck(ground, clouds, rng, 0.0),
    HEAVY: lambda ground, clouds, rng: _under_deck(ground, clouds, rng, float(rng.uniform(*GAPS))),
    USUAL: _under_clouds,
}
