"""`cmcr info`."""

from __future__ import annotations

import platform
from typing import Any

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, set_verbosity
from cmcr_cli.version import __version__

EXAMPLES = """\
  cmcr info --weights runs/student/weights.safetensors --json
  cmcr info --verify clear.tif"""

STEPS = (1, 4)


def info(
    weights: opt.Weights = None,
    verify: opt.Verify = None,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Print versions and devices, and describe the weights."""
    set_verbosity(verbose, quiet)
    from cmcr_cli.model import costs, network
    from cmcr_cli.model import weights as weights_file
    from cmcr_cli.output.validation import check_made_with

    path = weights or weights_file.default_path()
    loaded = weights_file.load(path)
    if verify is not None:
        check_made_with(verify, loaded.sha256)
    facts: dict[str, dict[str, Any]] = {
        "versions": _versions(),
        "devices": _devices(),
        "weights": {"path": str(path), "sha256": loaded.sha256, **loaded.card},
        "parameters": {
            "denoiser": network.parameters(loaded.denoiser),
            "clouds": network.parameters(loaded.clouds),
        },
        "gflop_per_patch": {
            str(steps): round(costs.gflop_per_patch(loaded.denoiser, steps), 2) for steps in STEPS
        },
    }
    if json:
        print_json(facts)
        return
    for topic, values in facts.items():
        echo(topic.replace("_", " "))
        for name, value in values.items():
            # The history's recipes are pages long: people get the names, --json has it all.
            echo(f"  {name}  {', '.join(value) if isinstance(value, dict) else value}")


def _versions() -> dict[str, str]:
    import numpy
    import pyproj
    import rasterio
    import torch

    return {
        "cmcr": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "rasterio": rasterio.__version__,
        "GDAL": rasterio.__gdal_version__,
        "PROJ": pyproj.proj_version_str,
    }


def _devices() -> dict[str, str]:
    """Devices of this machine as `--device` takes them, with their names."""
    import torch

    found = {"cpu": f"{platform.machine()}, {torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        found[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found
