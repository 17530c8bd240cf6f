"""The second pass: patches under cloud are reconstructed, blended and put into the image."""
