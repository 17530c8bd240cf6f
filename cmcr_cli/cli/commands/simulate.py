"""`cmcr simulate`."""

from __future__ import annotations

from dataclasses import astuple

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, set_verbosity, show_progress

EXAMPLES = """\
  cmcr simulate demo --size 1024 --seed 1
  cmcr simulate whole --size 10980 --seed 7 --cloud-cover 0.6"""


def simulate(
    out_dir: opt.OutDir,
    *,
    size: opt.Size,
    seed: opt.SceneSeed,
    cloud_cover: opt.CloudCover = 0.4,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Write a synthetic pair of Sentinel-2 and Sentinel-1 with its ground truth.

    Writes s2.tif (cloudy), s1.tif, truth.tif (s2 without clouds) and mask.tif (SCL codes: 4 clear, 9 cloud,
    10 haze, 3 shadow), in UTM.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.simulate import simulate_scene

    with show_progress(quiet) as progress:
        scene = simulate_scene(
            out_dir,
            size=size,
            seed=seed,
            cloud_cover=cloud_cover,
            overwrite=overwrite,
            progress=lambda done: progress("simulate", done),
        )
    if json:
        print_json(scene)
    elif not quiet:
        echo("\n".join(map(str, astuple(scene))))
