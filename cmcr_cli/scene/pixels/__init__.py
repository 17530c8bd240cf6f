"""Pixels of open rasters: which of them hold a measurement, and rows of them for windows that move."""
