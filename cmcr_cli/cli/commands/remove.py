"""`cmcr remove`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import duration, echo, print_json, print_warnings, set_verbosity, show_progress
from cmcr_cli.cli.from_fields import Chosen, takes_fields
from cmcr_cli.options import RemoveOptions

if TYPE_CHECKING:
    from cmcr_cli.removal import Estimate, Report

log = logging.getLogger("cmcr")

EXAMPLES = """\
  cmcr remove s2.tif s1.tif -o clear.tif --steps 4 --provenance which.tif --quicklook look.png
  cmcr remove S2A_MSIL2A_20221005T115411.SAFE.zip --s1-vv VV.tif --s1-vh VH.tif -o clear.tif --mask scl"""


@takes_fields("remove")
def remove(
    chosen: Chosen,
    *,
    dry_run: opt.DryRun = False,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Reconstruct what clouds hide in a scene.

    Writes a COG on the grid of S2: clear pixels are copied, cloudy and shadowed pixels are reconstructed.
    """
    set_verbosity(verbose, quiet)
    options = RemoveOptions(**chosen)
    from cmcr_cli import removal

    log.info("%s", options)
    with show_progress(quiet) as progress:
        done = (removal.estimate if dry_run else removal.remove)(options, progress)
    print_warnings(done.warnings)
    if json:
        print_json(done)
    elif not quiet:
        echo(_plan(done) if isinstance(done, removal.Estimate) else _summary(done))


def _summary(report: Report) -> str:
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())
    return (
        f"{report.output}: {report.width} x {report.height} px, {report.covered_share:.1%} covered, "
        f"{report.patches_restored} of {report.patches} patches restored ({stages})"
    )


def _plan(plan: Estimate) -> str:
    return (
        f"{plan.width} x {plan.height} px, {plan.level}, offset {plan.offset:g} ({plan.offset_source}), "
        f"{plan.covered_share:.1%} covered: {plan.patches_restored} of {plan.patches} patches to restore "
        f"on {plan.device} with {plan.weights}, about {duration(plan.seconds)}, "
        f"{plan.memory_mb} MB of memory and {plan.disk_mb} MB of disk"
    )
