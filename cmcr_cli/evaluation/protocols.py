"""One run of `cmcr evaluate`: selects the images, scores them, and makes the tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.evaluation import tables
from cmcr_cli.evaluation.cloud_scores import Truth, all_series, of_check, of_pair, of_series, score_clouds
from cmcr_cli.evaluation.folds import load_folds
from cmcr_cli.evaluation.mask_scores import mask_tables, network_masks, score_masks
from cmcr_cli.evaluation.reference_scores import reference_tables, score_references
from cmcr_cli.evaluation.regimes import by_regime, regime_tables, score_regimes
from cmcr_cli.evaluation.restoration import (
    Comparison,
    Scored,
    covered_pixels,
    other_date,
    under_haze,
    whole_image,
)
from cmcr_cli.evaluation.tables import Table
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudNetwork
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.weights import Weights
from cmcr_cli.runtime.device import pick_device
from cmcr_cli.training.data.images import Array, Pair
from cmcr_cli.training.data.labels import (
    FOLDS,
    LabelledImage,
    fold_of,
    has_labels,
    label_count,
    labelled_images,
)
from cmcr_cli.training.data.library import Library, load_library, load_pairs
from cmcr_cli.training.data.sen12mscr import SplitRule
from cmcr_cli.training.samples.held_out import evenly, transplanted

Progress = Callable[[str, float], None]
Chosen = Callable[[str], Iterator[tuple[str, Pair]]]
Split = Literal["train", "val", "test"]
Part = Literal["restoration", "clouds", "masks", "references"]

PAIRS = 32
"""Number of training pairs for the mean colour, and for the scores of the cloud network."""

TRAINED = " (trained on)"

A_NOTE = (
    "Whole image before compositing against the clear image of another date, per image, then the mean: PSNR "
    "dB, SSIM, SAM degrees, MAE reflectance, all bands jointly, clipped to [0, 1]. Cover as remove finds it. "
    "composite: the output of remove. seconds: median per 256x256 patch, with conditioning."
)
B_NOTE = (
    "Real clouds of training pairs over the clear images, scored on covered pixels. detail_db: power of "
    "structures of 80 m and less in 10 m bands relative to the truth, 0 is equally sharp; detail_match: "
    "their correlation with the truth, 0 is unrelated (both on 64 px windows that are entirely covered)."
)
REGION_NOTE = (
    "thin: opacity below 0.5 and no shadow; thick: opacity of 0.9 or more; shadow: shadow without cloud."
)
HAZE_NOTE = "Thin cirrus or haze over the clear images, scored as A; the truth is the same image."


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """Settings of an evaluation.

    Attributes:
        data: Folder of data, or the word `simulated`.
        weights: Weights file; None: the weights that come with cmcr.
        split: Which split.
        split_rule: How SEN12MS-CR is split.
        steps: Numbers of steps. The first is also scored without radar, without context, and composited.
        samples: Number of samples that are averaged for one row.
        limit: Number of images of the split, and of targets for each place and gap, evenly selected; None:
            all.
        device: Device, as for `--device`.
        only: Which part; None: all parts that the data allow.
        held_out: Weights that were trained without one fold of places, for scoring masks there.
    """

    data: Path
    weights: Path | None = None
    split: Split = "val"
    split_rule: SplitRule = "exact"
    steps: tuple[int, ...] = (1, 2, 4, 8)
    samples: int = 4
    limit: int | None = None
    device: str = "auto"
    only: Part | None = None
    held_out: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Raise OptionError for values out of range, and for --held-out if no masks are scored."""
        if self.held_out and self.only not in (None, "masks"):
            raise OptionError(
                f"--held-out with --only {self.only}: --held-out is for masks; omit one of them"
            )
        if not self.steps or not all(1 <= steps <= 64 for steps in self.steps):
            raise OptionError(f"--steps {self.steps}: expected numbers from 1 to 64, such as 1,2,4,8")
        for name, value in (("--samples", self.samples), ("--limit", self.limit)):
            if value is not None and value < 1:
                raise OptionError(f"{name} {value}: expected 1 or more")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        weights: Name and checksum of the weights.
        device: Device that was used.
        split: Which split.
        tables: All tables.
        images: Scores of every image by protocol.
    """

    weights: str
    device: str
    split: str
    tables: list[Table]
    images: dict[str, list[Scored]]


def evaluate(options: EvaluateOptions, progress: Progress = lambda stage, done: None) -> Evaluation:
    """Score the networks of a weights file and all baselines on one split of the data.

    Images, clouds and noise are the same in every run.

    Args:
        options: What to score.
        progress: Called with the stage and the part of it that is done, 0 to 1.

    Returns:
        All tables, and the scores of every image.

    Raises:
        InputError: The split is empty, or masks or references are requested and the data have none.
        OptionError: Weights of --held-out name no fold, or two of them the same fold.
        WeightsError: A weights file cannot be used.
    """
    wanted = options.only == "masks" or bool(options.held_out)
    if wanted and not has_labels(options.data):
        raise InputError(
            f"{options.data}: found no labels/items.json, which is needed to score masks; expected a folder "
            "with labels, or neither --only masks nor --held-out"
        )
    folds = load_folds(options.held_out)
    device = pick_device(options.device)
    weights = None
    if not folds or options.only is None:
        weights = weights_file.load(options.weights or weights_file.default_path())
        to_inference(weights.denoiser, device)
        to_inference(weights.clouds, device)
    for each in folds.values():
        to_inference(each.clouds, device)
    found: list[Table] = []
    images: dict[str, list[Scored]] = {}
    if options.only in (None, "restoration", "clouds") and weights is not None:
        found, images = _by_split(options, weights, progress)
    if options.only in (None, "references") and weights is not None:
        more, scored = _with_references(options, weights, progress)
        found, images = found + more, images | scored
    if options.only in (None, "masks") and has_labels(options.data):
        found += _mask_tables(options.data, weights, folds, progress)
    label = weights.label if weights is not None else ", ".join(each.label for each in folds.values())
    return Evaluation(label, str(device), options.split, found, images)


def _by_split(
    options: EvaluateOptions, weights: Weights, progress: Progress
) -> tuple[list[Table], dict[str, list[Scored]]]:
    """Score restored images and the cloud network on one split."""
    library = load_library(options.data, options.split_rule)
    pairs = load_pairs(options.data, options.split, options.split_rule)
    names = evenly(list(pairs), options.limit)
    if not names:
        raise InputError(
            f"{options.data}: found no image of the split {options.split}; expected some, or another "
            "--split. `cmcr data check` lists the content of the folder."
        )

    def chosen(stage: str) -> Iterator[tuple[str, Pair]]:
        for done, name in enumerate(names):
            progress(stage, done / len(names))
            yield name, pairs[name]
        progress(stage, 1.0)

    where = options.split + (TRAINED if options.split == "train" else "")
    found: list[Table] = []
    images: dict[str, list[Scored]] = {}
    if options.only != "clouds":
        setting = Comparison.of(weights, _mean_colour(library), options.steps, options.samples)
        images = _restored(setting, library, chosen)
        regimes = score_regimes(by_regime(chosen("regimes"), library.pairs, setting), setting)
        images |= {f"C {regime}": scored for regime, scored in regimes.items()}
        found += [
            *_whole_tables(f"A, other date, {where}", A_NOTE, images["A"], setting),
            *_covered_tables(f"B, same date, {where}", images["B"], setting),
            *regime_tables(f"C, same date, {where}", regimes),
            *_whole_tables(f"Thin cirrus or haze, same date, {where}", HAZE_NOTE, images["haze"], setting),
        ]
    if options.only != "restoration":
        found += tables.cloud_tables(_cloud_rows(options.data, where, weights, library, chosen))
    return found, images


def _with_references(
    options: EvaluateOptions, weights: Weights, progress: Progress
) -> tuple[list[Table], dict[str, list[Scored]]]:
    """Score restoring with references on the series of the data."""
    ended = score_references(options.data, weights, options.limit, lambda done: progress("references", done))
    if not ended and options.only == "references":
        raise InputError(
            f"{options.data}: found no series with two clear dates; expected places/*.npz or optical/*.npz "
            "with s2_dates, which --only references scores"
        )
    images = {f"R {variant}": [one for _, one in scored] for variant, scored in ended.items()}
    return list(reference_tables(ended)), images


def _restored(setting: Comparison, library: Library, chosen: Chosen) -> dict[str, list[Scored]]:
    """Score every image, by protocol."""
    weights = setting.weights
    return {
        "A": [whole_image(check, setting) for check in other_date(chosen("other date"), weights)],
        "B": [
            covered_pixels(check, setting)
            for check in transplanted(chosen("same date"), library.pairs)
            if check.covered.any()
        ],
        "haze": [whole_image(check, setting) for check in under_haze(chosen("haze"), weights)],
    }


def _mask_tables(
    data: Path, weights: Weights | None, folds: Mapping[int, Weights], progress: Progress
) -> list[Table]:
    """Score masks on labelled images, with the weights of the fold of each image, or with `weights`."""

    def network_of(item: LabelledImage) -> CloudNetwork:
        if weights is not None and not folds:
            return weights.clouds
        return folds[fold_of(item.place)].clouds

    def images() -> Iterator[LabelledImage]:
        count = label_count(data)
        for done, item in enumerate(labelled_images(data)):
            progress("masks", done / count)
            if not folds or fold_of(item.place) in folds:
                yield item
        progress("masks", 1.0)

    makers = (network_masks(network_of, sunlit=sunlit) for sunlit in (False, True))
    scores = score_masks(images(), *makers)
    if not folds:
        return mask_tables(scores, "places trained on", "never trained on, but other images of their places")
    where = "places held out"
    if len(folds) < FOLDS:
        where += f", fold{'s' * (len(folds) > 1)} {' and '.join(map(str, folds))} only"
    return mask_tables(scores, where, where)


def _mean_colour(library: Library) -> Array:
    """Mean reflectance (13,) of the clear images of training pairs."""
    means = [pair.clear.mean(axis=(1, 2)) for pair in evenly(library.pairs, PAIRS)]
    return np.asarray(np.mean(means, axis=0), dtype=np.float32)


def _whole_tables(title: str, note: str, scored: Sequence[Scored], setting: Comparison) -> Iterator[Table]:
    yield tables.mean_table(title, note, ("psnr", "ssim", "sam", "mae"), scored, setting.gflop)
    yield tables.cover_table(title, scored)


def _covered_tables(title: str, scored: Sequence[Scored], setting: Comparison) -> Iterator[Table]:
    if not scored:  # possible if all clear images are under thin cirrus
        return
    metrics = ("psnr", "sam", "mae", "detail_db", "detail_match")
    yield tables.mean_table(title, B_NOTE, metrics, scored, setting.gflop)
    yield tables.cover_table(title, scored)
    yield tables.region_table(title, REGION_NOTE, scored)
    yield tables.context_table(title, scored, list(setting.gflop))


def _cloud_rows(
    data: Path, where: str, weights: Weights, library: Library, chosen: Chosen
) -> dict[str, dict[str, float]]:
    """Scores of `score_clouds` by set of images."""
    truths: dict[str, Iterator[Truth]] = {
        f"transplanted clouds, {where}": map(of_check, transplanted(chosen("clouds"), library.pairs)),
        f"thin cirrus or haze, {where}": map(of_check, under_haze(chosen("clouds under haze"), weights)),
        f"real pairs, train{TRAINED}": map(of_pair, evenly(library.pairs, PAIRS)),
        f"real pairs, {where}": (of_pair(pair) for _, pair in chosen("real pairs")),
    }
    for source, paths in all_series(data).items():
        truths[f"series {source}"] = itertools.chain.from_iterable(map(of_series, paths))
    return {name: score_clouds(weights.clouds, each) for name, each in truths.items()}
