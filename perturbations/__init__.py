"""What a platform does to a picture: one file per perturbation."""
