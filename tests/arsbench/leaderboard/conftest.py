from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arsbench.draws import uniform
from arsbench.faces.delivery import from_bytes, to_bytes
from arsbench.faces.export import export
from arsbench.faces.lossless import read_exact, write_exact
from arsbench.faces.shipped import ShippedFaces
from arsbench.leaderboard.aggregates import aggregates_of, cells_of, seconds_of
from arsbench.leaderboard.submit import Submission, submit
from arsbench.running.store import SCHEMA

IMAGES = 2
METHOD = """
import torch
from arsbench.contracts import Protector

class Step(Protector):
    name = "step"
    def protect(self, x, keys):
        start = x + 0.001 * torch.ones_like(x)
        start.requires_grad_()
        out = self.manipulator.manipulate(start, keys) - self.manipulator.manipulate(x, keys)
        (gradient,) = torch.autograd.grad(out.square().sum(), start)
        return (x + self.epsilon * gradient.sign()).clamp(-1, 1)
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """An entry with code and one with pictures, made once; tests take copies."""
    folder = tmp_path_factory.mktemp("entries")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "step.py").write_text(METHOD)
        given = {"authors": ["A. Author"], "images": IMAGES}
        submit(Submission("step.py:Step", "step", folder / "code-entry", **given))
        source = ShippedFaces("test", IMAGES)
        for key, path in zip(source.keys, export(source, folder / "pictures"), strict=True):
            x = from_bytes(_tensor(read_exact(path, 64)))
            noise = uniform([key], x.shape, "board tests")[0].sub(0.5).sign()
            write_exact(path, to_bytes((x + 0.25 * noise).clamp(-1, 1)).numpy())
        submit(Submission("folder:pictures", "elsewhere", folder / "pictures-entry", **given))
    return folder


def _tensor(pixels):
    import torch

    return torch.from_numpy(pixels.copy())


@pytest.fixture
def code_entry(made, tmp_path):
    return shutil.copytree(made / "code-entry", tmp_path / "entry")


@pytest.fixture
def pictures_entry(made, tmp_path):
    return shutil.copytree(made / "pictures-entry", tmp_path / "entry")


class Forger:
    """Changes an entry as somebody would who knows how it is verified."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def document(self):
        return json.loads((self.folder / "entry.json").read_text())

    def write(self, document) -> None:
        (self.folder / "entry.json").write_text(json.dumps(document))

    def set(self, **changes) -> None:
        self.write({**self.document, **changes})

    def rows(self) -> pd.DataFrame:
        return pq.read_table(self.folder / "rows.parquet").to_pandas()

    def write_rows(self, rows: pd.DataFrame, reseal: bool = True) -> None:
        """With ``reseal`` hash and aggregates follow the rows."""
        table = pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False)
        pq.write_table(table, self.folder / "rows.parquet")
        if reseal:
            self.set(
                rows_sha256=self.hash("rows.parquet"),
                aggregates=aggregates_of(rows),
                by_cell=[cell.model_dump() for cell in cells_of(rows)],
                cost={**self.document["cost"], "seconds_per_image": seconds_of(rows)},
            )

    def hash(self, name: str) -> str:
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

    def rehash(self) -> None:
        document = self.document
        files = {name: self.hash(name) for name in document["method"]["files"]}
        self.write({**document, "method": {**document["method"], "files": files}})


@pytest.fixture
def forge():
    return Forger


@pytest.fixture
def random():
    return np.random.default_rng(0)
