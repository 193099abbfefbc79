"""The networks of the learned protectors, one architecture per file."""
