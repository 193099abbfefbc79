"""Peak memory and time of the README's run and of a large run's reports; that memory does not grow with the images."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from arsbench.faces.lossless import write_exact
from arsbench.faces.shipped import ShippedFaces
from arsbench.labels import CELL
from arsbench.rows import COLUMNS
from arsbench.running.plan import Image, Severity, make_plan
from arsbench.running.store import RunFolder
from arsbench.scoring.controls import CONTROLS

PROTECTORS = (*CONTROLS, "ars", "fgsm", "pgd", "disrupt", "tafim")
REPORT = """
import resource, sys, time
from pathlib import Path
from arsbench import reports
from arsbench.running.store import read_rows

began = time.perf_counter()
rows = read_rows(sys.argv[1])
read = time.perf_counter() - began
reports.write(Path(sys.argv[1]), rows)
print(len(rows), read, time.perf_counter() - began - read, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.parametrize("images", [25, 100])
def test_peak_memory_of_the_readme_run(
    images: int, benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An empty cache, as on a stranger's machine.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = [Path(sys.executable).with_name("arsbench"), "run"]
    command += ["--protector", "ars", "--level", "all", "--manipulator", "psp-mix,psp-recon"]
    peaks: list[int] = []

    def run() -> None:
        arguments = [*map(str, command), "--images", str(images), "--out", str(tmp_path / "run")]
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            peaks.append(_peak(process))
        assert process.returncode == 0

    benchmark.pedantic(run, rounds=1, iterations=1)
    benchmark.extra_info |= {"images": images, "peak_mib": peaks[0] / 2**20}


def test_peak_memory_does_not_grow_with_the_images(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Of 5000 pictures - the shipped faces, moved along their rows - over that of 500, with the controls alone."""
    faces = ShippedFaces(n=1000)
    peaks: dict[int, int] = {}
    for images in (500, 5000):
        folder = tmp_path / str(images)
        folder.mkdir()
        for i in range(images):
            write_exact(folder / f"{i:04}.png", np.roll(faces.pixels(i % 1000), i // 1000, axis=1))

    def run() -> None:
        for images in (500, 5000):
            command = [
                Path(sys.executable).with_name("arsbench"),
                "run",
                "--protector",
                "none",
                "--manipulator",
                "psp-mix",
            ]
            command += ["--perturbation", "jpeg", "--level", "4,5", "--no-cache", "--faces", tmp_path / str(images)]
            arguments = [*map(str, command), "--out", str(tmp_path / f"run-{images}")]
            with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                peaks[images] = _peak(process)
            assert process.returncode == 0

    benchmark.pedantic(run, rounds=1, iterations=1)
    benchmark.extra_info |= {
        "peak_mib": {n: peak / 2**20 for n, peak in peaks.items()},
        "ratio": peaks[5000] / peaks[500],
    }


@pytest.mark.parametrize("images", [500, 2000])
def test_reports_of_a_large_run(images: int, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Five protectors, the controls, four manipulators, all levels: 1240 rows an image, of random numbers."""
    _fill(tmp_path / "run", images)
    said: list[str] = []

    def run() -> None:
        command = [sys.executable, "-c", REPORT, str(tmp_path / "run")]
        said.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    benchmark.pedantic(run, rounds=1, iterations=1)
    names = ("rows", "seconds_read", "seconds_reports", "peak_gib")
    benchmark.extra_info |= dict(zip(names, map(float, said[0].split()), strict=True))


def _fill(folder: Path, images: int) -> None:
    manipulators = {name: [name] for name in ("psp-mix", "psp-recon", "simswap", "styleclip")}
    levels = [Severity(f"perturbation {i}", level, 0.5, "code") for i in range(6) for level in range(1, 6)]
    identities = {name: {model: [name, model] for model in manipulators} for name in PROTECTORS}
    keys = [Image(f"{i:05}.png", f"{i:064x}") for i in range(images)]
    plan = make_plan("h", "open", 0.3, 0, "cpu", identities, manipulators, [Severity(), *levels], keys)
    random = np.random.default_rng(0)
    with RunFolder(folder, plan, {"protocol_hash": "h"}) as store:
        for model in manipulators:
            labels = [cell.label for cell in plan.cells if cell.manipulator == model]
            for start in range(0, images, 50):
                batch = [image.key for image in keys[start : start + 50]]
                count = len(labels) * len(batch)
                columns = {c.name: [""] * count if c.dtype == "str" else list(random.random(count)) for c in COLUMNS}
                for name, values in zip(CELL, zip(*labels, strict=True), strict=True):
                    columns[name] = [value for value in values for _ in batch]
                store.append({**columns, "image": batch * len(labels)})


def _peak(process: subprocess.Popen[bytes]) -> int:
    """The largest resident memory, in bytes, of the process and its children while it lives."""
    watched = psutil.Process(process.pid)
    peak = 0
    while process.poll() is None:
        try:
            family = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in family))
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.05)
    return peak
