"""`cmcr validate`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from cmcr_cli.cli import arguments as opt
from cmcr_cli.cli.console import echo, print_json, set_verbosity
from cmcr_cli.option_texts import names_of

EXAMPLES = """\
  cmcr validate clear.tif
  cmcr validate clear.tif --source s2.tif --provenance which.tif"""


def validate(
    output: opt.Made,
    source: opt.Source = None,
    provenance: opt.MadeProvenance = None,
    bands: opt.Bands = None,
    json: opt.Json = False,
    verbose: opt.Verbose = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Check an output of remove; exit code 1 if a check fails. Findings marked as odd are no failures.

    Checks that the file is a valid COG. With --source also checks grid, bands, data type and nodata; with
    --provenance also that observed pixels are unchanged.
    """
    set_verbosity(verbose, quiet)
    from cmcr_cli.output.validation import validate_output

    findings = validate_output(output, source, provenance, bands=names_of(bands) if bands else None)
    good = all(finding.ok for finding in findings)
    if json:
        print_json({"output": output, "ok": good, "findings": [asdict(finding) for finding in findings]})
    elif not quiet:
        for finding in findings:
            mark = ("odd  " if finding.odd else "ok   ") if finding.ok else "WRONG"
            echo(f"{mark} {finding.name}: {finding.text}")
    if not good:
        raise typer.Exit(1)
