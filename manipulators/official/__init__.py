"""The official checkpoints that the user brings."""
