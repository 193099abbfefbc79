"""The protections: one file per method, and the controls of every run."""
