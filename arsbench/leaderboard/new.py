"""``arsbench new protector``: a file to start from, which runs as it is."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import jinja2

from arsbench.contracts import ArsbenchError
from arsbench.registry import NAME

TEMPLATE = "protector.py.j2"


def new_protector(name: str, folder: Path) -> tuple[Path, str]:
    """Writes a protector called ``name``; returns its file and its class.

    Raises:
        ArsbenchError: the name cannot be used, or the file is there.
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    if not NAME.fullmatch(name) or not words or words[0][0].isdigit():
        raise ArsbenchError(f"the name '{name}' cannot be used; give letters, digits, _ or -, a letter first")
    class_name = "".join(word[0].upper() + word[1:] for word in words)
    path = folder / f"{'_'.join(words).lower()}.py"
    if path.exists():
        raise ArsbenchError(f"{path} is there already; give another name")
    template = jinja2.Template((files("arsbench.leaderboard") / TEMPLATE).read_text(), keep_trailing_newline=True)
    path.write_text(template.render(name=name, class_name=class_name))
    return path, class_name
