"""Networks that look at faces: who somebody is, which expression, what age. Ported, with their weights."""
