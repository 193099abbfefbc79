"""Where arsbench keeps what outlives a run."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from arsbench.errors import ArsbenchError


def find_cache_home() -> Path | None:
    """``$XDG_CACHE_HOME/arsbench``; under ``~/.cache`` where that variable is not set.

    ``None`` for an account without a home folder: no ``HOME``, and no entry in the password file.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "arsbench"
    except RuntimeError:
        return None


def cache_home() -> Path:
    """:func:`find_cache_home`, where there has to be one.

    Raises:
        ArsbenchError: there is none.
    """
    folder = find_cache_home()
    if folder is None:
        raise ArsbenchError("this account has no home folder to keep files in; set XDG_CACHE_HOME to a folder of yours")
    return folder


def give_matplotlib_a_folder() -> None:
    """For an account without a home folder, where matplotlib cannot be imported: one that goes with the process."""
    try:
        Path.home()
    except RuntimeError:
        if "MPLCONFIGDIR" not in os.environ:
            os.environ["MPLCONFIGDIR"] = folder = tempfile.mkdtemp(prefix="arsbench-matplotlib-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
