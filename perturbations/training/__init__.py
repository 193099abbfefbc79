"""Training of the perturbations that are learned."""
