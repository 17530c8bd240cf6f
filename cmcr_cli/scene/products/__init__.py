"""The formats in which Sentinel-2 and Sentinel-1 images are delivered."""
