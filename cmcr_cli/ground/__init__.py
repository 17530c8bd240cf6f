"""Statistics of clear ground, for the ground under the clouds of a scene. Never imports torch."""
