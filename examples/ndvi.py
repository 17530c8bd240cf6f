"""Remove the clouds of a scene, and compare the NDVI of observed and of reconstructed pixels.

python examples/ndvi.py s2.tif s1.tif clear.tif
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio

from cmcr_cli import RemoveOptions, remove
from cmcr_cli.output.provenance import OBSERVED, RECONSTRUCTED


def main() -> None:
    """Run on the files named on the command line; writes OUTPUT and OUTPUT_provenance.tif."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("s2")
    parser.add_argument("s1")
    parser.add_argument("output", type=Path)
    files = parser.parse_args()
    provenance = files.output.with_name(f"{files.output.stem}_provenance.tif")

    report = remove(RemoveOptions(s2=files.s2, s1=files.s1, output=files.output, provenance=provenance))
    print(f"{report.covered_share:.0%} of the scene was covered")

    with rasterio.open(files.output) as image, rasterio.open(provenance) as origin:
        red, infrared = (image.read(image.descriptions.index(name) + 1) for name in ("B04", "B08"))
        source = origin.read(1)
    red, infrared = (dn.astype(float) + report.offset for dn in (red, infrared))
    ndvi = (infrared - red) / np.maximum(infrared + red, 1)
    for value, name in ((OBSERVED, "observed"), (RECONSTRUCTED, "reconstructed")):
        if (source == value).any():
            print(f"NDVI {name}: {np.median(ndvi[source == value]):.2f}")


if __name__ == "__main__":
    main()
