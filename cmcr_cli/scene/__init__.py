"""Rasters: reading, aligning, masking, context, patches and writing. Never imports torch."""

OVERLAPS = (16, 128)
"""Fewest and most pixels by which neighbouring patches overlap; it is here so that help texts need no numpy.

Below, borders show; above, three patches would meet along one axis.
"""
