"""Writing Cloud-Optimized GeoTIFFs, pictures and STAC items, each whole or not at all, and checking them."""
