"""Where pictures come from, and how they are read, stored and measured."""
