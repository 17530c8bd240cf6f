"""Simple reference implementation: the whole scene in memory as floats, one patch after another.

    python benchmarks/reference.py S2 S1 OUTPUT [STEPS]

All pixels are covered, and the context is one colour everywhere. That is as much work as
`cmcr remove --mask all --no-context`, which has the prior in its place.
"""

from __future__ import annotations

import sys

import numpy as np
import rasterio
import torch

from cmcr_cli.ground.cirrus import TYPICAL_RATIO, without_cirrus
from cmcr_cli.ground.unmixing import LEVELS, NOTHING
from cmcr_cli.model.condition import Condition, PatchInputs, to_reflectance
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.pdmsr import sample
from cmcr_cli.model.weights import default_path, load
from cmcr_cli.scene.radiometry import scaled_radar

PATCH, OVERLAP = 256, 32


def starts(size: int) -> list[int]:
    return [*range(0, size - PATCH, PATCH - OVERLAP), size - PATCH]


@torch.inference_mode()
def main(s2: str, s1: str, output: str, steps: int) -> None:
    weights = load(default_path())
    to_inference(weights.denoiser, torch.device("cpu"))
    with rasterio.open(s2) as file:
        profile, image = file.profile, file.read().astype(np.float32) / 10_000
    with rasterio.open(s1) as file:
        radar = scaled_radar(file.read())
    ramp = np.minimum(np.arange(1, PATCH + 1), np.arange(PATCH, 0, -1)).clip(max=OVERLAP) / np.float32(
        OVERLAP
    )
    weight = np.outer(ramp, ramp).astype(np.float32)
    total, weights_sum = np.zeros_like(image), np.zeros(image.shape[1:], np.float32)
    one = torch.ones(1, 1, PATCH, PATCH)
    context = weights.mean[None, :, None, None].expand(1, -1, PATCH, PATCH)
    levels, matrices = (torch.from_numpy(np.asarray(a, np.float32))[None] for a in (LEVELS, NOTHING))
    for top in starts(image.shape[1]):
        for left in starts(image.shape[2]):
            here = (..., slice(top, top + PATCH), slice(left, left + PATCH))
            seen = torch.from_numpy(without_cirrus(image[here], TYPICAL_RATIO))[None]
            around = torch.from_numpy(radar[here])[None]
            inputs = PatchInputs(
                seen,
                context,
                0 * one,
                one,
                around,
                one,
                weights.std[None],
                torch.ones(1, 13),
                levels,
                matrices,
                one,
            )
            condition = Condition.of(inputs)
            z = sample(weights.denoiser, condition, steps, lambda step: torch.randn(1, 13, PATCH, PATCH))
            total[here] += to_reflectance(z, inputs)[0].numpy() * weight
            weights_sum[here] += weight
    pixels = np.rint(total / weights_sum * 10_000).clip(1, 65_535).astype(np.uint16)
    with rasterio.open(output, "w", **profile) as file:
        file.write(pixels)


if __name__ == "__main__":
    scene, radar, output, *steps = sys.argv[1:]
    main(scene, radar, output, int(steps[0]) if steps else 1)
