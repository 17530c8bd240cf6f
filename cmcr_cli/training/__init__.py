"""Datasets, cloud synthesis, losses and loops that make the weights."""
