"""Arrays of xarray and numpy, and open rasterio datasets, in the place of files."""
