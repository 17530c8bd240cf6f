"""What the values of Sentinel-1 files are: polarisations, units, and values that are no backscatter."""
