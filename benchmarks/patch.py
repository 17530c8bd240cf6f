"""The denoiser alone: GFLOP and seconds per patch by steps, relative to the convolution peak of the same run.

    python benchmarks/patch.py [--steps 1 2 4 8] [--device cpu|cuda] [--batch 1]

The peak is that of a 3 x 3 convolution of 64 channels over 128 x 128 px in channels_last, on a CPU in one
thread, as the network runs there. "of peak" is the share of the peak that the network reaches.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from common import arguments, write_table
from torch.nn import functional as F

from cmcr_cli.ground.unmixing import LEVELS, NOTHING
from cmcr_cli.model.condition import Condition, PatchInputs
from cmcr_cli.model.costs import PATCH, gflop_per_patch
from cmcr_cli.model.network import to_inference
from cmcr_cli.model.pdmsr import sample
from cmcr_cli.model.weights import default_path, load
from cmcr_cli.runtime.allocator import tune_allocator

ROUNDS = 7


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Shortest time of several rounds, because other work on the machine can only add to it."""
    found = []
    for _ in range(ROUNDS):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter() if device.type == "cuda" else time.thread_time()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ended = time.perf_counter() if device.type == "cuda" else time.thread_time()
        found.append(ended - started)
    return min(found)


def peak(device: torch.device, batch: int) -> float:
    """Measure the GFLOP/s of a plain convolution."""
    size, channels, repeats = 128, 64, 8
    weight = torch.randn(channels, channels, 3, 3, device=device)
    x = torch.randn(batch, channels, size, size, device=device)
    weight, x = (t.contiguous(memory_format=torch.channels_last) for t in (weight, x))

    def call() -> None:
        for _ in range(repeats):
            F.conv2d(x, weight, padding=1)

    with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
        return 2 * 9 * channels**2 * size**2 * batch * repeats / seconds(call, device) / 1e9


def inputs(device: torch.device, batch: int) -> PatchInputs:
    def plane(channels: int) -> torch.Tensor:
        made = torch.rand(batch, channels, PATCH, PATCH, device=device)
        return made.contiguous(memory_format=torch.channels_last)

    vector = torch.full((batch, 13), 0.05, device=device)
    ones = torch.ones_like(vector)
    planes = plane(13), plane(13), plane(1), plane(1).round(), plane(2), plane(1)
    learnt = (torch.from_numpy(np.asarray(a, np.float32)).to(device) for a in (LEVELS, NOTHING))
    doubt = torch.ones_like(planes[2])
    levels, matrices = (a.expand(batch, *a.shape) for a in learnt)
    return PatchInputs(*planes, vector, ones, levels, matrices, doubt)


@torch.inference_mode()
def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    device, batch = options.device, options.batch
    if device.type == "cpu":
        torch.set_num_threads(1)
        tune_allocator()
    denoiser = load(default_path()).denoiser
    to_inference(denoiser, device)
    given = inputs(device, batch)
    condition, noise = Condition.of(given), given.optical - 0.5
    rows = []
    for steps in options.steps:
        gflop = gflop_per_patch(denoiser, steps)

        def call(steps: int = steps) -> object:
            with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
                return sample(denoiser, condition, steps, lambda step: noise)

        best = peak(device, batch)
        spent = seconds(call, device) / batch
        rows.append(
            {
                "steps": steps,
                "GFLOP": gflop,
                "ms per patch": 1000 * spent,
                "patches/s": 1 / spent,
                "GFLOP/s": gflop / spent,
                "convolution peak": best,
                "of peak": gflop / spent / best,
            }
        )
    write_table(
        options.results,
        f"patch-{device.type}",
        f"Network per patch of 256 x 256 px, {device}, batch {batch}",
        rows,
    )


if __name__ == "__main__":
    main()
