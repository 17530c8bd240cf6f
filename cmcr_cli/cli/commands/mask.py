"""`cmcr mask`."""

from __future__ import annotations

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, print_warnings, set_verbosity, show_progress
from cmcr_cli.cli.from_fields import Chosen, takes_fields
from cmcr_cli.options import RemoveOptions

EXAMPLES = """\
  cmcr mask s2.tif -o mask.tif --confidence sure.tif
  cmcr mask product.SAFE --mask scl --dilate 60 -o mask.tif"""


@takes_fields("mask")
def mask(
    *,
    output: opt.MaskOutput,
    confidence: opt.Confidence = None,
    chosen: Chosen,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Write the mask of clouds and shadows that remove would use.

    Look at it, edit it, and give it to remove with --mask.
    """
    set_verbosity(verbose, quiet)
    options = RemoveOptions(output=output, **chosen)
    from cmcr_cli.removal import write_mask

    with show_progress(quiet) as progress:
        done = write_mask(options, progress, confidence=confidence)
    print_warnings(done.warnings)
    if json:
        print_json(done)
    elif not quiet:
        echo(f"{done.output}: {done.width} x {done.height} px, {done.cover.masked_text()}")
