"""The face manipulation models G: one file per method."""
