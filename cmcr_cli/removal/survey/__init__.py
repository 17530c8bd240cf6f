"""The first pass over a scene: what is cloud or shadow, and what its clear ground looks like."""
