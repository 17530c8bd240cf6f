"""The networks, the diffusion and consistency functions, and the sampler. Never imports rasterio."""
