"""How good the networks are: protocols, baselines, and the cloud network on its own."""
