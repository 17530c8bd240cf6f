"""Readers of training data: images, labels, and the layouts of folders."""
