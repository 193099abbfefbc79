"""Where arsbench keeps what outlives a run."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """``$XDG_CACHE_HOME/arsbench``; under ``~/.cache`` where that variable is not set."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "arsbench"
