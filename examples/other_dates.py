"""Remove the clouds of a scene with other dates of its ground, and say how much each of them helped.

python examples/other_dates.py s2.tif s1.tif clear.tif june.tif may.SAFE archive/
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cmcr_cli import RemoveOptions, remove


def main() -> None:
    """Run on the files named on the command line; writes OUTPUT and OUTPUT_source.tif."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("s2")
    parser.add_argument("s1")
    parser.add_argument("output", type=Path)
    parser.add_argument("references", nargs="+")
    files = parser.parse_args()

    options = RemoveOptions(
        s2=files.s2,
        s1=files.s1,
        output=files.output,
        references=tuple(files.references),
        source_date=files.output.with_name(f"{files.output.stem}_source.tif"),
    )
    report = remove(options)
    for each in report.references:
        print(f"{each.date}: counts most at {each.weight:.0%} of the reconstructed pixels")
    for left_out in report.references_left_out:
        print(f"{left_out.path}: not used, {left_out.reason}")


if __name__ == "__main__":
    main()
