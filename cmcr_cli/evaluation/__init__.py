"""Scores of restored images, baselines and cloud masks."""
