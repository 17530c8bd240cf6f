"""`cmcr remove`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, set_verbosity, show_progress

if TYPE_CHECKING:
    from cmcr_cli.removal import Estimate, RemoveOptions, Report

log = logging.getLogger("cmcr")

EXAMPLES = """\
  cmcr remove s2.tif s1.tif -o clear.tif --steps 4 --provenance which.tif --quicklook look.png
  cmcr remove S2A_MSIL2A_20221005T115411.SAFE.zip --s1-vv VV.tif --s1-vh VH.tif -o clear.tif --mask scl"""


def remove(
    s2: opt.S2,
    s1: opt.S1 = None,
    *,
    s1_vv: opt.S1VV = None,
    s1_vh: opt.S1VH = None,
    output: opt.Output,
    steps: opt.Steps = 1,
    samples: opt.Samples = 1,
    seed: opt.Seed = 0,
    mask: opt.Mask = "auto",
    mask_codes: opt.MaskCodes = None,
    mask_weights: opt.MaskWeights = None,
    dilate: opt.Dilate = 0.0,
    keep_clear: opt.KeepClear = True,
    context: opt.Context = True,
    aoi: opt.Aoi = None,
    bbox: opt.Bbox = None,
    bands: opt.Bands = None,
    offset: opt.Offset = None,
    sun: opt.SunAngles = None,
    s1_units: opt.S1Units = "auto",
    align: opt.Align = "warn",
    overlap: opt.Overlap = 32,
    weights: opt.Weights = None,
    device: opt.Devices = "auto",
    batch_size: opt.BatchSize = None,
    provenance: opt.Provenance = None,
    uncertainty: opt.Uncertainty = None,
    quicklook: opt.Quicklook = None,
    report: opt.HtmlReport = None,
    stac: opt.Stac = None,
    overwrite: opt.Overwrite = False,
    resume: opt.Resume = False,
    creation_options: opt.CreationOptions = None,
    dry_run: opt.DryRun = False,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Reconstruct what clouds hide in a scene.

    Writes a COG on the grid of S2: clear pixels as they were, clouds and shadows replaced.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.output.cog import parse_creation_options
    from cmcr_cli.removal import RemoveOptions

    choices = RemoveOptions(
        s2=s2,
        s1=s1,
        s1_vv=s1_vv,
        s1_vh=s1_vh,
        output=output,
        steps=steps,
        samples=samples,
        seed=seed,
        mask=mask,
        mask_codes=mask_codes,
        mask_weights=mask_weights,
        dilate=dilate,
        keep_clear=keep_clear,
        context=context,
        aoi=aoi,
        bbox=opt.bounds(bbox),
        bands=opt.names(bands),
        offset=offset,
        sun=opt.sun_angles(sun),
        s1_units=s1_units,
        align=align,
        overlap=overlap,
        weights=weights,
        device=device,
        batch_size=batch_size,
        provenance=provenance,
        uncertainty=uncertainty,
        quicklook=quicklook,
        report=report,
        stac=stac,
        overwrite=overwrite,
        resume=resume,
        creation_options=parse_creation_options(creation_options or []),
    )
    _run(choices, dry_run, json, quiet)


def _run(choices: RemoveOptions, dry_run: bool, json: bool, quiet: bool) -> None:
    """Do what was chosen, or only estimate it; notes go to stderr and the result to stdout."""
    from cmcr_cli import removal

    log.info("%s", choices)
    with show_progress(quiet) as progress:
        done = (removal.estimate if dry_run else removal.remove)(choices, progress)
    for note in dict.fromkeys(done.notes):
        log.warning("note: %s", note)
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
        f"on {plan.device} with {plan.weights}, about {plan.seconds:.0f} s and {plan.memory_mb} MB"
    )
