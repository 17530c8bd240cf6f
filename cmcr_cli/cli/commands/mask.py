"""`cmcr mask`."""

from __future__ import annotations

import logging

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, set_verbosity, show_progress

log = logging.getLogger("cmcr")

EXAMPLES = """\
  cmcr mask s2.tif -o mask.tif --confidence sure.tif
  cmcr mask product.SAFE --mask scl --dilate 60 -o mask.tif"""


def mask(
    s2: opt.S2,
    *,
    output: opt.MaskOutput,
    confidence: opt.Confidence = None,
    mask: opt.Mask = "auto",
    mask_codes: opt.MaskCodes = None,
    mask_weights: opt.MaskWeights = None,
    dilate: opt.Dilate = 0.0,
    bands: opt.Bands = None,
    offset: opt.Offset = None,
    sun: opt.SunAngles = None,
    weights: opt.Weights = None,
    device: opt.Device = "auto",
    overwrite: opt.Overwrite = False,
    creation_options: opt.CreationOptions = None,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Write the mask of clouds and shadows that remove would use.

    Look at it, edit it, and give it to remove with --mask.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.output.cog import parse_creation_options
    from cmcr_cli.removal import RemoveOptions, write_mask

    choices = RemoveOptions(
        s2=s2,
        output=output,
        mask=mask,
        mask_codes=mask_codes,
        mask_weights=mask_weights,
        dilate=dilate,
        bands=opt.names(bands),
        offset=offset,
        sun=opt.sun_angles(sun),
        weights=weights,
        device=device,
        overwrite=overwrite,
        creation_options=parse_creation_options(creation_options or []),
    )
    with show_progress(quiet) as progress:
        done = write_mask(choices, progress, confidence=confidence)
    for note in dict.fromkeys(done.notes):
        log.warning("note: %s", note)
    if json:
        print_json(done)
    elif not quiet:
        echo(f"{done.output}: {done.width} x {done.height} px, {done.covered_share:.1%} covered")
