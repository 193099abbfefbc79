"""Engines: how the cells of a plan are worked through. All compute the same numbers."""
