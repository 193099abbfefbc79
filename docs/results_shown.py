"""Brings the tables that README.md and docs/ show up to date with ``results/``: ``python docs/results_shown.py``.

They stand between ``<!-- results/FILE.md -->`` and ``<!-- end -->``; ``<!-- results/FILE.md psp-mix -->`` takes of a
file with several tables the one whose title names psp-mix.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHOWN = re.compile(r"(<!-- (results/\S+\.md)(?: (\S+))? -->\n).*?(?=<!-- end -->)", re.DOTALL)
TITLE = re.compile(r"(?=^\*\*)", re.MULTILINE)
"""Tables begin with their title, in bold."""


def up_to_date(text: str, root: Path = ROOT) -> str:
    """``text`` with each table as it stands in its file.

    Raises:
        FileNotFoundError: there is no such file.
        StopIteration: no table of the file has such a title.
    """

    def table(found: re.Match[str]) -> str:
        marker, path, about = found.groups()
        content = (root / path).read_text()
        if about is not None:
            content = next(part for part in TITLE.split(content) if about in part.partition("\n")[0])
        return f"{marker}\n{content.strip()}\n\n"

    return SHOWN.sub(table, text)


def documents(root: Path = ROOT) -> list[Path]:
    """The files that may show tables."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


if __name__ == "__main__":
    for document in documents():
        document.write_text(up_to_date(document.read_text()))
