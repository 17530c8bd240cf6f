"""How far neighbouring patches may overlap: apart from `patches`, so that help texts need no numpy."""

OVERLAPS = (16, 128)
"""Smallest and largest, in pixels: below, borders show; above, three patches would meet along one axis."""
