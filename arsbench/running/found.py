"""What the workers of a run met, for each other and for the manifest: failures and notes, a file each time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

from arsbench.running.manifest import Failure, failure_documents
from arsbench.running.parts import atomic


class Found:
    """Failures and notes of all workers, as far as they were read.

    Args:
        folder: where they lie.
        notes: those that are known already; what is read is added to them.

    Attributes:
        failures: of all workers.
        notes: of all workers, each once.
    """

    def __init__(self, folder: Path, notes: list[str] | None = None) -> None:
        self._folder = folder
        self._read: set[Path] = set()
        self.failures: list[Failure] = []
        self.notes: list[str] = [] if notes is None else notes

    def tell(self, failures: Sequence[Failure], notes: Sequence[str]) -> None:
        """Writes what this worker met."""
        if failures or notes:
            document = {"failures": failure_documents(failures), "notes": list(notes)}
            with atomic(self._folder / f"{uuid.uuid4().hex}.json") as file:
                file.write(json.dumps(document).encode())

    def read(self) -> list[str]:
        """Reads what is new; what of it a reader should see, in sentences."""
        new: list[str] = []
        for path in sorted(set(self._folder.glob("*.json")) - self._read):
            self._read.add(path)
            document = json.loads(path.read_bytes())
            failures = [Failure(**entry) for entry in document["failures"]]
            known = {*self.notes, *(failure.sentence for failure in self.failures)}
            new += [said for said in [*(f.sentence for f in failures), *document["notes"]] if said not in known]
            self.failures += failures
            self.notes += [note for note in document["notes"] if note not in self.notes]
        return list(dict.fromkeys(new))
