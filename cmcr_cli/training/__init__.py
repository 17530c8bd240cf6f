"""Training of the networks: data, samples, tasks and the training loop."""
