"""What the layers of a file are: which bands, masks or classes, of which sensor, in which units."""
