"""Folders of training data, and reading images and labels from them."""
