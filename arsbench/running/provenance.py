"""Where a number comes from: versions and the revision of the code."""

from __future__ import annotations

import functools
import importlib.metadata
import subprocess
from pathlib import Path

PACKAGES = ("arsbench", "torch", "torchvision", "kornia", "lpips", "piq", "numpy", "pandas", "pyarrow", "pillow")
"""Their versions stand in the manifest."""


@functools.cache
def version_of(package: str) -> str | None:
    """The installed version, or ``None``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def jpeg_library() -> str | None:
    """The library that Pillow encodes and decodes JPEG with, and its version; ``None`` where there is none.

    Two of them, or two versions, give other pixels for the same quality.
    """
    from PIL import features

    if turbo := features.version_feature("libjpeg_turbo"):
        return f"libjpeg-turbo {turbo}"
    version = features.version_codec("jpg") if features.check_codec("jpg") else None
    return f"libjpeg {version}" if version else None


def git_revision() -> str | None:
    """The revision of the checkout that arsbench runs from, ``+`` appended where files differ; ``None`` elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        ask = functools.partial(subprocess.run, cwd=root, capture_output=True, text=True, timeout=10, check=True)
        revision = ask(["git", "rev-parse", "HEAD"]).stdout.strip()
        return revision + ("+" if ask(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None
