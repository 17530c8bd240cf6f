"""What outputs say of themselves: classes, bands, shares of cover, styles of QGIS, a STAC item."""
