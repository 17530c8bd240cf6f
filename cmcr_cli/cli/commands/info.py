"""`cmcr info`."""

from __future__ import annotations

import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, print_warnings, set_verbosity
from cmcr_cli.cli.from_fields import Chosen, takes_fields
from cmcr_cli.errors import OptionError
from cmcr_cli.options import RemoveOptions
from cmcr_cli.version import __version__

EXAMPLES = """\
  cmcr info s2.tif s1.tif
  cmcr info --verify clear.tif"""

STEPS = (1, 4)


@takes_fields("info")
def info(
    s2: opt.OfInfo = None,
    *,
    chosen: Chosen,
    weights: opt.Weights = None,
    verify: opt.Verify = None,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Print how cmcr reads a scene and its other inputs, or describe the installation.

    With S2: product, bands, units, grid and date of each input, as remove would use them; nothing is computed
    or written. Without S2: versions, devices and weights.
    """
    set_verbosity(verbose, quiet)
    if s2 is not None:
        if verify is not None:
            raise OptionError(
                f"--verify {verify} cannot be combined with S2; expected one of the two. Run cmcr info once "
                "for each."
            )
        _print_inputs(RemoveOptions(**chosen, s2=s2, output=Path("clear.tif")), json)
        return
    if any(value not in (None, (), "auto") for value in chosen.values()):
        raise OptionError(
            "options of inputs were given without S2; expected S2 as well, as in cmcr info s2.tif."
        )
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


def _print_inputs(options: RemoveOptions, json: bool) -> None:
    """Print what is understood of inputs; raises why the scene cannot be used afterwards."""
    from cmcr_cli import removal

    found = removal.inspect(options)
    print_warnings(found.warnings)
    if json:
        print_json({"inputs": asdict(found.inputs), "warnings": found.warnings})
    else:
        for kind, path, rows in found.inputs.blocks():
            echo(f"{kind}  {path}")
            for name, text in rows:
                echo(f"  {name}  {text}")
    if found.fault is not None:
        raise found.fault


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
