"""Faces, the face generator and the LPIPS trunk, as they ship, and the scripts that made them."""
