"""Faces, the face generator and the LPIPS trunk, as they ship, each with its card."""

from pathlib import Path

FOLDER = Path(__file__).parent
