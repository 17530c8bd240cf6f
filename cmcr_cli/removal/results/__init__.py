"""What a removal leaves behind: rasters, report, STAC item, and what `--resume` needs."""
