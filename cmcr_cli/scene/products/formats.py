"""The formats of Sentinel-2 products that cmcr knows. A new one is added here and has a module of its own."""

from __future__ import annotations

from cmcr_cli.scene.products.eopf import is_eopf, read_eopf
from cmcr_cli.scene.products.safe import is_safe, read_safe
from cmcr_cli.scene.products.stac import is_item, optical_item
from cmcr_cli.scene.products.stack import Product

FORMATS = ((is_eopf, read_eopf), (is_item, optical_item), (is_safe, read_safe))
"""For each format whether a path names a product of it, and how that is read."""


def read_product(path: str) -> Product | None:
    """Read what a product or STAC item says of itself.

    Args:
        path: Any path that a user may give.

    Returns:
        The product; None when `path` is a raster of bands.

    Raises:
        InputError: The product is broken.
    """
    for fits, read in FORMATS:
        if fits(path):
            return read(path)
    return None
