"""`cmcr simulate`."""

from __future__ import annotations

from dataclasses import asdict

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, set_verbosity, show_progress
from cmcr_cli.option_paths import check_output_folder

EXAMPLES = """\
  cmcr simulate demo --size 1024 --seed 1 --dates 4
  cmcr simulate whole --size 10980 --seed 7 --cloud-cover 0.6"""


def simulate(
    out_dir: opt.OutDir,
    *,
    size: opt.Size,
    seed: opt.SceneSeed,
    cloud_cover: opt.CloudCover = 0.4,
    dates: opt.Dates = 0,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Write a synthetic pair of Sentinel-2 and Sentinel-1 with its ground truth.

    Writes s2.tif (cloudy), s1.tif, truth.tif (s2 without clouds) and mask.tif (SCL codes: 4 clear, 9 cloud,
    10 haze, 3 shadow), in UTM. With --dates, also earlier dates of the same ground: other season, fields,
    sun, haze and clouds, as dates/s2_TIME.tif and masks/mask_TIME.tif. The time is also in the tag
    PRODUCT_START_TIME.
    """
    set_verbosity(verbose, quiet)
    check_output_folder("OUT_DIR", out_dir)
    from cmcr_cli.simulate import simulate_scene

    with show_progress(quiet) as progress:
        scene = simulate_scene(
            out_dir,
            size=size,
            seed=seed,
            cloud_cover=cloud_cover,
            dates=dates,
            overwrite=overwrite,
            progress=lambda done: progress("simulate", done),
        )
    if json:
        # Without dates, the object is that of earlier versions.
        print_json({name: value for name, value in asdict(scene).items() if name != "dates" or value})
    elif not quiet:
        echo("\n".join(map(str, scene.files)))
