"""Training samples: clouds laid over clear images, and what the networks are to learn from them."""
