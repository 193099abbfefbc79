"""How the learned protectors are trained: the loop they share, one objective per file."""
