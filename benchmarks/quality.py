"""PSNR, SSIM, SAM and MAE of the shipped weights on validation scenes, beside their baselines.

    python benchmarks/quality.py ../shared/data [--weights FILE] [--json]

Protocol A: the triplets marked `val`, un-composited output against the clear image of another date, over
the whole image. Protocol B: real clouds of the training pairs transplanted onto the clear images of `val`, so
that the truth is of the same date; only covered pixels are scored.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.clouds import THRESHOLD
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.weights import Weights
from cmcr_cli.removal.survey import DILATION
from cmcr_cli.training.library import Array, Pair, load_library, load_triplets
from cmcr_cli.training.metrics import psnr, scores
from cmcr_cli.training.recipe import as_batch, restored, validation_samples
from cmcr_cli.training.samples import ClearImage, Clouded, Sample, assemble

Row = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One image: what the network gets, and its baselines."""

    sample: Sample
    baselines: dict[str, Array]


def other_date(pairs: dict[str, Pair], weights: Weights, mean: Array) -> Iterator[Case]:
    """Protocol A, with the mask that the shipped cloud network finds."""
    for pair in pairs.values():
        every = np.ones(13, bool)
        covered = find_cover(weights, pair.cloudy)
        nothing = np.zeros(covered.shape, np.float32)
        scene = Clouded(
            ClearImage(pair.clear, every, pair.radar), pair.cloudy, nothing, nothing, same_date=False
        )
        sample = assemble(scene, covered, every, pair.radar, context=True)
        yield Case(sample, {"cloudy input": pair.cloudy, "mean colour of train": flat(mean, pair.clear)})


def same_date(samples: list[Sample], mean: Array) -> Iterator[Case]:
    """Protocol B; the mean of the image's own clear pixels is a baseline here."""
    for sample in samples:
        seen, clear = sample.optical.float().numpy(), sample.cover[0].numpy() < 0.5
        own = seen[:, clear].mean(axis=1) if clear.any() else mean
        yield Case(
            sample,
            {
                "cloudy input": seen,
                "mean colour of train": flat(mean, seen),
                "mean of the clear pixels": flat(own, seen),
            },
        )


def flat(colour: Array, like: Array) -> Array:
    return np.broadcast_to(colour[:, None, None], like.shape).astype(np.float32)


@torch.inference_mode()
def find_cover(weights: Weights, cloudy: Array) -> np.ndarray:
    tile = F.avg_pool2d(torch.from_numpy(cloudy)[None], 2)
    cover = weights.clouds.cover(tile, torch.ones(1, 13))[:, None]
    grown = F.max_pool2d((cover > THRESHOLD).float(), 2 * DILATION + 1, 1, DILATION)
    return np.asarray(grown[0, 0].repeat_interleave(2, 0).repeat_interleave(2, 1) > 0)


@torch.inference_mode()
def images(case: Case, weights: Weights) -> dict[str, Array]:
    batch = as_batch(case.sample)
    out = {name: restored(weights.denoiser, batch, steps) for name, steps in (("1 step", 1), ("4 steps", 4))}
    context = {"context alone": batch.context}
    return case.baselines | {name: image[0].numpy() for name, image in (context | out).items()}


def table_a(cases: list[Case], weights: Weights) -> dict[str, Row]:
    rows: dict[str, list[Row]] = {}
    for case in cases:
        target = case.sample.target.float().numpy()
        for name, image in images(case, weights).items():
            rows.setdefault(name, []).append(scores(image, target))
    return {
        name: {k: float(np.mean([one[k] for one in each])) for k in each[0]} for name, each in rows.items()
    }


def table_b(cases: list[Case], weights: Weights) -> dict[str, Row]:
    rows: dict[str, list[float]] = {}
    for case in cases:
        target, where = case.sample.target.float().numpy(), case.sample.cover[0].numpy() > 0.5
        for name, image in images(case, weights).items():
            rows.setdefault(name, []).append(psnr(np.clip(image, 0, 1), target, where))
    return {name: {"psnr_covered": float(np.mean(each))} for name, each in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    weights = weights_file.load(options.weights or weights_file.default_path())
    for network in (weights.denoiser, weights.clouds):
        to_inference(network, torch.device("cpu"))
    train = load_triplets(options.data, "train").values()
    mean = np.mean([pair.clear.mean(axis=(1, 2)) for pair in train], axis=0).astype(np.float32)
    val = load_triplets(options.data, "val")
    letters = {
        "SEN12MS-CR (1302, 6553, 6780)": [n for n in val if n.startswith("oriolac")],
        "all of val": list(val),
    }
    result: dict[str, dict[str, Row]] = {}
    for title, names in letters.items():
        cases = list(other_date({name: val[name] for name in names}, weights, mean))
        result[f"A, other date, {title}"] = table_a(cases, weights)
    checks = validation_samples(options.data, load_library(options.data))
    result["B, same date, covered pixels of val"] = table_b(list(same_date(checks, mean)), weights)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    for title, rows in result.items():
        names = list(next(iter(rows.values())))
        print(f"\n{title}\n\n| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for name, row in rows.items():
            cells = (f"{row[k]:.3f}" if row[k] < 1 else f"{row[k]:.2f}" for k in names)
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
