"""References, other dates of the same ground: which there are, when they were taken, and which to use."""
