"""Results of a removal: rasters, report, STAC item, and what `--resume` needs."""
