"""A run: prepare, plan, evaluate, store."""
