"""What a pull request does to the board: entries and removals are added, verified, and never edited.

``python -m arsbench.leaderboard.changes REPOSITORY BASE``, by ``.ci/verify-entries`` alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from arsbench.contracts import ArsbenchError
from arsbench.leaderboard.entry import ENTRY, VERIFICATION, read_entry
from arsbench.leaderboard.ranks import entries_in
from arsbench.leaderboard.removal import REMOVAL, REMOVALS, read_removal
from arsbench.leaderboard.submit import BOARD
from arsbench.leaderboard.verify import verify
from arsbench.leaderboard.verify_removal import verify_removal


def findings(repository: Path, base: str, tier: int = 1) -> list[str]:
    """What is wrong with the changes from ``base`` to the checkout's HEAD, one sentence each.

    Args:
        repository: a checkout; nothing of it is run but the entries' methods, apart.
        base: the commit that the changes are made to.
        tier: of the verification of added entries.

    Raises:
        ArsbenchError: git cannot say what changed.
    """
    found = []
    for place, document in ((BOARD, ENTRY), (REMOVALS, REMOVAL)):
        changed = _git(repository, "diff", "--name-only", "--no-renames", "-z", f"{base}...HEAD", "--", str(place))
        folders: dict[Path, list[str]] = {}
        for path in filter(None, changed.split("\0")):
            name, _, rest = Path(path).relative_to(place).as_posix().partition("/")
            folders.setdefault(place / name, []).append(rest)
        for folder, files in sorted(folders.items()):
            if _at(repository, base, folder / document) is None:
                found += _added(repository, folder, tier)
            else:
                found += [said for file in files if (said := _edited(repository, base, folder / file))]
    return found


def _added(repository: Path, added: Path, tier: int) -> list[str]:
    folder, name = repository / added, added.name
    is_entry = added.parent == BOARD
    verification = verify(folder, tier) if is_entry else verify_removal(folder, entries_in(repository / BOARD), tier)
    found = [
        f"{name}: {check.name}: expected {check.expected}, got {check.got}"
        for check in verification.checks
        if not check.passed
    ]
    if not found and (called := (read_entry(folder) if is_entry else read_removal(folder)).name) != name:
        what = "entry" if is_entry else "removal"
        found.append(f"{name}: the {what} is called '{called}', its folder '{name}'; make them equal")
    if not found:
        drawn = "" if verification.seed is None else f", cells drawn by seed {verification.seed}"
        print(f"{name}: verified, tier {tier}{drawn}")
    return found


def _edited(repository: Path, base: str, changed: Path) -> str | None:
    """Why a changed file of an entry or a removal that was there is refused, or ``None``."""
    name, file, path = changed.parts[2], "/".join(changed.parts[3:]), repository / changed
    old, new = _at(repository, base, changed), None
    if file in (ENTRY, VERIFICATION) and path.is_file() and not path.is_symlink():
        new = _document(path.read_text())
    if file == VERIFICATION and isinstance(new, list):
        before = _document(old) if old is not None else []
        return None if new[: len(before)] == before else f"{name}: verifications are appended, never changed"
    if file == ENTRY and old is not None and isinstance(new, dict):
        before = _document(old)
        if before.get("withdrawn") is None and {**before, "withdrawn": new.get("withdrawn")} == new:
            return None
    what = "removals are appended, never edited" if changed.is_relative_to(REMOVALS) else _NEVER
    return f"{name}: {file} was changed; {what}"


_NEVER = "entries are appended, never edited, but for their withdrawal"


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _at(repository: Path, base: str, file: Path) -> str | None:
    """A file at ``base``, or ``None`` where it is not there."""
    try:
        return _git(repository, "show", f"{base}:{file.as_posix()}")
    except ArsbenchError:
        return None


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise ArsbenchError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    said = findings(Path(sys.argv[1]), sys.argv[2])
    for sentence in said:
        print(sentence)
    sys.exit(1 if said else 0)
