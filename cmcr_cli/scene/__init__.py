"""Rasters: reading, aligning, masking, context, patches and writing. Never imports torch."""
