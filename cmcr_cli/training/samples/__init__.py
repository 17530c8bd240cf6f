"""Training samples: clouds added to clear images, and the targets of the networks."""
