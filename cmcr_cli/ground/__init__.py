"""What a scene's clear ground teaches about the ground under its clouds. Never imports torch."""
